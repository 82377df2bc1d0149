"""Objects as whole numbers on one grid: 0 is background, object n is n. Objects that overlap need layers."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt

from hilum.values.answers import Segmentation
from hilum.values.errors import BadInput


def label_map(answer: Segmentation, suffix: str) -> UInt[np.ndarray, " *grid"]:
    """One map of all objects, as 8 bits while they suffice; two objects that share voxels are refused by name."""
    labels = _blank(answer)
    for number, mask in enumerate(answer.masks, start=1):
        taken = labels[mask]
        if taken.any():
            other, shared = answer.names[int(taken[taken > 0][0]) - 1], int((taken > 0).sum())
            raise BadInput(
                f"{other} and {answer.names[number - 1]} share {shared:,} voxels, and a {suffix} file gives each voxel "
                "one object: write .dcm (SEG) or .seg.nrrd, which hold overlaps, or ask for one object at a time."
            )
        labels[mask] = number
    return labels


def layers(answer: Segmentation) -> tuple[UInt[np.ndarray, " layers *grid"], tuple[int, ...]]:
    """As few maps as needed so that no two objects of one map overlap, and for each object the map it lies on."""
    maps, places = [_blank(answer)], []
    for number, mask in enumerate(answer.masks, start=1):
        place = next((at for at, labels in enumerate(maps) if not labels[mask].any()), len(maps))
        if place == len(maps):
            maps.append(_blank(answer))
        maps[place][mask] = number
        places.append(place)
    return np.stack(maps), tuple(places)


def _blank(answer: Segmentation) -> UInt[np.ndarray, " *grid"]:
    if len(answer.masks) > np.iinfo(np.uint16).max:
        raise BadInput(f"{len(answer.masks):,} objects are more than the 65,535 that a label map can number.")
    return np.zeros(answer.image.grid, dtype=np.uint8 if len(answer.masks) <= np.iinfo(np.uint8).max else np.uint16)
