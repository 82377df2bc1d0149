"""napari's reader: DICOM folders and files, NIfTI, NRRD and MetaImage, by hilum's own reader."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ...values.errors import BadInput
from .layers import LayerData, image_layer

Paths = str | Sequence[str]
VOLUMES = ("dicom", "nifti", "nrrd", "metaimage")  # pictures are napari's own
LOOKED_AT = 50  # files of a folder, to see whether it holds DICOM


def reader(path: Paths) -> Callable[[Paths], list[LayerData]] | None:
    """What reads these paths; None for what another reader should have."""
    paths = [Path(each) for each in ([path] if isinstance(path, str) else path)]
    return layers if paths and all(map(_ours, paths)) else None


def layers(path: Paths) -> list[LayerData]:
    """One image layer; several paths are the files of one DICOM series."""
    from ...io.read import read

    paths = [path] if isinstance(path, str) else list(path)
    image = read(paths[0] if len(paths) == 1 else paths)
    return [image_layer(image, Path(paths[0]).name.split(".")[0] or "image")]


def _ours(path: Path) -> bool:
    from ...io.dicom_file import looks_like_dicom
    from ...io.read import kind_of

    if path.is_dir():
        return any(map(looks_like_dicom, itertools.islice(_files(path), LOOKED_AT)))
    try:
        return kind_of(path) in VOLUMES
    except BadInput:
        return False


def _files(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))
