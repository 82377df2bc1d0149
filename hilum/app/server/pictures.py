"""Planes as PNG: the image by its window, masks and uncertainty as see-through layers of the same size."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from ...values.errors import BadInput
from ...values.image import Display
from .described import across

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...values.geometry import Section
    from ...values.image import Image

FILL = 110  # opacity of a mask, of 255


def plane(image: Image, axis: int, index: int, window: tuple[float, float] | None = None) -> bytes:
    """Plane `index` (a voxel index along `axis`) in radiological orientation, by a window or the image's own."""
    section, number = placed(image, axis, index)
    display = image.display
    if window is not None:
        if not window[1] > window[0]:
            raise BadInput(f"a window runs from low to high, got {window[0]:g} to {window[1]:g}.")
        display = Display(*window, inverted=image.display.inverted)
    shown = np.nan_to_num(display(section.planes(image.volume())[:, number]), nan=0.0)
    grey = np.rint(shown * 255.0).astype(np.uint8)
    return png(grey[0] if len(grey) == 1 else np.moveaxis(grey, 0, -1))


def layer(image: Image, masks: Sequence[np.ndarray], colours: Sequence[str], axis: int, index: int) -> bytes:
    """The masks on a plane, RGBA, each in its colour, later ones over earlier ones; the rest is clear."""
    section, number = placed(image, axis, index)
    height, width = section.planes(np.empty(image.volume().shape[1:], dtype=bool)).shape[1:]
    canvas = np.zeros((height, width, 4), dtype=np.uint8)
    for mask, colour in zip(masks, colours, strict=True):
        there = section.planes(mask.reshape(image.volume().shape[1:]))[number]
        canvas[there] = (*bytes.fromhex(colour.removeprefix("#")), FILL)
    return png(canvas)


def heat(image: Image, values: np.ndarray, axis: int, index: int) -> bytes:
    """Values of the grid (uncertainty, a map) on a plane, RGBA: hot and dense where they are high."""
    from ...io.ink import heat as colours

    section, number = placed(image, axis, index)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    shown = section.planes(values.reshape(image.volume().shape[1:]))[number]
    share = np.nan_to_num((shown - low) / (high - low) if high > low else np.zeros_like(shown))
    canvas = np.concatenate([colours(share, 1.0), np.sqrt(share)[..., None] * 200], axis=-1)
    return png(np.rint(canvas).astype(np.uint8))


def placed(image: Image, axis: int, index: int) -> tuple[Section, int]:
    """The section across an axis and the number of the plane as it counts them."""
    if image.dimensions == 2 and axis != 2:
        raise BadInput("the image is one plane, across axis 2.")
    section = across(image, axis)
    count = image.volume().shape[1:][::-1][section.normal]
    if not 0 <= index < count:
        raise BadInput(f"across axis {axis} the image has planes 0 to {count - 1}, got {index}.")
    return section, count - 1 - index if section.flip_normal else index


def png(pixels: np.ndarray) -> bytes:
    """Packed quickly rather than small: it goes over loopback."""
    from PIL import Image as Pillow

    stream = io.BytesIO()
    Pillow.fromarray(np.ascontiguousarray(pixels)).save(stream, format="PNG", compress_level=1)
    return stream.getvalue()
