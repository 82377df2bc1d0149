"""A panel: one view painted, with the words that stand above it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from hilum.values.prompts import Prompt

from . import marks
from .ink import Canvas, blend, casing, colour_of, heat, inner_edge, outer_edge, paste
from .lettering import Type, coverage, edge_letters, letter, scale_bar
from .view import View
from .words import window_words

FILL = np.float32(0.22)
SOLID = np.float32(0.6)
RIM = 3  # px kept around an object, more than its outline needs
NATS = float(np.log(2.0))  # the entropy of a coin: no voxel of one object can be more uncertain

Masks = Bool[np.ndarray, " objects *grid"]


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """A painted view; `title` says what it is, `aside` how it is shown."""

    picture: Canvas
    title: str
    aside: str = ""


def plain(view: View, *, title: str = "") -> Panel:
    """The image alone."""
    canvas = view.picture()
    signs(canvas, view)
    return Panel(canvas, titled(view, title), window_words(view.image))


def prompted(view: View, prompts: Sequence[Prompt], *, title: str = "") -> Panel:
    """The image and what was said about it."""
    canvas = view.picture()
    marks.draw(canvas, view, prompts)
    signs(canvas, view)
    return Panel(canvas, titled(view, title), window_words(view.image))


def outlined(view: View, masks: Masks, prompts: Sequence[Prompt] = (), *, title: str = "") -> Panel:
    """The image with each object's outline and a light fill, and the prompts."""
    canvas, objects = view.picture(), layers(view, masks)
    fill(canvas, objects, FILL)
    outline(canvas, objects)
    marks.draw(canvas, view, prompts)
    signs(canvas, view)
    return Panel(canvas, titled(view, title), window_words(view.image))


def filled(view: View, masks: Masks, *, title: str = "") -> Panel:
    """The image with each object filled, without an outline."""
    canvas = view.picture()
    fill(canvas, layers(view, masks), SOLID)
    signs(canvas, view)
    return Panel(canvas, titled(view, title))


def uncertain(view: View, uncertainty: Float[np.ndarray, " objects *grid"], masks: Masks) -> Panel:
    """How unsure the answer is, in nats, the least sure object first at each voxel; over the dimmed image."""
    values = np.max([view.field(each) for each in uncertainty], axis=0)
    top = max(NATS, float(values.max()))
    share = np.sqrt(np.clip(values / top, 0.0, 1.0))[..., None]
    dim = view.picture() * 0.55
    canvas = np.rint(dim * (1 - share) + heat(values, top) * share).astype(np.uint8)
    outline(canvas, layers(view, masks))
    signs(canvas, view)
    heat_key(canvas, ("0", f"{top:.2f} nats"))
    return Panel(canvas, titled(view, "uncertainty"))


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """An object's pixels on a view: the part that holds them, with the corner where it lies."""

    number: int
    shown: Bool[np.ndarray, "h w"]
    at: tuple[int, int]


def layers(view: View, masks: Masks) -> list[Layer]:
    """The objects that are on the view: large ones first, so that small ones stay in sight."""
    there = [_layer(number, view.mask(mask)) for number, mask in enumerate(masks) if view.plane(mask).any()]
    return sorted(there, key=lambda layer: (-int(layer.shown.sum()), layer.number))


def _layer(number: int, shown: Bool[np.ndarray, "h w"]) -> Layer:
    rows, columns = (np.flatnonzero(shown.any(axis=axis)) for axis in (1, 0))
    top, left = max(0, int(rows[0]) - RIM), max(0, int(columns[0]) - RIM)
    return Layer(number, shown[top : int(rows[-1]) + RIM + 1, left : int(columns[-1]) + RIM + 1], (left, top))


def fill(canvas: Canvas, objects: list[Layer], share: np.float32) -> None:
    """Lay each object's colour over its pixels."""
    for layer in objects:
        blend(canvas, layer.shown * share, colour_of(layer.number), at=layer.at)


def outline(canvas: Canvas, objects: list[Layer]) -> None:
    """Each object's edge: its own outermost 2 px, and 1 px of shade around them."""
    for layer in objects:
        casing(canvas, outer_edge(layer.shown, 1) * np.float32(0.6), at=layer.at)
        blend(canvas, inner_edge(layer.shown, 2).astype(np.float32), colour_of(layer.number), at=layer.at)


def signs(canvas: Canvas, view: View) -> None:
    """Orientation letters and scale bar, where the image's space gives them a meaning."""
    style = Type(21 if min(canvas.shape[:2]) > 480 else 17, halo=2)
    if (sides := view.sides()) is not None:
        edge_letters(canvas, sides, style=style)
    if (pixels_per_mm := view.pixels_per_mm) is not None:
        scale_bar(canvas, pixels_per_mm, style=style)


def heat_key(canvas: Canvas, ends: tuple[str, str]) -> None:
    """The colours of what is laid over the image, with the words of both ends, at the lower left."""
    height, width = canvas.shape[:2]
    if height < 60 or width < 240:  # no room beside the scale bar
        return
    ramp = heat(np.tile(np.linspace(0.0, 1.0, 96), (8, 1)), 1.0)
    style = Type(14, halo=2)
    left, bottom = 12, height - 32
    casing(canvas, np.ones((12, 100), dtype=np.float32), at=(left - 2, bottom - 10))
    paste(canvas, ramp, (left, bottom - 8))
    letter(canvas, ends[0], (left, bottom + 3), style=style)
    right = max(left + 96, left + sum(coverage(each, style.size).shape[1] for each in ends) + 10)
    letter(canvas, ends[1], (right, bottom + 3), style=style, anchor="rt")


def titled(view: View, title: str) -> str:
    """The view's own words and what is particular about it."""
    return " · ".join(part for part in (view.words(), title) if part)
