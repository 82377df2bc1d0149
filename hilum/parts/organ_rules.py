"""What an abdomen must look like: the Universal Model's corrections of its masks, class by class (Liu et al. 2023).

Masks are (x, y, z) with x to the patient's right and z to the head. Where a rule looks at another class, it asks for
that one's raw mask.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool
from scipy import ndimage

from hilum.values.answers import tight_box

Volume = Bool[np.ndarray, "x y z"]
Raw = Callable[[str], Volume]

ONE_PIECE = (
    *("spleen", "right kidney", "left kidney", "gallbladder", "esophagus", "liver", "stomach", "aorta"),
    *("inferior vena cava", "pancreas", "right adrenal gland", "left adrenal gland", "duodenum", "colon"),
    *("intestine", "rectum", "bladder", "prostate", "left femur head", "right femur head", "celiac trunk"),
)  # an organ is its largest connected part
WITHIN = MappingProxyType({"kidney tumor": ("right kidney", "left kidney"), "liver tumor": ("liver",)})
LUNGS = ("left lung", "right lung")
VEIN, ABOVE = "portal and splenic vein", "pancreas"
BOX = 5  # voxels of a side, by which an organ is closed and grown before its tumours are held against it
SECOND_LUNG = 0.05  # of the larger part: below it the second part is no lung, and the two hang together
TOUCHING = np.ones((3, 3, 3), dtype=bool)  # voxels that share a corner


def corrected(name: str, raw: Raw) -> Volume:
    """The mask of a class after its rule; classes without a rule keep theirs."""
    mask = raw(name)
    if not mask.any():
        return mask
    if name in ONE_PIECE:
        return largest(mask)
    if name in WITHIN:
        return mask & _surroundings([largest(raw(organ)) for organ in WITHIN[name]])
    if name in LUNGS:
        return lung(name, raw)
    return above(mask, largest(raw(ABOVE))) if name == VEIN else mask


def largest(mask: Volume) -> Volume:
    """Its largest connected part."""
    return (_parts(mask, 1) or [mask])[0]


def above(mask: Volume, organ: Volume) -> Volume:
    """Without what lies below the lowest slice of the organ; whole where there is no organ."""
    there = np.flatnonzero(organ.any(axis=(0, 1)))
    if not there.size:
        return mask
    kept = mask.copy()
    kept[..., : there[0]] = False
    return kept


def lung(name: str, raw: Raw) -> Volume:
    """Both lungs are taken together and split anew: of their two largest parts the one further left is the left lung.

    Where they hang together, or there is but one, the channels themselves say which is which.
    """
    own = raw(name)
    parts = _parts(np.logical_or(*(raw(each) for each in LUNGS)), 2)
    if len(parts) < 2 or parts[1].sum() < SECOND_LUNG * parts[0].sum():
        return own & parts[0]
    left, right = sorted(parts, key=lambda part: float(np.average(np.arange(len(part)), weights=part.sum((1, 2)))))
    return left if name == LUNGS[0] else right


def _parts(mask: Volume, count: int) -> list[Volume]:
    """The largest connected parts, largest first; as many as there are."""
    box = tight_box(mask)
    if box is None:
        return []
    inside = tuple(slice(low, high + 1) for low, high in zip(box[0][::-1], box[1][::-1], strict=True))
    numbered, found = ndimage.label(mask[inside], structure=TOUCHING)
    sizes = np.bincount(numbered.ravel(), minlength=found + 1)[1:]
    parts = []
    for number in np.argsort(-sizes, kind="stable")[:count] + 1:
        part = np.zeros_like(mask)
        part[inside] = numbered == number
        parts.append(part)
    return parts


def _surroundings(organs: list[Volume]) -> Volume:
    """The organs closed and then grown by a box."""
    together = np.logical_or.reduce(organs)
    box = tight_box(together)
    if box is None:
        return together
    room = 2 * BOX
    padded = np.pad(together, room)
    inside = tuple(slice(low, high + 1 + 2 * room) for low, high in zip(box[0][::-1], box[1][::-1], strict=True))
    part = padded[inside].astype(np.uint8)
    for filtered in (ndimage.maximum_filter, ndimage.minimum_filter, ndimage.maximum_filter):
        part = filtered(part, size=BOX)
    padded[inside] = part.astype(bool)
    return padded[room:-room, room:-room, room:-room]
