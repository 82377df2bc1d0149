"""Pictures in colour: three 8-bit channels."""

from __future__ import annotations

import numpy as np

from hilum.values.image import Display, Image

FULL = Display(0.0, 255.0)


def as_colour(image: Image, system: str) -> Image:
    """The whole image in three 8-bit channels by its display, which is noted where it was not 8-bit already."""
    shown = image.array
    if image.array.dtype != np.uint8 or image.display.inverted:
        low, high = image.display.low, image.display.high
        image = image.noted(f"{system} saw {low:g} to {high:g} in 8 bit")
        shown = np.rint(image.display(image.array) * 255).astype(np.uint8)
    return image.with_array(np.broadcast_to(shown, (3, *image.grid)), FULL)
