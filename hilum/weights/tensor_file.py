"""Safetensors files, read by their header and written as a stream: memory stays that of one tensor.

The library's own writer holds all bytes at once; a file of tens of gigabytes must pass through a small machine. The
order is the library's (wide elements first, then names), so that equal tensors make equal files.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from hilum.values import progress
from hilum.values.errors import BadInput

SIZES = {
    **dict.fromkeys(("F64", "I64", "U64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "I8", "U8", "BOOL"), 1),
}  # bytes of one element, by the format's word for it
ALIGNED = 8
CHUNK = 1 << 23
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Leaf:
    """One tensor to be written: `read` gives its bytes, contiguous and little-endian, when its turn has come."""

    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], Any]

    @property
    def size(self) -> int:
        """Bytes."""
        return SIZES[self.dtype] * math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a tensor lies in a file: bytes `start` to `end`, counted from the beginning of the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def write(path: Path, leaves: Mapping[str, Leaf]) -> None:
    """A new safetensors file with these tensors; the same tensors give the same bytes."""
    ordered = sorted(leaves.items(), key=lambda item: (-SIZES[item[1].dtype], item[0]))
    header, start = {}, 0
    for name, leaf in ordered:
        header[name] = {"dtype": leaf.dtype, "shape": list(leaf.shape), "data_offsets": [start, start + leaf.size]}
        start += leaf.size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNED)
    with path.open("xb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, leaf in ordered:
            _put(file, name, leaf)


def _put(file: BinaryIO, name: str, leaf: Leaf) -> None:
    content = memoryview(leaf.read()).cast("B")
    if len(content) != leaf.size:
        raise ValueError(f"{name}: {leaf.dtype} {leaf.shape} wants {leaf.size} bytes, got {len(content)}")
    file.write(content)


def slots(path: Path) -> dict[str, Slot]:
    """Names, types, shapes and places of a file's tensors. The library checks the header: sizes, overlaps, holes."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{path.name} is not a sound safetensors file: {error}") from error
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    first = 8 + length
    return {
        name: Slot(entry["dtype"], tuple(entry["shape"]), *(first + offset for offset in entry["data_offsets"]))
        for name, entry in header.items()
    }


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a file's tensors."""
    return {name: slot.shape for name, slot in slots(path).items()}


def copy(source: Path, target: Path, names: Mapping[str, str]) -> None:
    """A new file with the tensors of `names` (name in the source -> name in the target), and no others."""
    places = slots(source)
    with _mapped(source) as content:
        leaves = {new: _leaf(content, places[old]) for old, new in names.items()}
        write(target, leaves)


def _leaf(content: Any, slot: Slot) -> Leaf:
    if slot.dtype not in SIZES:
        raise BadInput(f"tensors of the type {slot.dtype} are not stored here; {', '.join(sorted(SIZES))} are")
    return Leaf(slot.dtype, slot.shape, lambda: content[slot.start : slot.end])


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        yield content


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal digits."""
    digest, total, done = hashlib.sha256(), path.stat().st_size, 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            done += len(chunk)
            progress.count(f"hashing {path.name}", done, total)
    return digest.hexdigest()
