"""Caps that are checked before anything is decoded: a header may claim any size, and a few bytes may unpack to any."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

from hilum.values.errors import BadInput, TooLarge

MAX_VOXELS = 1_000_000_000  # a whole-body CT, 512 x 512 x 3800; each can be raised in the environment as HILUM_<NAME>
MAX_BYTES = 8 * 2**30  # of decoded values
MAX_FILE_BYTES = 16 * 2**30  # of one file, as it lies on disk
MAX_FILES = 100_000  # of one folder


def limit(name: str, default: int) -> int:
    """The cap `name`, from the environment variable HILUM_<name> where it is set."""
    variable = f"HILUM_{name}"
    text = os.environ.get(variable, "").strip()
    if not text:
        return default
    try:
        value = int(float(text))
    except (ValueError, OverflowError):
        raise BadInput(f"the environment variable {variable} wants a whole number, got {text!r}.") from None
    if value <= 0:
        raise BadInput(f"the environment variable {variable} wants a number above 0, got {text!r}.")
    return value


def check_voxels(shape: Sequence[int], itemsize: int, what: str) -> None:
    """Refuses a grid that is empty, or over the caps on voxels and decoded bytes; `what` opens the sentence."""
    sizes = [int(size) for size in shape]
    if not sizes or min(sizes) <= 0:
        raise BadInput(f"{what} claims the size {_times(sizes)}: every side must be at least 1.")
    voxels = math.prod(sizes)
    most = limit("MAX_VOXELS", MAX_VOXELS)
    if voxels > most:
        raise TooLarge(
            f"{what} claims {_times(sizes)} = {voxels:,} voxels, the cap is {most:,}: set HILUM_MAX_VOXELS to raise it."
        )
    check_bytes(voxels * itemsize, what)


def check_bytes(count: int, what: str) -> None:
    """Refuses what would take more memory than the cap on decoded bytes."""
    most = limit("MAX_BYTES", MAX_BYTES)
    if count > most:
        raise TooLarge(f"{what} unpacks to {count:,} bytes, the cap is {most:,}: set HILUM_MAX_BYTES to raise it.")


def check_file(path: Path) -> int:
    """Bytes of a file on disk; refuses what is no file, is empty, or is over the cap."""
    if not path.is_file():
        raise BadInput(f"no such file: {path.name}.")
    count = path.stat().st_size
    if count == 0:
        raise BadInput(f"{path.name} is empty.")
    most = limit("MAX_FILE_BYTES", MAX_FILE_BYTES)
    if count > most:
        raise TooLarge(f"{path.name} has {count:,} bytes, the cap is {most:,}: set HILUM_MAX_FILE_BYTES to raise it.")
    return count


def check_count(count: int, what: str) -> None:
    """Refuses a folder or archive of more files than the cap."""
    most = limit("MAX_FILES", MAX_FILES)
    if count > most:
        raise TooLarge(f"{what} holds more than {most:,} files: set HILUM_MAX_FILES to raise the cap.")


def _times(sizes: Sequence[int]) -> str:
    return " x ".join(str(size) for size in sizes)
