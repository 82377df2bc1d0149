"""MetaImage in (.mha, .mhd): "Key = value" lines, then values; in ITK's hands always LPS.

`TransformMatrix` lists the direction of x, then of y, then of z: its rows are the columns of our affine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float, Num

from hilum.values.errors import BadInput
from hilum.values.image import Image

from . import limits
from .payload import Payload, beside, opening
from .stored import Stored, native, picked, settled

MOST_HEADER = 1 << 16
TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}

Fields = Mapping[str, str]


def read_metaimage(path: Path, *, frame: int | None = None, spacing: tuple[float, ...] | None = None) -> Image:
    """A volume or picture; `frame` (from 0) picks one volume of several."""
    fields, length = _fields(path)
    sizes = tuple(int(size) for size in _numbers(fields, ("DimSize",), path.name) or ())
    if not 2 <= len(sizes) <= 4 or min(sizes) < 1 or fields.get("NDims", "").strip() != str(len(sizes)):
        raise BadInput(f"{path.name} claims NDims {fields.get('NDims')} and DimSize {fields.get('DimSize')}: damaged.")
    named = fields["ElementDataFile"]
    data_file = None if named == "LOCAL" else beside(path, named)
    at = picked(sizes[3] if len(sizes) == 4 else 1, frame, path.name)
    values, notes = _values(fields, sizes, Payload(data_file or path, offset=0 if data_file else length), at)
    columns = _columns(fields, len(sizes), path.name)
    origin = np.zeros(3)
    said = _numbers(fields, ("Offset", "Position", "Origin"), path.name) or ()
    origin[: min(3, len(said))] = said[:3]
    colour = values.shape[0] == 3 and values.dtype == np.uint8
    return settled(
        Stored(
            path=path,
            format="metaimage",
            values=values,
            columns=columns,
            origin=origin,
            hint=" (it has no ElementSpacing)",
            window=(0.0, 255.0) if colour else None,
            data_file=data_file,
            notes=notes,
        ),
        spacing,
    )


def _fields(path: Path) -> tuple[Fields, int]:
    fields: dict[str, str] = {}
    length = 0
    for line in opening(path, MOST_HEADER).split(b"\n"):
        length += len(line) + 1
        key, equals, value = line.decode("utf-8", "replace").partition("=")
        if not equals:
            break
        fields[key.strip()] = value.strip()
        if key.strip() == "ElementDataFile":
            return fields, length
    raise BadInput(f"{path.name} is no MetaImage file, or is cut off within its header.")


def _values(
    fields: Fields, sizes: tuple[int, ...], payload: Payload, frame: int
) -> tuple[Num[np.ndarray, " c *grid"], tuple[str, ...]]:
    name, word = payload.path.name, fields.get("ElementType", "").upper().removesuffix("_ARRAY")
    if word not in TYPES or fields.get("BinaryData", "True").lower() != "true":
        raise BadInput(f"{name} holds values of type {word or 'unknown'} or as text; hilum reads binary numbers.")
    channels = int((_numbers(fields, ("ElementNumberOfChannels",), name) or (1.0,))[0])
    if channels not in (1, 3, 4):
        raise BadInput(f"{name} holds {channels} channels; hilum reads 1 (grey), 3 (RGB) and 4 (RGBA).")
    order = fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False"))
    dtype = np.dtype(TYPES[word]).newbyteorder(">" if order.lower() == "true" else "<")
    shape = (*sizes[:3][::-1], channels)
    limits.check_voxels(shape, dtype.itemsize, name)
    count = math.prod(shape) * dtype.itemsize
    array = native(_place(fields, payload, count, frame).read(count), dtype, shape)
    chosen = (f"frame {frame} of {sizes[3]}",) if len(sizes) == 4 else ()
    dropped = ("the alpha channel was left out",) if channels == 4 else ()
    return np.ascontiguousarray(np.moveaxis(array[..., :3], -1, 0)), (*chosen, *dropped)


def _place(fields: Fields, payload: Payload, count: int, frame: int) -> Payload:
    if fields.get("CompressedData", "False").lower() == "true":
        return Payload(payload.path, "zlib", payload.offset, frame * count)
    ahead = int((_numbers(fields, ("HeaderSize",), payload.path.name) or (0.0,))[0])
    if ahead == -1:  # the values are the file's last bytes
        return Payload(payload.path, "raw", max(0, limits.check_file(payload.path) - count))
    if not 0 <= ahead <= MOST_HEADER:
        raise BadInput(f"{payload.path.name} claims a HeaderSize of {ahead} bytes: damaged.")
    return Payload(payload.path, "raw", payload.offset + ahead, frame * count)


def _columns(fields: Fields, rank: int, name: str) -> Float[np.ndarray, "3 3"] | None:
    steps = _numbers(fields, ("ElementSpacing",), name)
    if steps is None:
        return None
    matrix = _numbers(fields, ("TransformMatrix", "Rotation", "Orientation"), name)
    directions = np.eye(rank) if matrix is None else np.resize(matrix, (rank, rank)) if len(matrix) == rank**2 else None
    if len(steps) != rank or directions is None:
        raise BadInput(f"{name} has {len(steps)} spacings and a matrix of another size: its header is damaged.")
    columns = np.eye(3)
    used = min(3, rank)
    columns[:used, :used] = (directions * np.array(steps)[:, None])[:used, :used].T
    return columns


def _numbers(fields: Fields, keys: tuple[str, ...], name: str) -> tuple[float, ...] | None:
    """The numbers of the first of these keys that is there."""
    words = next((fields[key] for key in keys if key in fields), None)
    if words is None:
        return None
    try:
        values = tuple(float(word) for word in words.split())
    except ValueError:
        values = ()
    if not values or not all(abs(value) < 1e15 for value in values):
        raise BadInput(f"{name}: {keys[0]} wants numbers, got {words[:40]!r}.")
    return values
