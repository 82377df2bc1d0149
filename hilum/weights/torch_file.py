"""A file of torch.save, read without torch: tensors stay in the mapped file until they are written.

Two kinds are read, the zip archive of torch 1.6 and later, and the row of pickles before it; both little-endian. No
member of an archive is ever unpacked to disk, so its names lead nowhere.
"""

from __future__ import annotations

import io
import math
import mmap
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hilum.weights.inert import Reader, Rebuilt, Storage
from hilum.weights.state import shown
from hilum.weights.tensor_file import SIZES, Leaf

MAGIC = 0x1950A86A20F9469CFC6C  # the older kind: a row of pickles, then the bytes of the storages
MAGIC_BYTES = MAGIC.to_bytes(10, "little")
PROTOCOL = 1001
LARGEST_PICKLE = 64 << 20  # bytes; that of a published model with its optimizer has a few megabytes
MOST_MEMBERS = 200_000
MOST_AXES = 8
ARCHIVE = b"PK\x03\x04"
LOCAL_HEADER = 30  # bytes of a zip member's own header before its name


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds: the object, the names of refused globals, and the places (start, bytes) of its storages."""

    content: object
    refused: tuple[str, ...]
    places: Mapping[str, tuple[int, int]]
    buffer: mmap.mmap

    def leaf(self, tensor: Rebuilt) -> Leaf:
        """The tensor ready to be written; one that reaches outside its storage is refused."""
        match tensor:
            case Rebuilt(Storage(key, dtype, _), said, int(offset), tuple(size), tuple(stride)):
                dtype = said or dtype
            case _:
                raise ValueError("a tensor is not described by numbers")
        whole = all(type(number) is int and number >= 0 for number in (offset, *size, *stride))
        if not whole or len(size) != len(stride) or len(size) > MOST_AXES or dtype not in SIZES:
            raise ValueError(f"a tensor of impossible size {shown(str(size))}")
        start, length = self.places[key]
        last = offset + sum((count - 1) * step for count, step in zip(size, stride, strict=True))
        if math.prod(size) and (last + 1) * SIZES[dtype] > length:
            raise ValueError(f"a tensor of {list(size)} reaches outside its storage of {length} bytes")
        return Leaf(dtype, size, lambda: self._bytes(start, dtype, (offset, size, stride)))

    def _bytes(self, start: int, dtype: str, place: tuple[int, tuple[int, ...], tuple[int, ...]]) -> np.ndarray:
        offset, size, stride = place
        if not math.prod(size):
            return np.zeros(0, np.uint8)
        wide = SIZES[dtype]
        steps = tuple(step * wide for step in stride)
        view = np.ndarray(size, f"V{wide}", self.buffer, start + offset * wide, steps)
        return np.ascontiguousarray(view).reshape(-1).view(np.uint8)


def read(path: Path) -> Content:
    """A file of torch.save, of the zip kind or of the older one."""
    with path.open("rb") as file:
        buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return _read_zip(path, buffer) if is_archive(path) else _read_row(buffer)


def is_archive(path: Path) -> bool:
    """Whether a file is of the zip kind: by its first bytes, as torch decides, not by what stands at its end."""
    with path.open("rb") as file:
        return file.read(4) == ARCHIVE


def check(path: Path) -> None:
    """Refuses, from its outside alone, what is no file of torch.save, or an archive that is not as torch writes it."""
    if is_archive(path):
        _root(members(path))
        return
    with path.open("rb") as file:
        if MAGIC_BYTES not in file.read(64):
            raise ValueError("it is not a file of torch.save, nor safetensors")


def members(path: Path) -> dict[str, zipfile.ZipInfo]:
    """A torch archive's members by name: none compressed, none twice, none larger than the file."""
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        listed = archive.infolist()
    named = {member.filename: member for member in listed}
    if len(listed) > MOST_MEMBERS or len(named) < len(listed):
        raise ValueError(f"the archive lists {len(listed)} members under {len(named)} names")
    for name, member in named.items():
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1 or member.file_size > size:
            raise ValueError(f"the member {shown(name)} is packed, encrypted or larger than its file")
    if any(name.endswith("/constants.pkl") for name in named):
        raise ValueError("it is a TorchScript program, and a table of tensors (a state dict) is wanted")
    return named


def _read_zip(path: Path, buffer: mmap.mmap) -> Content:
    found = members(path)
    root = _root(found)
    order = found.get(f"{root}byteorder")
    if order and _inside(buffer, order) != b"little":
        raise ValueError("its numbers are big-endian; save it again on a little-endian machine")
    pickled = found[f"{root}data.pkl"]
    if pickled.file_size > LARGEST_PICKLE:
        raise ValueError(f"its pickle has {pickled.file_size:,} bytes, the cap is {LARGEST_PICKLE:,}")
    reader = Reader(io.BytesIO(_inside(buffer, pickled)))
    content = reader.load()
    places = {}
    for key, storage in reader.storages.items():
        member = found.get(f"{root}data/{key}")
        if member is None or member.file_size < storage.length * SIZES[storage.dtype]:
            raise ValueError(f"the storage {shown(key)} is missing or shorter than the pickle says")
        places[key] = (_start(buffer, member), member.file_size)
    return Content(content, tuple(sorted(reader.refused)), places, buffer)


def _root(found: Mapping[str, zipfile.ZipInfo]) -> str:
    roots = [name.removesuffix("data.pkl") for name in found if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(roots) != 1:
        raise ValueError("it is a zip archive, but not one of torch.save")
    return roots[0]


def _start(buffer: mmap.mmap, member: zipfile.ZipInfo) -> int:
    head = buffer[member.header_offset : member.header_offset + LOCAL_HEADER]
    name, extra = int.from_bytes(head[26:28], "little"), int.from_bytes(head[28:30], "little")
    start = member.header_offset + LOCAL_HEADER + name + extra
    if head[:4] != ARCHIVE or start + member.file_size > len(buffer):
        raise ValueError(f"the member {shown(member.filename)} lies outside the file")
    return start


def _inside(buffer: mmap.mmap, member: zipfile.ZipInfo) -> bytes:
    start = _start(buffer, member)
    return buffer[start : start + member.file_size]


def _read_row(buffer: mmap.mmap) -> Content:
    """The older kind: magic number, protocol, system, object, keys; then each storage as its count and its bytes."""
    head = [Reader(buffer).load() for _ in range(3)]
    if head[:2] != [MAGIC, PROTOCOL] or not isinstance(head[2], dict) or not head[2].get("little_endian"):
        raise ValueError("it is not a file of torch.save on a little-endian machine")
    reader = Reader(buffer)
    content = reader.load()
    keys = Reader(buffer).load()
    places = {}
    for key in keys if isinstance(keys, list) else ():
        storage = reader.storages[key]
        count = int.from_bytes(buffer.read(8), "little")
        length = count * SIZES[storage.dtype]
        if count != storage.length or buffer.tell() + length > len(buffer):
            raise ValueError(f"the storage {shown(str(key))} is cut short")
        places[key] = (buffer.tell(), length)
        buffer.seek(length, io.SEEK_CUR)
    return Content(content, tuple(sorted(reader.refused)), places, buffer)
