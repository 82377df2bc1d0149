"""Volumes that are looked at in one go, and whose classes are named: all of them, or those that labels ask for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

import numpy as np
from jaxtyping import Bool

from ..io.limits import check_bytes
from ..values import progress
from ..values.answers import Segmentation
from ..values.errors import BadInput
from ..values.image import Image
from ..values.prompts import Prompt
from .classes import chosen

if TYPE_CHECKING:
    from .look import Look, Seen


@dataclass(frozen=True, slots=True, eq=False)
class Outlined:
    """One class on the volume's own grid, and how sure the system is of it (0..1)."""

    mask: Bool[np.ndarray, "z y x"]
    quality: float


@runtime_checkable
class Volumetric(Protocol):
    """A segmenter that looks at a whole volume and names what it finds there: always the same classes, which may
    overlap. What it remembers of a look serves every class, so that labels asked later cost no second look."""

    def prepare(self, image: Image) -> Image:
        """The image brought to the system's input contract on the same grid; conversions are noted."""

    def targets(self) -> tuple[str, ...]:
        """The names of the classes, in order."""

    def called(self, label: str) -> tuple[str, ...]:
        """The classes that a plain word means: one, several (both kidneys), or none."""

    def see_volume(self, volume: Image) -> Seen:
        """The costly pass over the volume (1, z, y, x), in patient space."""

    def outline(self, seen: Seen, volume: Image, target: str) -> Outlined:
        """One class, from what was seen; empty where there is none."""


def named(look: Look, prompts: tuple[Prompt, ...]) -> Segmentation:
    """The classes that labels ask for, or all; what can be refused is refused before the costly pass."""
    system, image, name = cast(Volumetric, look.system), look.images[0], look.system.card.name
    wanted = chosen(prompts, system.targets(), system.called, name)
    if image.dimensions != 3 or image.space != "patient":
        raise BadInput(f"{name} looks at whole volumes with a place in the patient, and this is a picture")
    check_bytes(len(wanted) * math.prod(image.grid), f"the answer of {len(wanted)} classes")
    prepared = look.prepared()
    seen = look.whole()
    masks = np.zeros((len(wanted), *image.grid), dtype=bool)  # takes memory only where it is written
    there: list[str] = []
    scores: list[float] = []
    for target in progress.track(wanted, "classes"):
        one = system.outline(seen, prepared, target)
        if one.mask.any():
            masks[len(there)] = one.mask
            there, scores = [*there, target], [*scores, one.quality]
    absent = [target for target in wanted if target not in there]
    notes = [*prepared.source.notes, *([f"not found: {', '.join(absent)}"] * bool(absent))]
    return Segmentation(
        masks=masks[: len(there)],
        names=tuple(there),
        scores=tuple(scores),
        image=image,
        provenance=look.provenance(prompts, *notes),
    )
