"""The middle of a picture by Pillow, rounded as torchvision rounds: short side resized, a square cut out."""

from __future__ import annotations

import numpy as np
from PIL import Image as Pillow

from hilum.parts.grey_frame import Grey


def centre_crop(picture: Grey, *, short: int, side: int, by: Pillow.Resampling = Pillow.Resampling.BILINEAR) -> Grey:
    """The middle `side` pixels of the picture, whose short side becomes `short`."""
    opened = Pillow.fromarray(np.ascontiguousarray(picture))
    width, height = (int(short * length / min(opened.size)) for length in opened.size)
    left, top = round((width - side) / 2), round((height - side) / 2)
    return np.array(opened.resize((width, height), by).crop((left, top, left + side, top + side)))
