"""Which files make a series: found in a folder, grouped by what they say, and chosen by number or UID."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hilum.io import limits
from hilum.io.dicom_file import looks_like_dicom
from hilum.io.dicom_geometry import names
from hilum.io.dicom_header import Header, Plane, read_header
from hilum.io.dicom_kinds import short_name
from hilum.values.errors import BadInput

SHOWN_UID_DIGITS = 12


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Files that belong together: single pictures of one series, or one multi-frame file alone."""

    headers: tuple[Header, ...]

    @property
    def first(self) -> Header:
        """The header that speaks for all; `check_alike` makes sure that it may."""
        return self.headers[0]

    @property
    def planes(self) -> tuple[Plane, ...]:
        """All planes of all files."""
        return tuple(plane for header in self.headers for plane in header.planes)

    def described(self) -> str:
        """Modality, count, size and the UID's end: nothing that the file's author wrote."""
        first, count = self.first, len(self.planes)
        kind = "frames" if first.multiframe else "slices" if first.planes[0].position else "pictures"
        end = first.series[-SHOWN_UID_DIGITS:] or "without UID"
        size = f"{first.modality or 'no modality'}, {count} {kind if count > 1 else kind[:-1]} of "
        file = f", file {first.path.name}" if first.multiframe else ""
        return f"{size}{first.columns} x {first.rows}, UID ends {end}{file}"


def found(paths: Sequence[Path]) -> tuple[list[Header], list[str]]:
    """Headers of all images in files and folders, and notes on what was left out; DICOMDIR files are never followed."""
    lone = len(paths) == 1 and not paths[0].is_dir()
    files = _unique(file for path in paths for file in (_walk(path) if path.is_dir() else [path]))
    if lone:
        header = read_header(files[0])
        if header.excuse:
            raise BadInput(f"{files[0].name} is {header.excuse}.")
        return [header], []
    named = {path for path in paths if not path.is_dir()}
    dicom = [file for file in files if file in named or (file.stat().st_size and looks_like_dicom(file))]
    headers = [read_header(file) for file in dicom]
    return _images(headers, skipped=len(files) - len(dicom), what=_what(paths))


def chosen(headers: Sequence[Header], series: str | None, what: str) -> Series:
    """The one series, or the one that `series` names by its number in the list, its UID or the UID's end."""
    groups = _grouped(headers)
    if series is None:
        if len(groups) == 1:
            return check_alike(groups[0], what)
        raise BadInput(f"{what} holds {len(groups)} series, pick one with --series: {_listed(groups)}.")
    if series.isdigit() and 1 <= int(series) <= len(groups):
        return check_alike(groups[int(series) - 1], what)
    matches = [group for group in groups if series and group.first.series.endswith(series)]
    if len(matches) != 1:
        how = "no series" if not matches else f"{len(matches)} series"
        raise BadInput(f"{how} of {what} fit{'s'[: len(matches) < 1]} --series {series}; there are: {_listed(groups)}.")
    return check_alike(matches[0], what)


def check_alike(series: Series, what: str) -> Series:
    """Refuses a series whose pictures differ in size, colour or frame of reference; the groups are named."""
    groups: dict[tuple[object, ...], list[Header]] = {}
    for header in series.headers:
        key = (header.columns, header.rows, header.samples, header.frame_of_reference)
        groups.setdefault(key, []).append(header)
    if len(groups) == 1:
        return series
    listed = "; ".join(
        f"{len(group)} of {key[0]} x {key[1]}{' in colour' if key[2] != 1 else ''} "
        f"({names([header.planes[0] for header in group])})"
        for key, group in groups.items()
    )
    raise BadInput(f"{what} mixes pictures of different size, colour or frame of reference in one series: {listed}.")


def _walk(folder: Path) -> Iterator[Path]:
    count = 0
    for place, folders, files in os.walk(folder):
        folders.sort()
        for file in sorted(files):
            count += 1
            limits.check_count(count, folder.name)
            path = Path(place, file)
            if not file.startswith(".") and file.upper() != "DICOMDIR" and path.is_file():
                yield path


def _unique(files: Iterator[Path]) -> list[Path]:
    return list({file.resolve(): file for file in files}.values())


def _what(paths: Sequence[Path]) -> str:
    return paths[0].name or "the folder" if len(paths) == 1 else "the list of files"


def _images(headers: Sequence[Header], *, skipped: int, what: str) -> tuple[list[Header], list[str]]:
    images = [header for header in headers if header.excuse is None]
    others = Counter(short_name(header.sop_class) for header in headers if header.excuse is not None)
    counted = ", ".join(f"{count} {kind}" for kind, count in sorted(others.items()))
    if not images:
        raise BadInput(f"{what} holds no DICOM image{f', only {counted}' if others else ''}.")
    notes = [f"{skipped} file{'s'[: skipped != 1]} left out that are not DICOM"] if skipped else []
    return images, notes + ([f"left out as no images: {counted}"] if others else [])


def _grouped(headers: Sequence[Header]) -> list[Series]:
    groups: dict[tuple[str, str], list[Header]] = {}
    for header in headers:
        groups.setdefault((header.series, str(header.path) if header.multiframe else ""), []).append(header)
    ordered = sorted(groups.values(), key=lambda group: (group[0].series_number, group[0].series, group[0].path))
    return [Series(tuple(group)) for group in ordered]


def _listed(groups: Sequence[Series]) -> str:
    return "; ".join(f"{number}: {group.described()}" for number, group in enumerate(groups, start=1))
