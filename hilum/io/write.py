"""Answers out: the suffix chooses the format, the file appears whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from hilum.values.answers import Answer, Embedding, Findings, Reply, Scores, Segmentation
from hilum.values.errors import BadInput
from hilum.values.explanation import Explanation

from .atomic import check_target, replacing

REPORT = ("report", "write_json")
WRITERS: Mapping[type[Any], Mapping[str, tuple[str, str]]] = {  # suffix: module of this folder, function in it
    Segmentation: {
        ".nii": ("nifti_mask", "write_nifti"),
        ".nii.gz": ("nifti_mask", "write_nifti_gz"),
        ".nrrd": ("nrrd_mask", "write_nrrd"),
        ".seg.nrrd": ("nrrd_mask", "write_seg_nrrd"),
        ".dcm": ("segmentation", "write_seg"),
        ".png": ("picture_mask", "write_png"),
        ".json": REPORT,
        ".npz": ("arrays", "write_uncertainty"),
    },
    Scores: {".json": REPORT},
    Reply: {".json": REPORT},
    Embedding: {".npz": ("arrays", "write_vectors"), ".parquet": ("vector_table", "write_parquet"), ".json": REPORT},
    Findings: {".json": REPORT},
    Explanation: {
        ".png": ("explained", "write_sheet"),
        ".npz": ("arrays", "write_maps"),
        ".nii": ("nifti_maps", "write_nifti"),
        ".nii.gz": ("nifti_maps", "write_nifti_gz"),
        ".nrrd": ("nrrd_maps", "write_nrrd"),
        ".json": REPORT,
    },
}


def write(answer: Answer | Explanation, path: str | Path, *, force: bool = False) -> Path:
    """Write an answer by suffix and give back the path; an existing file is only replaced with `force`."""
    target = Path(path)
    module, function = _writer(type(answer), target)
    writer: Callable[[Any, Path], None] = getattr(import_module(f"{__package__}.{module}"), function)
    with replacing(target, force=force) as temporary:
        writer(answer, temporary)
    return target


def check_write(kind: type[Any], path: str | Path, *, force: bool = False) -> None:
    """Refuses, before any work is done, a file that an answer of this kind could not be written to."""
    check_suffix(kind, path)
    check_target(Path(path), force=force)


def check_suffix(kind: type[Any], path: str | Path) -> None:
    """Refuses a name whose suffix says no format of this kind of answer."""
    _writer(kind, Path(path))


def _writer(kind: type[Any], target: Path) -> tuple[str, str]:
    known = WRITERS[kind]
    fits = [suffix for suffix in known if target.name.lower().endswith(suffix)]
    if not fits:
        name = kind.__name__.lower()
        article = "an" if name[0] in "aeiou" else "a"
        raise BadInput(f"{article} {name} is written as {', '.join(known)}; got {target.name!r}.")
    return known[max(fits, key=len)]
