"""What is wrong with a folder of labelled cases, before hours are spent on it (as nnU-Net's integrity check does).

Errors would stop or spoil a training: unreadable files, label maps on another grid or of another geometry, nothing
labelled. Warnings would spoil its numbers: pictures that are nearly the same on both sides of a split, one patient on
both sides, label values that few cases have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from ..io.read import read
from ..train.pairs import Pair, pairs, split
from ..values import progress
from ..values.errors import HilumError
from ..values.image import Image

APART = 1e-2  # mm that corners of image and label map may lie apart
ALIKE = 4  # of 64 bits in which two difference hashes may differ and still mean the same picture
RARE = 0.05  # share of cases; a label value in fewer is worth a word


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: `grave` if a training would stop or be spoiled by it."""

    grave: bool
    sentence: str


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What is remembered of a case that could be read."""

    pair: Pair
    labels: frozenset[int]
    print: Bool[np.ndarray, " 64"]
    grid: tuple[int, ...]
    spacing: tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class Checked:
    """The cases that are sound, and everything that was found."""

    cases: tuple[Seen, ...]
    findings: tuple[Finding, ...] = field(default=())

    @property
    def sound(self) -> bool:
        """Whether nothing grave was found."""
        return not any(finding.grave for finding in self.findings)


def check(folder: Path, *, held: float = 0.2, seed: int = 0) -> Checked:
    """Every pair is read once. Sources named train, val, test are the split; else it is the one that `adapt` makes."""
    found = pairs(folder)
    seen: list[Seen] = []
    findings: list[Finding] = []
    for pair in progress.track(found, "cases"):
        try:
            image = pair.image()
            seen.append(_seen(pair, image))
            findings += _geometry(pair, image)
        except HilumError as error:
            findings.append(Finding(True, str(error)))
    findings += [*_labels(seen), *_leaks(seen, _sides(found, held, seed))]
    return Checked(tuple(seen), tuple(findings))


def _seen(pair: Pair, image: Image) -> Seen:
    labels = pair.labels(image)
    values = frozenset(int(value) for value in np.unique(labels[labels > 0]))
    return Seen(pair, values, difference_hash(_middle(image)), image.grid, image.spacing)


def _middle(image: Image) -> Float[np.ndarray, "h w"]:
    section = image.section()
    plane = image.plane(section, section.planes(image.volume()).shape[1] // 2)
    return plane.display(plane.array).mean(axis=0)


def difference_hash(grey: Float[np.ndarray, "h w"]) -> Bool[np.ndarray, " 64"]:
    """Whether each of 8 x 8 cells is brighter than its left neighbour (Krawetz 2013, "dHash")."""
    from PIL import Image as Picture

    small = Picture.fromarray(np.asarray(grey * 255, dtype=np.uint8)).resize((9, 8), Picture.Resampling.BOX)
    values = np.asarray(small, dtype=np.int64)
    return (values[:, 1:] > values[:, :-1]).ravel()


def _geometry(pair: Pair, image: Image) -> Iterator[Finding]:
    """Label maps that lie elsewhere in the patient; a picture has no place to compare."""
    label = read(pair.label_file)
    if image.space != "patient" or label.space != "patient":
        return
    apart = float(np.abs(image.affine - label.affine).max())
    if apart > APART:
        yield Finding(True, f"{_name(pair)}: the label map's affine differs from the image's by up to {apart:.4g} mm")


def _labels(seen: Sequence[Seen]) -> Iterator[Finding]:
    for one in seen:
        if not one.labels:
            yield Finding(False, f"{_name(one.pair)}: nothing is labelled, so nothing is learned from it")
    counts = Counter(value for one in seen for value in one.labels)
    for value, count in sorted(counts.items()):
        if count <= RARE * len(seen) and len(counts) > 1 and len(counts) < 100:
            yield Finding(False, f"label {value} is in {count} of {len(seen)} cases only")


def _sides(found: Sequence[Pair], held: float, seed: int) -> dict[Pair, str]:
    sources = {pair.source.lower() for pair in found}
    if len(sources & {"train", "training", "val", "valid", "validation", "test", "held"}) > 1:
        return {pair: pair.source for pair in found}
    try:
        train, rest = split(found, held, seed=seed)
    except HilumError:
        return dict.fromkeys(found, "train")
    return {**dict.fromkeys(train, "train"), **dict.fromkeys(rest, "held")}


def _leaks(seen: Sequence[Seen], side: dict[Pair, str]) -> Iterator[Finding]:
    """Nearly equal pictures and equal patients on two sides of the split; equal pictures anywhere."""
    prints = np.array([one.print for one in seen]).reshape(len(seen), -1)
    for first in range(len(seen) - 1):
        differ = (prints[first + 1 :] != prints[first]).sum(1)
        for second in (int(place) + first + 1 for place in np.flatnonzero(differ <= ALIKE)):
            yield _alike(seen[first].pair, seen[second].pair, side)
    sides: dict[str, set[str]] = {}
    for one in seen:
        sides.setdefault(one.pair.patient, set()).add(side[one.pair])
    for patient, places in sorted(sides.items()):
        if len(places) > 1:
            yield Finding(False, f"patient {patient} is in {' and in '.join(sorted(places))}: split by patient")


def _alike(first: Pair, second: Pair, side: dict[Pair, str]) -> Finding:
    where = "" if side[first] == side[second] else f", on both sides of the split ({side[first]}, {side[second]})"
    return Finding(False, f"{_name(first)} and {_name(second)} show nearly the same picture{where}")


def _name(pair: Pair) -> str:
    return f"{pair.source}/{pair.case}"
