"""What images lie under a folder: pictures and volumes file by file, DICOM series as wholes; the rest is named."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hilum.values.errors import BadInput, HilumError

from . import limits
from .dicom_header import Header, read_header
from .read import SUFFIXES, kind_of

PAIRED = (".img", ".img.gz")  # the values of a NIfTI pair, read with their .hdr


@dataclass(frozen=True, slots=True)
class Item:
    """One image: the name to call it by, and the files that `read` takes."""

    name: str
    files: tuple[Path, ...]


@dataclass(slots=True)
class Listing:
    """Images in the order of their names; files that are none; those that look like images and are broken, and why."""

    items: list[Item] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)


def images_under(folder: Path) -> Listing:
    """All images under a folder. Files whose names begin with a dot, and DICOMDIR, are passed by in silence."""
    listing, headers = Listing(), []
    for path in _walk(folder):
        kind = _kind(path, listing)
        if kind == "dicom":
            headers += _header(path, listing)
        elif kind is not None:
            listing.items.append(Item(str(path), (path,)))
    listing.items += _series(headers, {path for item in listing.items for path in item.files})
    listing.items.sort(key=lambda item: item.name)
    return listing


def _walk(folder: Path) -> Iterator[Path]:
    count = 0
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for file in sorted(files):
            count += 1
            limits.check_count(count, folder.name)
            path = Path(place, file)
            if not file.startswith(".") and file.upper() != "DICOMDIR" and path.is_file() and not _paired(path):
                yield path


def _paired(path: Path) -> bool:
    suffix = next((each for each in PAIRED if path.name.lower().endswith(each)), None)
    return suffix is not None and path.with_name(path.name[: -len(suffix)] + ".hdr").is_file()


def _kind(path: Path, listing: Listing) -> str | None:
    """What a file is; if it is nothing that can be read, it is put where it belongs and None comes back."""
    try:
        return kind_of(path)
    except BadInput as error:
        if path.name.lower().endswith(tuple(SUFFIXES)):
            listing.broken[str(path)] = str(error)
        else:
            listing.others.append(path)
        return None


def _header(path: Path, listing: Listing) -> list[Header]:
    try:
        header = read_header(path)
    except HilumError as error:
        listing.broken[str(path)] = str(error)
        return []
    if header.excuse is None:
        return [header]
    if header.sop_class:  # a report, a SEG, a slide
        listing.others.append(path)
    else:
        listing.broken[str(path)] = f"{path.name} is {header.excuse}."
    return []


def _series(headers: Sequence[Header], files: set[Path]) -> Iterator[Item]:
    """Slices that have places are one volume; multi-frame files and pictures without places are each their own."""
    groups: dict[tuple[str, str], list[Path]] = {}
    for header in headers:
        alone = header.multiframe or any(plane.position is None for plane in header.planes)
        groups.setdefault((header.series, str(header.path) if alone else ""), []).append(header.path)
    everything = files | {header.path for header in headers}
    for paths in groups.values():
        yield Item(_name(paths, everything), tuple(paths))


def _name(paths: Sequence[Path], everything: set[Path]) -> str:
    """A series is called after its folder if it is all that lies there, else after its first file."""
    parents = {path.parent for path in paths}
    parent = min(parents)
    own = len(paths) > 1 and len(parents) == 1
    alone = own and not any(path.parent == parent for path in everything - set(paths))
    return str(parent if alone else min(paths))
