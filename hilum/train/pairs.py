"""Labelled cases on disk, in the three ways in which people keep them:

FOLDER/images/NAME.png with FOLDER/labels/NAME.* (or masks/); FOLDER/<source>/images and labels; or NAME.png beside
NAME_mask.png (_label, _seg). Images and label maps are PNG (8 or 16 bit) or NIfTI; 0 is background and every other
value is one object. A case's patient is the part of its name before the first "__", else the case itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from ..io.read import read
from ..values.errors import BadInput
from ..values.image import Image

LABELS = ("labels", "masks")  # folders beside images/
MARKS = ("_mask", "_label", "_labels", "_seg")  # behind an image's name


@dataclass(frozen=True, slots=True)
class Pair:
    """One image file with its label file; read when needed."""

    source: str
    case: str
    image_file: Path
    label_file: Path

    @property
    def patient(self) -> str:
        """Cases of one patient stay on one side of a split."""
        return self.case.partition("__")[0]

    def image(self) -> Image:
        """The image."""
        return read(self.image_file)

    def labels(self, image: Image) -> np.ndarray:
        """The label map on the image's grid, int64."""
        labels = read(self.label_file)
        if labels.grid != image.grid:
            raise BadInput(f"{self.source}/{self.case}: the image is {image.grid}, its label map {labels.grid}")
        return labels.array[0].astype(np.int64)

    def objects(self, image: Image) -> Iterator[tuple[int, Bool[np.ndarray, " *grid"]]]:
        """(label value, mask on the image's grid) of every object."""
        values = self.labels(image)
        for value in np.unique(values[values > 0]):
            yield int(value), values == value


def pairs(folder: Path) -> list[Pair]:
    """All pairs below the folder, by source and case; images without a label map are named in the error."""
    if not folder.is_dir():
        raise BadInput(f"no such folder: {folder}")
    found = [pair for source in _sources(folder) for pair in _source(source)] or _beside(folder)
    if not found:
        raise BadInput(
            f"no pairs in {folder}: wanted images/NAME.png (or .nii.gz) with labels/NAME.*, "
            "the same below folders named after their sources, or NAME.png beside NAME_mask.png"
        )
    return found


def some(found: Sequence[Pair], most: int | None, *, seed: int) -> list[Pair]:
    """At most this many cases of each source, drawn by the seed; all of them for None."""
    if most is None:
        return list(found)
    rng = np.random.default_rng(seed)
    by_source: dict[str, list[Pair]] = {}
    for pair in found:
        by_source.setdefault(pair.source, []).append(pair)
    return [cases[index] for cases in by_source.values() for index in sorted(rng.permutation(len(cases))[:most])]


def split(found: Sequence[Pair], held: float, *, seed: int) -> tuple[list[Pair], list[Pair]]:
    """Cases to learn from and cases held back, patient by patient; at least one patient on either side."""
    patients = sorted({pair.patient for pair in found})
    if len(patients) < 2:
        raise BadInput(f"{len(patients)} patient is too few: at least 2 are wanted, one of them is held back")
    count = min(max(round(held * len(patients)), 1), len(patients) - 1)
    chosen = {patients[index] for index in np.random.default_rng(seed).permutation(len(patients))[:count]}
    return [one for one in found if one.patient not in chosen], [one for one in found if one.patient in chosen]


def _sources(folder: Path) -> list[Path]:
    """Folders that hold images/: this one, or those right below it."""
    if (folder / "images").is_dir():
        return [folder]
    return sorted(path for path in folder.iterdir() if (path / "images").is_dir())


def _source(folder: Path) -> list[Pair]:
    places = [folder / name for name in LABELS if (folder / name).is_dir()]
    labels = {_stem(path): path for place in places for path in sorted(place.iterdir()) if not _hidden(path)}
    images = sorted(path for path in (folder / "images").iterdir() if path.is_file() and not _hidden(path))
    missing = [path.name for path in images if _labelled(path, labels) is None]
    if missing:
        raise BadInput(f"{folder.name}: {len(missing)} images have no label map, such as {missing[0]}")
    return [Pair(folder.name, _stem(path), path, labels[_labelled(path, labels) or ""]) for path in images]


def _labelled(image: Path, labels: dict[str, Path]) -> str | None:
    """The stem of the image's label map, marked or not."""
    return next((name for name in (_stem(image) + mark for mark in ("", *MARKS)) if name in labels), None)


def _beside(folder: Path) -> list[Pair]:
    """Pairs of a flat folder; files without a partner are left alone, since they may be anything."""
    files = {_stem(path): path for path in sorted(folder.iterdir()) if path.is_file() and not _hidden(path)}
    partner = {stem: next((stem + mark for mark in MARKS if stem + mark in files), None) for stem in files}
    return [Pair(folder.name, stem, files[stem], files[other]) for stem, other in partner.items() if other]


def _hidden(path: Path) -> bool:
    return path.name.startswith(".")


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").rsplit(".", 1)[0]
