"""The parts of an NRRD file that every writer here has: lines that place the grid, and packed values behind them."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hilum.values.image import Image

TYPES = {"u1": "uint8", "u2": "uint16", "f4": "float"}


def grid(image: Image, lead: tuple[int, ...] = ()) -> list[str]:
    """Header lines that say the size and the place of the grid, axes fastest first; `lead` is the layers' axis."""
    sizes = [*lead, *image.grid[::-1]]
    kinds = ["list"] * len(lead) + ["domain"] * image.dimensions
    lines = [f"dimension: {len(sizes)}"]
    if image.space == "patient":
        steps = ["none"] * len(lead) + [_vector(image.affine[:3, axis]) for axis in range(image.dimensions)]
        lines += ["space: left-posterior-superior", f"space directions: {' '.join(steps)}"]
        lines += [f"space origin: {_vector(image.affine[:3, 3])}"]
    elif image.spacing is not None:
        lines += [f"spacings: {' '.join(['nan'] * len(lead) + [repr(step) for step in image.spacing])}"]
    return [*lines, f"sizes: {' '.join(map(str, sizes))}", f"kinds: {' '.join(kinds)}"]


def write(path: Path, array: np.ndarray, lines: Sequence[str]) -> None:
    """Values, the first axis the slowest, behind the lines; the same values give the same bytes."""
    head = ["NRRD0004", f"type: {TYPES[array.dtype.str[1:]]}", "endian: little", "encoding: gzip"]
    text = "\n".join([*head, *lines, "", ""])
    values = array.astype(array.dtype.newbyteorder("<"), copy=False)
    with path.open("wb") as file:
        file.write(text.encode())
        with gzip.GzipFile("", "wb", 6, file, mtime=0) as stream:
            for plane in values:
                stream.write(np.ascontiguousarray(plane).tobytes())


def plain(name: str) -> str:
    """A name on one line: line ends would end the header."""
    return " ".join(name.split()) or "unnamed"


def _vector(numbers: Sequence[float] | np.ndarray) -> str:
    return f"({','.join(repr(float(number)) for number in numbers)})"
