"""NRRD out: a label map, or a .seg.nrrd as 3D Slicer reads it, with names, colours and layers for overlaps."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hilum.values.answers import Segmentation

from .ink import colour_of
from .label_map import label_map, layers
from .nrrd_parts import grid, plain, write


def write_nrrd(answer: Segmentation, path: Path) -> None:
    """A label map; the names are key/value pairs of the header."""
    labels = label_map(answer, ".nrrd")
    pairs = [f"label {number}:={plain(name)}" for number, name in enumerate(answer.names, start=1)]
    write(path, labels, [*grid(answer.image), *pairs])


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
        said = {"ID": f"Segment_{number + 1}", "Name": plain(name), "Color": colour, "Extent": extent}
        said |= {"LabelValue": str(number + 1), "Layer": str(places[number])}
        pairs += [f"Segment{number}_{key}:={value}" for key, value in said.items()]
    write(path, array, [*grid(answer.image, lead), *pairs])
