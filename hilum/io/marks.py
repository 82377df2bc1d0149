"""Prompts as marks on a view: box, clicks, strokes, a given mask. What lies on another plane leaves no mark.

Shape tells as much as colour: inside is a disc with a plus, outside a saltire, a box is white, a given mask dotted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from hilum.values import geometry
from hilum.values.image import Image
from hilum.values.prompts import Box, Mask, Points, Prompt, Scribble

from .ink import BLACK, INSIDE, OUTSIDE, PALE, WHITE, Canvas, Rgb, blend, casing, inner_edge, outer_edge
from .view import View

REACH = 11  # px from a click's middle to the end of its mark


def draw(canvas: Canvas, view: View, prompts: Sequence[Prompt]) -> None:
    """Draw every prompt that has a place; words have none."""
    for prompt in prompts:
        if type(prompt) in DRAWN:
            DRAWN[type(prompt)](canvas, view, prompt)


def voxels(image: Image, at: Float[np.ndarray, "n d"], space: str) -> Float[np.ndarray, "n 3"]:
    """A prompt's coordinates as voxel indices; z is nan where only (x, y) was said: that holds on every plane."""
    flat = at.shape[1] == 2
    full = np.pad(at, ((0, 0), (0, 1))) if flat else at
    if space == "patient":
        full = geometry.apply(geometry.inverse(image.affine), full)
    return np.column_stack([full[:, :2], np.full(len(full), np.nan)]) if flat else full


def corners(image: Image, box: Box) -> Float[np.ndarray, "n 3"]:
    """A box's corners as voxel indices."""
    sides = np.stack([box.low, box.high], axis=1)
    return voxels(image, np.array(list(product(*sides))), box.space)


def prompted_planes(view: View, prompts: Sequence[Prompt]) -> list[int]:
    """The numbers of the section's planes with prompts, in the order given; a box counts by its middle."""
    numbers = []
    for prompt in prompts:
        if type(prompt) in TOUCHED:
            away = view.place(TOUCHED[type(prompt)](view.image, prompt))[:, 2]
            numbers += [int(np.floor(place + view.number + 0.5)) for place in away if np.isfinite(place)]
    count = view.image.volume().shape[3 - view.section.normal]
    return [number for number in dict.fromkeys(numbers) if 0 <= number < count]


def _middle(array: Bool[np.ndarray, " *grid"]) -> Float[np.ndarray, "n 3"]:
    where = np.argwhere(array)[:, ::-1].astype(np.float64)
    if where.shape[1] == 2 or not len(where):
        return np.zeros((0, 3))
    return np.median(where, axis=0)[None]


TOUCHED: dict[type, Callable[[Image, Any], Float[np.ndarray, "n 3"]]] = {
    Points: lambda image, prompt: voxels(image, prompt.at, prompt.space),
    Box: lambda image, prompt: corners(image, prompt).mean(axis=0, keepdims=True),
    Scribble: lambda image, prompt: _middle(prompt.inside),
    Mask: lambda image, prompt: _middle(prompt.array),
}


def _points(canvas: Canvas, view: View, prompt: Points) -> None:
    places = view.place(voxels(view.image, prompt.at, prompt.space))
    for (across, down, away), inside in zip(places, prompt.inside, strict=True):
        if np.isfinite([across, down]).all() and not abs(away) > 0.5:
            click(canvas, (across, down), INSIDE if inside else OUTSIDE)


def _box(canvas: Canvas, view: View, prompt: Box) -> None:
    place = view.place(corners(view.image, prompt))
    if not np.isfinite(place[:, :2]).all() or place[:, 2].min() > 0.5 or place[:, 2].max() < -0.5:
        return
    half = np.array(view.scale) / 2  # both corners are included: the line runs around their voxels
    low, high = np.rint(place[:, :2].min(axis=0) - half), np.rint(place[:, :2].max(axis=0) + half)
    frame(canvas, (int(low[0]), int(low[1]), int(high[0]), int(high[1])))


def _scribble(canvas: Canvas, view: View, prompt: Scribble) -> None:
    for strokes, colour in ((prompt.inside, INSIDE), (prompt.outside, OUTSIDE)):
        if strokes is not None and strokes.shape == view.image.grid:
            shown = view.mask(strokes)
            casing(canvas, outer_edge(shown, 1).astype(np.float32))
            blend(canvas, shown * np.float32(0.9), colour)


def _mask(canvas: Canvas, view: View, prompt: Mask) -> None:
    if prompt.array.shape == view.image.grid:
        edge = inner_edge(view.mask(prompt.array), 2)
        down, across = np.indices(edge.shape)
        casing(canvas, edge.astype(np.float32))
        blend(canvas, (edge & ((down + across) // 6 % 2 == 0)).astype(np.float32), PALE)


DRAWN: dict[type, Callable[[Canvas, View, Any], None]] = {
    Points: _points,
    Box: _box,
    Scribble: _scribble,
    Mask: _mask,
}


def frame(canvas: Canvas, edges: tuple[int, int, int, int]) -> None:
    """A white outline, 2 px, just inside (left, top, right, bottom), cased on both sides."""
    left, top, right, bottom = edges
    down, across = (np.arange(length) for length in canvas.shape[:2])
    for grow, thick in ((1, 4), (0, 2)):
        beyond_x = np.minimum(across - (left - grow), right + grow - 1 - across)  # px in from the nearer edge
        beyond_y = np.minimum(down - (top - grow), bottom + grow - 1 - down)
        inward = np.minimum(beyond_x[None, :], beyond_y[:, None])
        line = ((inward >= 0) & (inward < thick)).astype(np.float32)
        if grow:
            casing(canvas, line)
        else:
            blend(canvas, line, PALE)


def click(canvas: Canvas, at: tuple[float, float], colour: Rgb) -> None:
    """A click's mark, its middle at (x, y) px: green disc with a plus, or red saltire."""
    left, top = int(np.floor(at[0])) - REACH, int(np.floor(at[1])) - REACH
    down, across = np.indices((2 * REACH + 1, 2 * REACH + 1), dtype=np.float64) + 0.5
    x, y = across - (at[0] - left), down - (at[1] - top)
    for covered, paint in _disc(x, y) if colour == INSIDE else _saltire(x, y):
        blend(canvas, covered.astype(np.float32), paint, at=(left, top))


Layers = Iterator[tuple[Float[np.ndarray, "h w"], Rgb]]


def _disc(x: Float[np.ndarray, "h w"], y: Float[np.ndarray, "h w"]) -> Layers:
    away = np.hypot(x, y)
    yield _within(away, 8.7) * 0.7, BLACK
    yield _within(away, 7.7), WHITE
    yield _within(away, 6.4), INSIDE
    yield np.maximum(*(_within(abs(one), 0.9) * _within(abs(other), 3.9) for one, other in ((x, y), (y, x)))), WHITE


def _saltire(x: Float[np.ndarray, "h w"], y: Float[np.ndarray, "h w"]) -> Layers:
    along, across = (x + y) / np.sqrt(2), (x - y) / np.sqrt(2)
    for width, paint, share in ((3.5, BLACK, 0.7), (2.6, WHITE, 1.0), (1.5, OUTSIDE, 1.0)):
        arms = (
            _within(abs(one), width) * _within(abs(other), 6.0 + width)
            for one, other in ((along, across), (across, along))
        )
        yield np.maximum(*arms) * share, paint


def _within(distance: Float[np.ndarray, "h w"], reach: float) -> Float[np.ndarray, "h w"]:
    return np.clip(reach - distance + 0.5, 0.0, 1.0)
