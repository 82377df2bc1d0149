"""Segment: points, boxes, masks and scribbles in, a mask for each object on the image's own grid out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from ..values import progress
from ..values.answers import PlaneMask, Segmentation
from ..values.errors import BadInput, UnsupportedPrompt
from ..values.geometry import Section
from ..values.image import Image
from ..values.prompts import Labels, PlanePrompt, Prompt, Spatial
from . import volumetric
from .classes import chosen
from .propagate import volume
from .said import Said, objects
from .volumetric import Volumetric

if TYPE_CHECKING:
    from .look import Look, Seen


class Planar(Protocol):
    """A segmenter that works on one plane at a time. Planes are shown in radiological orientation (`Section`)."""

    def prepare(self, image: Image) -> Image:
        """The whole image brought to the system's input contract on the same grid; conversions are noted."""

    def see(self, plane: Image) -> Seen:
        """The costly pass over one plane (c, h, w)."""

    def draw(self, seen: Seen, prompt: PlanePrompt) -> PlaneMask:
        """One object on the plane, from all that was said of it there."""


@runtime_checkable
class Everything(Protocol):
    """A planar segmenter that can also draw whatever it finds, without a prompt."""

    def everything(self, seen: Seen) -> list[PlaneMask]:
        """Masks of all it finds on the plane, best first."""


@runtime_checkable
class Semantic(Protocol):
    """A planar segmenter that names what it finds, without a prompt: always the same classes, background left out."""

    def targets(self) -> tuple[str, ...]:
        """The names of the classes, in order."""

    def parse(self, seen: Seen) -> list[PlaneMask]:
        """A mask for each of the targets on the plane; empty where there is none."""


def look_ahead(look: Look) -> None:
    """Pay for the costly pass of pictures now: prompts that follow are cheap. Planes of a volume wait for a prompt."""
    for number, image in enumerate(look.images):
        if image.dimensions == 2 and not isinstance(look.system, Volumetric):
            look.seen(image.section(), 0, number)


def segment(look: Look, prompts: tuple[Prompt, ...]) -> Segmentation:
    """Masks, names and confidences of the prompted objects; of all classes, or of everything, without a prompt."""
    if len(look.images) != 1:
        raise BadInput(f"{look.system.card.name} segments one image at a time, got {len(look.images)}")
    if isinstance(look.system, Volumetric):
        return volumetric.named(look, prompts)
    image = look.images[0]
    prepared = look.prepared()
    if isinstance(look.system, Semantic) and all(isinstance(prompt, Labels) for prompt in prompts):
        return _named(look, prompts)
    if not prompts:
        drawn = _everything(look)
    else:
        drawn = [_object(look, one) for one in objects(cast(tuple[Spatial, ...], prompts), image)]
    masks = np.stack([one.mask for one in drawn]) if drawn else np.zeros((0, *image.grid), dtype=bool)
    unsure = [one.uncertainty for one in drawn if one.uncertainty is not None]
    return Segmentation(
        masks=masks,
        names=tuple(one.name for one in drawn),
        scores=tuple(one.score for one in drawn),
        image=image,
        provenance=look.provenance(prompts, *prepared.source.notes),
        uncertainty=np.stack(unsure) if unsure and len(unsure) == len(drawn) else None,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    """One object on the image's grid."""

    name: str
    mask: Bool[np.ndarray, " *grid"]
    score: float
    uncertainty: Float[np.ndarray, " *grid"] | None = None


def _object(look: Look, said: Said) -> _Drawn:
    """One object; its confidence is the planes' qualities weighted by area."""
    system, prepared = cast(Planar, look.system), look.prepared()
    section = prepared.section(said.normal() if prepared.dimensions == 3 else None)
    shape = prepared.volume().shape[1:]
    count = shape[2 - section.normal]

    def draw(number: int, prompt: PlanePrompt) -> PlaneMask:
        allowed = _allowed(prompt, look.system.card.accepts, look.system.card.name)
        return system.draw(look.seen(section, number), allowed)

    def laid(maps: dict[int, np.ndarray], dtype: type) -> np.ndarray:
        planes = np.zeros((count, *section.planes(np.empty(shape, dtype=bool)).shape[1:]), dtype=dtype)
        for number, each in maps.items():
            planes[number] = each
        return np.ascontiguousarray(section.volume(planes).reshape(prepared.grid))

    found = volume(said.on(section, shape), _reach(said, section, shape, count), draw)
    areas = np.array([mask.mask.sum() for mask in found.values()], dtype=np.float64) + 1e-6
    quality = float(np.average([mask.quality for mask in found.values()], weights=areas))
    unsure = {number: mask.uncertainty for number, mask in found.items() if mask.uncertainty is not None}
    masks = laid({number: mask.mask for number, mask in found.items()}, bool)
    return _Drawn(said.name, masks, quality, laid(unsure, np.float32) if unsure else None)


def _reach(said: Said, section: Section, shape: tuple[int, int, int], count: int) -> range:
    """Planes that may hold the object: those of its thick boxes, or all."""
    thick = [corners[:, 2] for corners in said.shown_boxes(section, shape) if corners[1, 2] > corners[0, 2]]
    if not thick:
        return range(count)
    return range(round(min(low for low, _ in thick)), round(max(high for _, high in thick)) + 1)


def _allowed(prompt: PlanePrompt, accepts: tuple[str, ...], name: str) -> PlanePrompt:
    """The parts of a prompt that the system takes; what propagation adds beyond them is left out."""
    kept = replace(
        prompt,
        box=prompt.box if "box" in accepts else None,
        mask=prompt.mask if "mask" in accepts else None,
        points=prompt.points if "points" in accepts else np.zeros((0, 2)),
        inside=prompt.inside if "points" in accepts else np.zeros(0, dtype=bool),
    )
    nothing = kept.box is None and kept.mask is None and not len(kept.points)
    if nothing and kept.strokes_in is None and kept.strokes_out is None:
        if "points" not in accepts or prompt.mask is None:
            raise UnsupportedPrompt(name, "a prompt it cannot carry from plane to plane", accepts)
        return replace(kept, points=_centre(prompt), inside=np.ones(1, dtype=bool))
    return kept


def _centre(prompt: PlanePrompt) -> np.ndarray:
    """The pixel deepest inside the mask, for systems that take nothing but points."""
    from scipy.ndimage import distance_transform_edt

    assert prompt.mask is not None
    depth = distance_transform_edt(np.pad(prompt.mask > 0.5, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(np.argmax(depth)), depth.shape)
    return np.array([[float(column), float(row)]])


def _named(look: Look, prompts: tuple[Prompt, ...]) -> Segmentation:
    """The classes that a system knows by name (or those that were asked for), wherever they are on any plane."""
    system, image, prepared = cast(Semantic, look.system), look.images[0], look.prepared()
    known = system.targets()
    spelled = {each.casefold(): (each,) for each in known}
    wanted = chosen(prompts, known, lambda label: spelled.get(label.casefold(), ()), look.system.card.name)
    section = prepared.section()
    masks = np.zeros((len(wanted), *prepared.volume().shape[1:]), dtype=bool)
    planes = [section.planes(mask) for mask in masks]  # views: what is written here lands in the masks
    sums, areas = np.zeros(len(wanted)), np.zeros(len(wanted))
    for number in progress.track(range(planes[0].shape[0]), "planes"):
        found = system.parse(look.seen(section, number))
        for place, name in enumerate(wanted):
            one = found[known.index(name)]
            planes[place][number] = one.mask
            area = float(one.mask.sum())
            sums[place], areas[place] = sums[place] + area * one.quality, areas[place] + area
    there = [place for place in range(len(wanted)) if areas[place]]
    absent = [wanted[place] for place in range(len(wanted)) if not areas[place]]
    return Segmentation(
        masks=masks[there].reshape(-1, *image.grid),
        names=tuple(wanted[place] for place in there),
        scores=tuple(float(sums[place] / areas[place]) for place in there),
        image=image,
        provenance=look.provenance(
            prompts, *prepared.source.notes, *([f"not found: {', '.join(absent)}"] * bool(absent))
        ),
    )


def _everything(look: Look) -> list[_Drawn]:
    if not isinstance(look.system, Everything):
        raise BadInput(f"{look.system.card.name} wants a prompt: {', '.join(look.system.card.accepts)}")
    prepared = look.prepared()
    if prepared.volume().shape[1] != 1:
        raise BadInput(f"{look.system.card.name} finds everything on one plane; give a prompt for a volume")
    section = prepared.section(2)
    found = look.system.everything(look.seen(section, 0))
    return [
        _Drawn(f"object {number}", section.volume(mask.mask[None]).reshape(prepared.grid), mask.quality)
        for number, mask in enumerate(found, 1)
    ]
