"""Images with labels, as a table: a CSV file with one line for each image.

The column `file` is a path from the folder of the table. What is true of an image stands either in a column of the
label's name (1, 0, or nothing where it is not known), or in a column `labels` that names all that is true of it, joined
by | (nothing: none of them). Columns that may be there too: patient (else the part of the file's name before "__", else
the file itself), group (what must stay together where that is more than a patient), view, sex, age, source, and text.
Names of columns and labels may differ in capitals.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ..io import csv_table
from ..values.errors import BadInput
from ..weights.tensor_file import sha256

FILE, MEMBERS, PATIENT, GROUP, TEXT = "file", "labels", "patient", "group", "text"
GROUPS = ("view", "sex", "age", "source")
TRUTHS = {"1": True, "1.0": True, "0": False, "0.0": False, "": None}  # programs write whole numbers with a point
BAND = 20  # years of an age group
OLDEST = 130
UNSAID = "not said"  # the group of an image whose cell is empty


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """A line of a table; `truth` by label, in the order asked: True, False, or None where it is not known. `patient` is
    what stays together: the column group where it says something."""

    name: str
    file: Path
    line: int
    truth: tuple[bool | None, ...]
    patient: str
    groups: Mapping[str, str]
    text: str = ""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A table of images, as far as it was asked for."""

    path: Path
    sha256: str
    labels: tuple[str, ...]
    images: tuple[LabelledImage, ...]


def truths(images: Sequence[LabelledImage]) -> Float[np.ndarray, "n labels"]:
    """1 where a label is true of an image, 0 where not, NaN where nobody knows."""
    return np.array([[math.nan if each is None else float(each) for each in image.truth] for image in images])


def patients(images: Sequence[LabelledImage]) -> np.ndarray:
    """The patient of each image."""
    return np.array([image.patient for image in images])


def read(path: Path, labels: Sequence[str] = (), *, by: Sequence[str] = (), text: bool = False) -> Labelled:
    """The table with the labels asked, the groups of `by`, and texts where they are wanted; every mistake is a sentence
    that names its line."""
    rows = list(csv_table.rows(path, FILE))
    columns = set(rows[0][1]) if rows else set()
    _wanted(path, columns, labels, (*by, *((TEXT,) if text else ())))
    images = tuple(_image(path, line, row, (labels, by)) for line, row in rows)
    _once(path, images)
    for place, label in enumerate(labels):
        if label.casefold() not in columns and not any(image.truth[place] for image in images):
            raise BadInput(f"{path}: no image has the label {label}{_near(label, _members(rows))}.")
    for image in images:
        if text and not image.text:
            raise BadInput(f"{path}, line {image.line}: the column {TEXT} is empty; wanted what is said of the image.")
    return Labelled(path, sha256(path), tuple(labels), images)


def _wanted(path: Path, columns: set[str], labels: Sequence[str], more: Sequence[str]) -> None:
    """Refuses a table without the columns that are asked for, or without a line."""
    if not columns:
        raise BadInput(f"{path}, line 2: wanted a line for each image, and there is none.")
    for column in more:
        if column not in columns:
            raise BadInput(f"{path}, line 1: wanted a column {column}; its columns are {', '.join(sorted(columns))}.")
    for label in labels:
        if label.casefold() not in columns and MEMBERS not in columns:
            near = _near(label, sorted(columns))
            raise BadInput(
                f"{path}, line 1: wanted a column {label}{near}, or a column {MEMBERS} with names joined by |."
            )


def _near(label: str, known: Sequence[str]) -> str:
    close = get_close_matches(label.casefold(), known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _members(rows: Sequence[tuple[int, Mapping[str, str]]]) -> list[str]:
    return sorted({name for _, row in rows for name in _named(row)})


def _named(row: Mapping[str, str]) -> set[str]:
    """The labels that the cell of all labels names."""
    return {name.strip().casefold() for name in row.get(MEMBERS, "").split("|") if name.strip()}


def _image(path: Path, line: int, row: Mapping[str, str], asked: tuple[Sequence[str], Sequence[str]]) -> LabelledImage:
    labels, by = asked
    place, named, file = f"{path}, line {line}", _named(row), path.parent / row[FILE]
    if not row[FILE] or not _there(file):
        raise BadInput(f"{place}: no such file: {row[FILE] or 'nothing'}; wanted a path from the folder of the table.")
    truth = tuple(_truth(place, label, row.get(label.casefold()), named) for label in labels)
    stem, marked, _ = file.name.partition("__")
    patient = row.get(GROUP) or row.get(PATIENT) or (stem if marked else row[FILE])
    groups = {name: age_band(place, row[name]) if name == "age" else row[name] or UNSAID for name in by}
    return LabelledImage(row[FILE], file, line, truth, patient, groups, row.get(TEXT, ""))


def _there(file: Path) -> bool:
    try:
        return file.exists()
    except (OSError, ValueError):  # a cell that is too long, or too odd, for a name
        return False


def _truth(place: str, label: str, cell: str | None, named: set[str]) -> bool | None:
    if cell is None:  # the label has no column of its own
        return label.casefold() in named
    if cell not in TRUTHS:
        raise BadInput(f"{place}: {label} is {cell!r}; wanted 1, 0, or nothing where it is not known.")
    return TRUTHS[cell]


def age_band(place: str, cell: str) -> str:
    """Years, plain or as DICOM writes them (045Y; 018M and less are months, weeks, days), as a band: "40-59"."""
    if not cell:
        return UNSAID
    unit = {"Y": 1.0, "M": 12.0, "W": 52.0, "D": 365.0}.get(cell[-1].upper())
    try:
        years = float(cell if unit is None else cell[:-1]) / (unit or 1.0)
    except ValueError:
        years = math.nan
    if not 0 <= years <= OLDEST:
        raise BadInput(f"{place}: age is {cell!r}; wanted years, such as 45 or 045Y, or nothing.")
    low = int(years // BAND) * BAND
    return f"{low}-{low + BAND - 1}"


def _once(path: Path, images: Sequence[LabelledImage]) -> None:
    """Each image once: one that is there twice would count twice."""
    lines: dict[Path, int] = {}
    for image in images:
        first = lines.setdefault(image.file.resolve(), image.line)
        if first != image.line:
            raise BadInput(
                f"{path}, line {image.line}: {image.name} is on line {first} already; wanted each image once."
            )
