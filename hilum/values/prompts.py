"""Prompts: what a user says to a system. Coordinates are (x, y[, z]) voxel indices of the image as it was read
(integer = voxel centre), or LPS millimetres where `space="patient"`. A `name` says which object is meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Bool, Float

if TYPE_CHECKING:
    from .image import Image

PromptSpace = Literal["voxel", "patient"]


def _coordinates(values: object, what: str) -> Float[np.ndarray, "n d"]:
    array = np.array(values, dtype=np.float64)
    if array.ndim == 1 and array.size:
        array = array[None]
    if array.ndim != 2 or array.shape[1] not in (2, 3) or not np.isfinite(array).all():
        raise ValueError(f"{what}: wanted finite coordinates (n, 2) or (n, 3), got shape {array.shape}")
    return array


def _set(value: object, **fields: object) -> None:
    for name, content in fields.items():
        object.__setattr__(value, name, content)


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Clicks: `at` is (n, d) as (x, y[, z]); `inside` says of each whether it lies in the object (default: all)."""

    at: Float[np.ndarray, "n d"]
    inside: Bool[np.ndarray, " n"] = None  # type: ignore[assignment]
    space: PromptSpace = "voxel"
    name: str | None = None

    def __post_init__(self) -> None:
        at = _coordinates(self.at, "points")
        inside = np.ones(len(at), dtype=bool) if self.inside is None else np.array(self.inside, dtype=bool).reshape(-1)
        if len(inside) != len(at):
            raise ValueError(f"points: {len(at)} places but {len(inside)} inside/outside marks")
        _set(self, at=at, inside=inside)


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """An axis-aligned box in voxel indices of the image as it was read; both corners included."""

    low: Float[np.ndarray, " d"]
    high: Float[np.ndarray, " d"]
    space: PromptSpace = "voxel"
    name: str | None = None

    def __post_init__(self) -> None:
        low, high = _coordinates(self.low, "box")[0], _coordinates(self.high, "box")[0]
        if low.shape != high.shape:
            raise ValueError(f"box corners have {low.size} and {high.size} coordinates")
        if (low > high).any() and self.space == "voxel":
            raise ValueError(f"box corners are swapped: low {low.tolist()}, high {high.tolist()}")
        _set(self, low=low, high=high)


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """A mask on the image's own grid, (z, y, x) or (y, x): a first guess to be bettered."""

    array: Bool[np.ndarray, " *grid"]
    name: str | None = None

    def __post_init__(self) -> None:
        array = np.array(self.array)
        if array.ndim not in (2, 3):
            raise ValueError(f"a mask is (y, x) or (z, y, x), got shape {array.shape}")
        _set(self, array=array.astype(bool))


@dataclass(frozen=True, slots=True, eq=False)
class Scribble:
    """Freehand strokes on the image's own grid: True where the pen went, inside and (optionally) outside."""

    inside: Bool[np.ndarray, " *grid"]
    outside: Bool[np.ndarray, " *grid"] | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        inside = np.array(self.inside, dtype=bool)
        outside = None if self.outside is None else np.array(self.outside, dtype=bool)
        if outside is not None and outside.shape != inside.shape:
            raise ValueError(f"scribble: inside is {inside.shape}, outside is {outside.shape}")
        _set(self, inside=inside, outside=outside)


@dataclass(frozen=True, slots=True)
class Labels:
    """Names of classes; `templates` such as "a radiograph of {}" are the system's own unless given.

    `texts` says what is compared for each name (several texts make one class), `opposites` what speaks against it: each
    empty, or one tuple for each name, whose own empty tuple leaves that name to the templates.
    """

    names: tuple[str, ...]
    templates: tuple[str, ...] = ()
    texts: tuple[tuple[str, ...], ...] = ()
    opposites: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        _set(self, names=tuple(self.names), templates=tuple(self.templates))
        _set(self, texts=tuple(map(tuple, self.texts)), opposites=tuple(map(tuple, self.opposites)))
        if not self.names:
            raise ValueError("labels: at least one name is wanted")
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"labels: a name is there twice in {', '.join(self.names)}")
        for template in self.templates:
            if "{}" not in template:
                raise ValueError(f"labels: a template has a place {{}} for the name, got {template!r}")
        for said in (self.texts, self.opposites):
            if said and len(said) != len(self.names):
                raise ValueError(f"labels: {len(self.names)} names, but texts for {len(said)} of them")

    def said(self, templates: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        """The texts of each name: its own, else the templates given here, else the system's `templates`."""
        own = self.texts or ((),) * len(self.names)
        chosen = self.templates or templates
        filled = [tuple(each.replace("{}", name) for each in chosen) for name in self.names]
        return tuple(texts or made for texts, made in zip(own, filled, strict=True))

    def denied(self, templates: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        """The texts against each name: its own opposites, else the system's `templates` of denial."""
        own = self.opposites or ((),) * len(self.names)
        filled = [tuple(each.replace("{}", name) for each in templates) for name in self.names]
        return tuple(texts or made for texts, made in zip(own, filled, strict=True))


@dataclass(frozen=True, slots=True)
class Question:
    """One question about the images."""

    text: str


@dataclass(frozen=True, slots=True)
class Turns:
    """A conversation: (role, text) pairs, the last one the user's; roles are "user" and "assistant"."""

    turns: tuple[tuple[Literal["user", "assistant"], str], ...]

    def __post_init__(self) -> None:
        _set(self, turns=tuple((role, text) for role, text in self.turns))
        if not self.turns or self.turns[-1][0] != "user":
            raise ValueError("turns: the last turn must be the user's")


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Images with the answers that belong to them, shown in context: ((image, text), ...)."""

    pairs: tuple[tuple[Image, str], ...]

    def __post_init__(self) -> None:
        _set(self, pairs=tuple(self.pairs))


Prompt = Points | Box | Mask | Scribble | Labels | Question | Turns | Examples
Spatial = Points | Box | Mask | Scribble


@dataclass(frozen=True, slots=True, eq=False)
class PlanePrompt:
    """All that was said of one object on one plane, in that plane's pixels: x across, y down, integer = centre.

    `mask` is a probability (a previous answer, or a neighbouring plane's); box is [low, high], both included.
    """

    points: Float[np.ndarray, "n 2"] = field(default_factory=lambda: np.zeros((0, 2)))
    inside: Bool[np.ndarray, " n"] = field(default_factory=lambda: np.zeros(0, dtype=bool))
    box: Float[np.ndarray, "2 2"] | None = None
    mask: Float[np.ndarray, "h w"] | None = None
    strokes_in: Bool[np.ndarray, "h w"] | None = None
    strokes_out: Bool[np.ndarray, "h w"] | None = None


def kind(prompt: object) -> str:
    """The word for a prompt on cards and on the command line: points, box, mask, scribble, labels, ..."""
    return type(prompt).__name__.lower()
