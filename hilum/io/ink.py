"""Ink: colours, and how they are laid on a canvas, which is 8-bit RGB (h, w, 3) and painted in place."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, UInt8

Rgb = tuple[int, int, int]
Canvas = UInt8[np.ndarray, "h w 3"]

NIGHT: Rgb = (16, 18, 22)
BLACK: Rgb = (0, 0, 0)
WHITE: Rgb = (255, 255, 255)
PALE: Rgb = (236, 239, 241)
GREY: Rgb = (154, 161, 169)
INSIDE: Rgb = (38, 194, 95)
OUTSIDE: Rgb = (232, 62, 72)

# Eight hues told apart with any colour vision (after Okabe & Ito 2008), lightened to stand out on black; the green and
# the vermilion come late, since clicks use their neighbours.
PALETTE: tuple[Rgb, ...] = (
    (70, 200, 255),
    (255, 170, 30),
    (225, 130, 200),
    (245, 232, 80),
    (45, 205, 165),
    (90, 130, 255),
    (240, 110, 50),
    (200, 200, 210),
)

# Lightness grows along the map, so that it reads in grey too.
HEAT = np.array([(0, 0, 0), (66, 14, 104), (160, 36, 110), (230, 85, 60), (252, 170, 40), (255, 250, 190)], dtype=float)


def colour_of(number: int) -> Rgb:
    """The colour of an object by its place in the answer."""
    return PALETTE[number % len(PALETTE)]


def blank(width: int, height: int, colour: Rgb = NIGHT) -> Canvas:
    """An empty canvas."""
    return np.full((height, width, 3), colour, dtype=np.uint8)


def blend(canvas: Canvas, covered: Float[np.ndarray, "a b"], colour: Rgb, *, at: tuple[int, int] = (0, 0)) -> None:
    """Lay a colour on the canvas where `covered` (0..1) says, its corner at (x, y); what lies outside is cut off."""
    left, top = at
    height, width = canvas.shape[:2]
    rows = slice(max(0, top), min(height, top + covered.shape[0]))
    columns = slice(max(0, left), min(width, left + covered.shape[1]))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    share = covered[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left, None]
    under = canvas[rows, columns].astype(np.float32)
    canvas[rows, columns] = np.rint(under + share * (np.array(colour, dtype=np.float32) - under)).astype(np.uint8)


def casing(canvas: Canvas, covered: Float[np.ndarray, "a b"], *, at: tuple[int, int] = (0, 0)) -> None:
    """The dark rim that keeps a mark legible on bright pictures."""
    blend(canvas, covered * np.float32(0.7), BLACK, at=at)


def paste(canvas: Canvas, picture: Canvas, at: tuple[int, int]) -> None:
    """Put a picture on the canvas, its corner at (x, y)."""
    left, top = at
    canvas[top : top + picture.shape[0], left : left + picture.shape[1]] = picture


def inner_edge(mask: Bool[np.ndarray, "h w"], width: int) -> Bool[np.ndarray, "h w"]:
    """The mask's own pixels within `width` px of its boundary; where the picture cuts the mask there is none."""
    core = mask
    for _ in range(width):
        padded = np.pad(core, 1, mode="edge")
        core = core & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~core


def outer_edge(mask: Bool[np.ndarray, "h w"], width: int) -> Bool[np.ndarray, "h w"]:
    """The pixels outside the mask within `width` px of its boundary."""
    grown = mask
    for _ in range(width):
        padded = np.pad(grown, 1)
        grown = grown | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    return grown & ~mask


def heat(values: Float[np.ndarray, "h w"], top: float) -> Canvas:
    """Values 0..top as colours from black to pale yellow."""
    place = np.clip(values / top, 0.0, 1.0) * (len(HEAT) - 1)
    stops = np.arange(len(HEAT))
    return np.stack([np.interp(place, stops, HEAT[:, channel]) for channel in range(3)], axis=-1).astype(np.uint8)
