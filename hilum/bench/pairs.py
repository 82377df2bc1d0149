"""Labelled cases on disk: FOLDER/<source>/images/* with a label map of the same stem in FOLDER/<source>/labels/.

A FOLDER that itself holds images/ and labels/ is one source. Label maps are PNG (8 or 16 bit) or NIfTI; 0 is background
and every other value is one object.
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


@dataclass(frozen=True, slots=True)
class Pair:
    """One image file with its label file; read when needed."""

    source: str
    case: str
    image_file: Path
    label_file: Path

    def image(self) -> Image:
        """The image."""
        return read(self.image_file)

    def objects(self, image: Image) -> Iterator[tuple[int, Bool[np.ndarray, " *grid"]]]:
        """(label value, mask on the image's grid) of every object."""
        labels = read(self.label_file)
        if labels.grid != image.grid:
            raise BadInput(f"{self.source}/{self.case}: the image is {image.grid}, its label map {labels.grid}")
        values = labels.array[0].astype(np.int64)
        for value in np.unique(values[values > 0]):
            yield int(value), values == value


def pairs(folder: Path) -> list[Pair]:
    """All pairs below the folder, by source and case; images without a label map are named in the error."""
    sources = [folder] if (folder / "images").is_dir() else sorted(path for path in folder.iterdir() if path.is_dir())
    found = [pair for source in sources if (source / "images").is_dir() for pair in _source(source)]
    if not found:
        raise BadInput(
            f"no pairs in {folder}: wanted <source>/images/NAME.png (or .nii.gz) with <source>/labels/NAME.*"
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


def _source(folder: Path) -> list[Pair]:
    labels = {_stem(path): path for path in (folder / "labels").iterdir()} if (folder / "labels").is_dir() else {}
    images = sorted(path for path in (folder / "images").iterdir() if path.is_file())
    missing = [path.name for path in images if _stem(path) not in labels]
    if missing:
        raise BadInput(f"{folder.name}: {len(missing)} images have no label map, such as {missing[0]}")
    return [Pair(folder.name, _stem(path), path, labels[_stem(path)]) for path in images]


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").rsplit(".", 1)[0]
