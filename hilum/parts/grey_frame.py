"""Radiographs as two-tower systems want them: one 8-bit grey channel, then fitted or padded to a square by Pillow."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8
from PIL import Image as Pillow

from hilum.values.image import Display, Image

Grey = UInt8[np.ndarray, "h w"]
FULL = Display(0.0, 255.0)


def as_grey(image: Image, system: str) -> Image:
    """The whole image in one 8-bit channel by its display; colours by luminance, as Pillow's L. What was done is noted
    where it was not 8-bit grey already."""
    if image.array.dtype == np.uint8 and image.array.shape[0] == 1 and not image.display.inverted:
        return image.with_array(image.array, FULL)
    shown = image.shown()
    if image.array.shape[0] == 1:
        grey = shown[..., :1]
    else:
        flat = Pillow.fromarray(shown.reshape(-1, shown.shape[-2], 3)).convert("L")
        grey = np.array(flat).reshape(*shown.shape[:-1], 1)
    low, high = image.display.low, image.display.high
    said = f"{system} saw {low:g} to {high:g} in 8-bit grey"
    return image.with_array(np.moveaxis(grey, -1, 0), FULL).noted(said)


def fitted(picture: Grey, side: int) -> Grey:
    """The longest side at `side` (Lanczos, the other cut to whole pixels), centred on black."""
    height, width = picture.shape
    scale = side / max(height, width)
    size = (max(1, int(width * scale)), max(1, int(height * scale)))
    small = Pillow.fromarray(np.ascontiguousarray(picture)).resize(size, Pillow.Resampling.LANCZOS)
    square = Pillow.new("L", (side, side))
    square.paste(small, ((side - size[0]) // 2, (side - size[1]) // 2))
    return np.array(square)


def squared(picture: Grey, least: int) -> Grey:
    """Centred on a black square whose side is the longest one, or `least`."""
    height, width = picture.shape
    side = max(least, height, width)
    square = np.zeros((side, side), np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = picture
    return square
