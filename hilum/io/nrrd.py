"""NRRD in: a text header of "field: value" lines, then values. Own code over numpy, with bounds on everything.

Axes are listed fastest first, so the sizes are (x, y, z) and the array (z, y, x). `space directions` are the steps of
one sample along each axis in the named space; an axis without one ("none") holds colours or frames.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Num

from hilum.values.errors import BadInput
from hilum.values.image import Image

from . import limits
from .payload import Payload, beside, opening
from .stored import Stored, checked_type, native, picked, settled, with_normal

MOST_HEADER = 1 << 20
TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"), "i8"),
    **dict.fromkeys(("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"), "u8"),
    "float": "f4",
    "double": "f8",
}
PACKINGS = {"raw": "raw", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"}
ORDERS: Mapping[str, Literal["<", ">"]] = {"little": "<", "big": ">"}
SPACES = {  # signs that bring the space's axes to LPS
    **dict.fromkeys(("left-posterior-superior", "lps"), (1.0, 1.0, 1.0)),
    **dict.fromkeys(("right-anterior-superior", "ras"), (-1.0, -1.0, 1.0)),
    **dict.fromkeys(("left-anterior-superior", "las"), (1.0, -1.0, 1.0)),
}
LENGTHS = {**dict.fromkeys(("mm", "millimeter", "millimeters", ""), 1.0), "um": 1e-3, "µm": 1e-3, "cm": 10.0, "m": 1e3}
COLOURS = {"rgb-color": 3, "3-color": 3, "rgba-color": 4, "4-color": 4}
OUTSIDE_SPACE = {*COLOURS, "list", "vector", "point", "covariant-vector", "normal", "time", "complex", "2-vector"}
VECTOR = re.compile(r"none|\(([^()]*)\)", re.IGNORECASE)

Fields = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Axes:
    """Sizes fastest first; the axes that lie in space, and of how many dimensions that is (0 = not said); how many
    colours the axis outside space holds (0 = none, or frames)."""

    sizes: tuple[int, ...]
    spatial: tuple[int, ...]
    space: int
    colours: int

    def arranged(self, raw: Num[np.ndarray, " *reversed"]) -> Num[np.ndarray, " others *grid"]:
        """The array of the file (slowest axis first) with what is not space in front, as one axis."""
        last = len(self.sizes) - 1
        others = [axis for axis in range(last, -1, -1) if axis not in self.spatial]
        moved = raw.transpose(*[last - axis for axis in (*others, *reversed(self.spatial))])
        return moved.reshape(-1, *[self.sizes[axis] for axis in reversed(self.spatial)])


def read_nrrd(path: Path, *, frame: int | None = None, spacing: tuple[float, ...] | None = None) -> Image:
    """A volume or picture of a .nrrd or .nhdr; `frame` (from 0) picks one of several along an axis outside space."""
    fields, length = _fields(path)
    axes = _axes(fields, path.name)
    named = fields.get("data file", fields.get("datafile"))
    data_file = None if named is None else beside(path, named)
    stacked = axes.arranged(_raw(fields, axes, Payload(data_file or path, offset=0 if named else length), path.name))
    at = None if axes.colours else picked(len(stacked), frame, path.name)
    values = np.ascontiguousarray(stacked[:3] if at is None else stacked[at][None])
    columns, origin, notes = _placed(fields, axes, path.name)
    if values.ndim == 3 and axes.space == 3:  # one plane, placed in a patient
        values = values[:, None]
    chosen = (f"frame {at} of {len(stacked)}",) if at is not None and len(stacked) > 1 else ()
    dropped = ("the alpha channel was left out",) if axes.colours == 4 else ()
    return settled(
        Stored(
            path=path,
            format="nrrd",
            values=values,
            columns=columns,
            origin=origin,
            hint=" (it has neither space directions nor spacings)",
            window=(0.0, 255.0) if axes.colours and values.dtype == np.uint8 else None,
            data_file=data_file,
            notes=(*chosen, *dropped, *notes),
        ),
        spacing,
    )


def _fields(path: Path) -> tuple[Fields, int]:
    start = opening(path, MOST_HEADER)
    if not start.startswith(b"NRRD000"):
        raise BadInput(f"{path.name} is no NRRD file.")
    ends = [match.end() for match in (re.search(rb"\r?\n\r?\n", start),) if match]
    length = ends[0] if ends else len(start)
    fields: dict[str, str] = {}
    for line in start[:length].decode("utf-8", "replace").splitlines()[1:]:
        key, colon, value = line.partition(":")
        if colon and not value.startswith("=") and not line.startswith("#"):
            fields[key.strip().lower()] = value.strip()
    return fields, length


def _axes(fields: Fields, name: str) -> _Axes:
    sizes = tuple(_whole(word, f"{name}: sizes") for word in fields.get("sizes", "").split())
    if not 2 <= len(sizes) <= 7 or _whole(fields.get("dimension", ""), f"{name}: dimension") != len(sizes):
        raise BadInput(f"{name} claims dimension {fields.get('dimension')} and sizes {fields.get('sizes')!r}: damaged.")
    if min(sizes) < 1:
        raise BadInput(f"{name} claims the size {fields['sizes']}: every side must be at least 1.")
    kinds = [kind.lower() for kind in fields.get("kinds", "").split()]
    kinds = kinds if len(kinds) == len(sizes) else ["???"] * len(sizes)
    vectors = _vectors(fields, len(sizes), name)
    if vectors is not None:
        spatial = tuple(axis for axis, vector in enumerate(vectors) if vector is not None)
    else:
        spatial = tuple(axis for axis, kind in enumerate(kinds) if kind not in OUTSIDE_SPACE)[:3]
    space = 0 if vectors is None else len(next((vector for vector in vectors if vector is not None), ()))
    if len(spatial) not in (2, 3):
        raise BadInput(f"{name} has {len(spatial)} axes in space; hilum reads pictures (2) and volumes (3).")
    others = [axis for axis in range(len(sizes)) if axis not in spatial]
    colours = COLOURS.get(kinds[others[0]], 0) if len(others) == 1 else 0
    return _Axes(sizes, spatial, space, colours if others and sizes[others[0]] == colours else 0)


def _raw(fields: Fields, axes: _Axes, payload: Payload, name: str) -> Num[np.ndarray, " *reversed"]:
    word, encoding = fields.get("type", "").lower(), fields.get("encoding", "").lower()
    if word not in TYPES:
        raise BadInput(f"{name} holds values of type {word!r}; hilum reads whole numbers and floats.")
    if encoding not in PACKINGS:
        raise BadInput(f"{name} is encoded as {encoding!r}; hilum reads raw, gzip and bzip2. Save it as one of these.")
    dtype = checked_type(np.dtype(TYPES[word]), name)
    if dtype.itemsize > 1:
        if fields.get("endian", "").lower() not in ORDERS:
            raise BadInput(f"{name} does not say whether its values are little or big endian.")
        dtype = dtype.newbyteorder(ORDERS[fields["endian"].lower()])
    shape = axes.sizes[::-1]
    limits.check_voxels(shape, dtype.itemsize, name)
    count = math.prod(shape) * dtype.itemsize
    return native(_skipped(fields, payload, PACKINGS[encoding], count, name).read(count), dtype, shape)


def _skipped(fields: Fields, payload: Payload, packing: str, count: int, name: str) -> Payload:
    lines = _whole(fields.get("line skip", fields.get("lineskip", "0")), f"{name}: line skip")
    skip = _whole(fields.get("byte skip", fields.get("byteskip", "0")), f"{name}: byte skip")
    offset = payload.offset
    if skip == -1 and packing == "raw":  # the values are the file's last bytes
        return Payload(payload.path, packing, max(offset, limits.check_file(payload.path) - count))
    if not 0 <= skip <= MOST_HEADER or not 0 <= lines <= MOST_HEADER:
        raise BadInput(f"{name} claims to skip {lines} lines and {skip} bytes before its values: damaged.")
    if lines:
        start = opening(payload.path, offset + MOST_HEADER)[offset:]
        offset += sum(len(line) + 1 for line in start.split(b"\n")[:lines])
    return Payload(payload.path, packing, offset, skip)


def _placed(
    fields: Fields, axes: _Axes, name: str
) -> tuple[Float[np.ndarray, "3 3"] | None, Float[np.ndarray, " 3"], tuple[str, ...]]:
    """Steps and origin in LPS mm, or None; with what was assumed."""
    vectors = _vectors(fields, len(axes.sizes), name)
    if vectors is None:
        return _spaced(fields, axes, name)
    steps = [vector for vector in vectors if vector is not None]
    width = axes.space
    if width not in (2, 3) or width < len(steps) or any(len(step) != width for step in steps):
        raise BadInput(f"{name} has space directions of {width} numbers for {len(steps)} axes: damaged.")
    space = fields.get("space", "").lower()
    unit = _unit(fields, name)
    signs = np.array(SPACES.get(space, (1.0, 1.0, 1.0)))
    columns = np.zeros((3, 3))
    columns[:width, : len(steps)] = np.array(steps).T
    notes = () if space in SPACES or width == 2 else (f"the space {space or 'of no name'!r} is taken as LPS",)
    origin = np.zeros(3)
    if "space origin" in fields:
        found = _vectors({"space directions": fields["space origin"]}, 1, name)
        if not found or found[0] is None or len(found[0]) != width:
            raise BadInput(f"{name} has a damaged space origin: {fields['space origin']!r}.")
        origin[:width] = found[0]
    else:
        notes = (*notes, "the file does not say its origin; taken as 0")
    placed = unit * signs[:, None] * columns
    if len(steps) == 2:
        placed = with_normal(placed, 1)
    return placed, unit * signs * origin, notes


def _spaced(
    fields: Fields, axes: _Axes, name: str
) -> tuple[Float[np.ndarray, "3 3"] | None, Float[np.ndarray, " 3"], tuple[str, ...]]:
    words = fields.get("spacings", "").split()
    if len(words) != len(axes.sizes):
        return None, np.zeros(3), ()
    steps = [_number(words[axis], f"{name}: spacings") for axis in axes.spatial]
    if not all(math.isfinite(step) and step != 0 for step in steps):
        return None, np.zeros(3), ()
    note = () if len(steps) == 2 else ("the file says its spacing but not how it lies in the patient",)
    return np.diag(np.abs([*steps, 1.0][:3])), np.zeros(3), note


def _vectors(fields: Fields, count: int, name: str) -> list[tuple[float, ...] | None] | None:
    """Space directions, one per axis: numbers, or None for an axis outside space. None if the field is absent."""
    if "space directions" not in fields:
        return None
    found = list(VECTOR.finditer(fields["space directions"]))
    if len(found) != count:
        raise BadInput(f"{name} has {len(found)} space vectors where {count} are wanted: damaged.")
    return [
        None if match[1] is None else tuple(_number(word, f"{name}: space vector") for word in match[1].split(","))
        for match in found
    ]


def _unit(fields: Fields, name: str) -> float:
    units = set(re.findall(r'"([^"]*)"', fields.get("space units", '""')))
    if len(units) != 1 or not units <= LENGTHS.keys():
        raise BadInput(f"{name} measures in {fields['space units']}; hilum knows mm, um, cm and m.")
    return LENGTHS[units.pop()]


def _whole(word: str, what: str) -> int:
    try:
        return int(word)
    except ValueError:
        raise BadInput(f"{what} wants a whole number, got {word[:40]!r}.") from None


def _number(word: str, what: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise BadInput(f"{what} wants a number, got {word[:40]!r}.") from None
