"""Pictures in colour: three 8-bit channels, and what two-tower systems that began as CLIP take of them."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image as Pillow
from torch import Tensor

from hilum.values.image import Display, Image

Picture = UInt8[np.ndarray, "3 h w"]
Statistics = tuple[tuple[float, float, float], tuple[float, float, float]]  # mean and deviation, of 0..1
FULL = Display(0.0, 255.0)
CLIP: Statistics = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # OpenAI's CLIP
IMAGENET: Statistics = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def as_colour(image: Image, system: str) -> Image:
    """The whole image in three 8-bit channels by its display, which is noted where it was not 8-bit already."""
    shown = image.array
    if image.array.dtype != np.uint8 or image.display.inverted:
        low, high = image.display.low, image.display.high
        image = image.noted(f"{system} saw {low:g} to {high:g} in 8 bit")
        shown = np.rint(image.display(image.array) * 255).astype(np.uint8)
    return image.with_array(np.broadcast_to(shown, (3, *image.grid)), FULL)


def opened(picture: Picture) -> Pillow.Image:
    """The picture as Pillow's."""
    return Pillow.fromarray(np.ascontiguousarray(np.moveaxis(picture, 0, -1)))  # (c, h, w) -> (h, w, c)


def short_side(picture: Pillow.Image, side: int, how: Pillow.Resampling = Pillow.Resampling.BICUBIC) -> Pillow.Image:
    """With `side` pixels at its short side; the long one is cut to whole pixels."""
    width, height = (int(side * length / min(picture.size)) for length in picture.size)
    return picture.resize((width, height), how)


def middle(picture: Pillow.Image, side: int) -> Pillow.Image:
    """The square in the middle; an odd pixel is left over at right and below, as transformers cuts."""
    left, top = ((length - side) // 2 for length in picture.size)
    return picture.crop((left, top, left + side, top + side))


def normalised(picture: Pillow.Image, statistics: Statistics) -> Float[Tensor, "1 3 h w"]:
    """0..255 to 0..1, less the mean, by the deviation."""
    values = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255
    mean, deviation = (torch.tensor(each).reshape(1, 3, 1, 1) for each in statistics)
    return (values - mean) / deviation
