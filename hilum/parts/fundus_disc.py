"""The lit disc of a fundus photograph: found, cut out, and made square with black."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8
from scipy import ndimage

DARK = 12  # of 255: the mask around the disc is black but for noise and compression
LEAST = 0.2  # of the picture that a disc must fill
MARGIN = 0.02  # of a side: a disc that comes this near to all edges is not cut

Bounds = tuple[int, int, int, int]  # left, top, right, bottom; the last two are not included


def disc(picture: UInt8[np.ndarray, "3 h w"]) -> Bounds | None:
    """The box around the largest lit region; None where there is no disc on black, or it fills the picture already."""
    height, width = picture.shape[1:]
    parts, count = ndimage.label(picture.max(axis=0) > DARK)
    if not count:
        return None
    sizes = np.bincount(parts.ravel())[1:]
    rows, columns = ndimage.find_objects(parts)[int(sizes.argmax())]
    if sizes.max() < LEAST * height * width:
        return None
    spare = max(columns.start, width - columns.stop) / width, max(rows.start, height - rows.stop) / height
    if max(spare) <= MARGIN and abs(width - height) <= MARGIN * max(width, height):
        return None
    return columns.start, rows.start, columns.stop, rows.stop


def squared(picture: UInt8[np.ndarray, "3 h w"], bounds: Bounds) -> UInt8[np.ndarray, "3 side side"]:
    """The part within the bounds in the middle of a black square of its longer side."""
    left, top, right, bottom = bounds
    part = picture[:, top:bottom, left:right]
    height, width = part.shape[1:]
    side = max(height, width)
    square = np.zeros((3, side, side), dtype=np.uint8)
    y, x = (side - height) // 2, (side - width) // 2
    square[:, y : y + height, x : x + width] = part
    return square
