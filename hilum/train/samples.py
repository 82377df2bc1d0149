"""Samples of labelled cases: planes with the masks of their objects, read once and kept in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from ..capabilities.trainable import Sample
from ..values import progress
from ..values.errors import BadInput
from ..values.image import Image
from .pairs import Pair

SMALLEST = 16  # pixels; a smaller piece of an object on a plane teaches nothing
PER_VOLUME = 24  # planes of a volume, evenly chosen among those that show an object


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A case's name and its samples."""

    name: str
    samples: tuple[Sample, ...]


def read_cases(pairs: Sequence[Pair], targets: tuple[str, ...] = ()) -> list[Case]:
    """The cases that show something. With `targets` every sample has a mask for each of them, by label value from 1."""
    cases = [_case(pair, targets) for pair in progress.track(pairs, "reading cases")]
    seen = [case for case in cases if case.samples]
    if not seen:
        raise BadInput(f"no label map of {len(cases)} shows an object of at least {SMALLEST} pixels")
    return seen


def _case(pair: Pair, targets: tuple[str, ...]) -> Case:
    image = pair.image()
    labels = pair.labels(image)
    beyond = int(labels.max())
    if targets and beyond > len(targets):
        raise BadInput(
            f"{pair.source}/{pair.case}: label {beyond} is none of {len(targets)} targets ({', '.join(targets)})"
        )
    return Case(f"{pair.source}/{pair.case}", tuple(_samples(image, labels, targets)))


def _samples(image: Image, labels: np.ndarray, targets: tuple[str, ...]) -> list[Sample]:
    section = image.section()
    planes = section.planes(labels.reshape(image.volume().shape[1:]))
    shown = np.flatnonzero((planes > 0).sum((1, 2)) >= SMALLEST)
    if len(shown) > PER_VOLUME:
        shown = shown[np.linspace(0, len(shown) - 1, PER_VOLUME).round().astype(int)]
    found = (Sample(image.plane(section, int(number)), masks_of(planes[number], targets)) for number in shown)
    return [sample for sample in found if sample.masks.any()]


def masks_of(plane: np.ndarray, targets: tuple[str, ...]) -> Bool[np.ndarray, "objects h w"]:
    """A mask per target (empty ones too), or per label value that is large enough."""
    if targets:
        return np.stack([plane == value for value in range(1, len(targets) + 1)])
    values = [value for value in np.unique(plane[plane > 0]) if (plane == value).sum() >= SMALLEST]
    return np.stack([plane == value for value in values]) if values else np.zeros((0, *plane.shape), dtype=bool)
