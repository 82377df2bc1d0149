"""Explain: of any answer, where in its image it comes from. A matcher's own published way if it has one, else its
gradient, else what it no longer says where the picture is blurred; of a segmenter, what each prompt is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

import numpy as np
from jaxtyping import Float

from ..parts.shown_map import laid
from ..values.answers import Answer, Scores, Segmentation
from ..values.errors import BadInput
from ..values.explanation import Explanation
from ..values.image import Image
from ..values.prompts import Box, Labels, Mask, Points, Prompt, Scribble, Spatial
from .ablation import shaken
from .match import Traced
from .occlusion import Rescored, drops
from .relevance import STEPS, shares
from .said import grouped

if TYPE_CHECKING:
    from .look import Look, Seen
    from .system import System

ABLATED = (
    "each prompt of an object left out in turn, or, where it is the only one, moved by a tenth and made smaller and "
    "larger: the share of these changes that flip a voxel of the answer"
)


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """Maps in the pixels of the first plane, NaN where the system did not look; what they measure, and how."""

    maps: Float[np.ndarray, "labels h w"]
    unit: str
    method: str


@runtime_checkable
class Explained(Protocol):
    """A matcher with a way of its own to say where it looked."""

    def looked(self, planes: Sequence[Image], seen: Sequence[Seen], labels: Labels) -> Looked:
        """For each label a map of the first plane."""


def explain(look: Look, prompts: tuple[Prompt, ...], answer: Answer) -> Explanation:
    """Where the look's answer to the prompts comes from."""
    match answer:
        case Scores():
            return _matched(look, prompts, answer)
        case Segmentation():
            return _segmented(look, prompts, answer)
    given = type(answer).__name__.lower()
    raise BadInput(f"scores and masks are explained, and {look.system.card.name} gave neither but: {given}")


def _matched(look: Look, prompts: tuple[Prompt, ...], answer: Scores) -> Explanation:
    image, prepared = look.images[0], look.prepared()
    section = prepared.section()
    found = _looked(look, prompts)
    lowest = np.nanmin(found.maps, axis=(1, 2), keepdims=True)
    maps = section.volume(np.where(np.isnan(found.maps), lowest, found.maps)[:, None])
    return Explanation(
        np.ascontiguousarray(maps.reshape(-1, *image.grid), dtype=np.float32),
        answer.names,
        found.unit,
        found.method,
        image,
        answer.provenance,
    )


def _looked(look: Look, prompts: tuple[Prompt, ...]) -> Looked:
    """The system's own way, else its gradient, else occlusion (a probe's classes, one picture of several)."""
    system, count = look.system, len(look.images)
    prepared = [look.prepared(number) for number in range(count)]
    planes = [each.plane(each.section(), 0) for each in prepared]
    if prompts and isinstance(system, Explained):
        seen = [look.seen(each.section(), 0, number) for number, each in enumerate(prepared)]
        return system.looked(planes, seen, cast(Labels, prompts[-1]))
    if prompts and isinstance(system, Traced) and count == 1:
        return by_gradient(cast("System", system), planes[0], cast(Labels, prompts[-1]))
    return by_occlusion(Rescored(look, prompts))


def by_gradient(system: System, plane: Image, labels: Labels) -> Looked:
    """The similarity's own shares, cell by cell."""
    size = plane.array.shape[1:]
    cells = shares(system, plane, labels).cells()
    rows, columns = cells.shape[1:]
    method = (
        "what each cell adds to the label's similarity over that of the blurred picture (integrated gradients, "
        f"{STEPS} steps), {rows} × {columns} cells of what the network is shown, enlarged smoothly"
    )
    return Looked(laid(cells, size, cast(Traced, system).shows(size)), "added similarity", method)


def by_occlusion(scored: Rescored) -> Looked:
    """What the similarity loses, part by part."""
    size = scored.plane.array.shape[1:]
    grid = drops(scored)
    rows, columns = grid.shape[1:]
    method = f"how far the label's similarity falls when one of {rows} × {columns} parts of the picture is blurred away"
    method += f"; the first of {len(scored.look.images)} pictures" if len(scored.look.images) > 1 else ""
    return Looked(laid(grid, size, size), "drop in similarity", method)


def _segmented(look: Look, prompts: tuple[Prompt, ...], answer: Segmentation) -> Explanation:
    name = look.system.card.name
    if not prompts or not all(isinstance(prompt, Box | Points | Mask | Scribble) for prompt in prompts):
        raise BadInput(f"a mask is explained by its prompts, and {name} was given no box, click, mask or scribble")
    objects = grouped(cast(tuple[Spatial, ...], prompts))
    found = [shaken(look, *each, full) for each, full in zip(objects.items(), answer.masks, strict=True)]
    return Explanation(
        np.stack([each.flips for each in found]),
        answer.names,
        "share of changes",
        ABLATED,
        answer.image,
        answer.provenance,
        tuple(ablation for each in found for ablation in each.ablations),
    )
