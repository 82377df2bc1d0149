"""NRRD out: a label map, or a .seg.nrrd as 3D Slicer reads it, with names, colours and layers for overlaps."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt

from hilum.values.answers import Segmentation
from hilum.values.image import Image

from .ink import colour_of
from .label_map import label_map, layers

TYPES = {1: "uint8", 2: "uint16"}


def write_nrrd(answer: Segmentation, path: Path) -> None:
    """A label map; the names are key/value pairs of the header."""
    labels = label_map(answer, ".nrrd")
    pairs = [f"label {number}:={_plain(name)}" for number, name in enumerate(answer.names, start=1)]
    _write(path, labels, [*_grid(answer.image), *pairs])


def write_seg_nrrd(answer: Segmentation, path: Path) -> None:
    """Segments by Slicer's keys. Objects that overlap lie on layers, which are then the file's first axis."""
    stacked, places = layers(answer)
    lead = (len(stacked),) if len(stacked) > 1 else ()
    array = np.moveaxis(stacked, 0, -1) if lead else stacked[0]
    pairs = [
        "Segmentation_ContainedRepresentationNames:=Binary labelmap|",
        "Segmentation_MasterRepresentation:=Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset:=0 0 0",
    ]
    for number, (name, box) in enumerate(zip(answer.names, answer.boxes(), strict=True)):
        low, high = box or ((0, 0, 0), (-1, -1, -1))
        extent = " ".join(f"{a} {b}" for a, b in zip((*low, 0)[:3], (*high, 0)[:3], strict=True))
        colour = " ".join(f"{value / 255:.4g}" for value in colour_of(number))
        said = {"ID": f"Segment_{number + 1}", "Name": _plain(name), "Color": colour, "Extent": extent}
        said |= {"LabelValue": str(number + 1), "Layer": str(places[number])}
        pairs += [f"Segment{number}_{key}:={value}" for key, value in said.items()]
    _write(path, array, [*_grid(answer.image, lead), *pairs])


def _grid(image: Image, lead: tuple[int, ...] = ()) -> list[str]:
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


def _write(path: Path, array: UInt[np.ndarray, " *axes"], lines: Sequence[str]) -> None:
    head = ["NRRD0004", f"type: {TYPES[array.dtype.itemsize]}", "endian: little", "encoding: gzip"]
    text = "\n".join([*head, *lines, "", ""])
    values = array.astype(array.dtype.newbyteorder("<"), copy=False)
    with path.open("wb") as file:
        file.write(text.encode())
        with gzip.GzipFile("", "wb", 6, file, mtime=0) as stream:
            for plane in values:
                stream.write(np.ascontiguousarray(plane).tobytes())


def _vector(numbers: Sequence[float] | np.ndarray) -> str:
    return f"({','.join(repr(float(number)) for number in numbers)})"


def _plain(name: str) -> str:
    """A name on one line: line ends would end the header."""
    return " ".join(name.split()) or "unnamed"
