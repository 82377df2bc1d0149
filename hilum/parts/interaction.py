"""Simulated prompts, for training and evaluation alike: boxes, first clicks, corrections, scribbles.

Clicks follow RITM (Sofiiuk et al. 2022) and SAM (Kirillov et al. 2023): the first at the middle of the object, the next
in the middle of the largest error. Coordinates are pixels as (x, y), integer = pixel centre; boxes include both
corners.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

EIGHT = np.ones((3, 3), bool)


@dataclass(frozen=True, slots=True, eq=False)
class Click:
    """One click: at (x, y), inside the object or outside it."""

    at: tuple[float, float]
    inside: bool


def tight_box(mask: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "2 2"]:
    """[low, high] corners (x, y) of the mask, both included."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        raise ValueError("an empty mask has no box; give a mask with at least one pixel")
    return np.array([[columns[0], rows[0]], [columns[-1], rows[-1]]], float)


def jittered_box(
    mask: Bool[np.ndarray, "h w"], rng: np.random.Generator, *, amount: float = 0.1
) -> Float[np.ndarray, "2 2"]:
    """The tight box, each side moved by a normal share (s.d. `amount`, cut at 2) of its size, within the image."""
    box = tight_box(mask)
    side = box[1] - box[0] + 1
    moved = box + np.clip(rng.normal(size=(2, 2)), -2, 2) * amount * side
    last = np.array(mask.shape[::-1], float) - 1
    low, high = np.clip(moved, 0, last)
    middle = (low + high) / 2
    return np.stack([np.minimum(low, middle), np.maximum(high, middle)])


def middle_of(region: Bool[np.ndarray, "h w"]) -> tuple[float, float]:
    """The pixel of the region farthest from its edge (the image's border counts as edge)."""
    rows, columns = (slice(found.start, found.stop) for found in ndimage.find_objects(region.astype(np.uint8))[0])
    depth = ndimage.distance_transform_edt(np.pad(region[rows, columns], 1))[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return float(x + columns.start), float(y + rows.start)


def largest_component(region: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """The largest 8-connected part; an empty region stays empty."""
    parts, count = ndimage.label(region, EIGHT)
    if count < 2:
        return region
    return parts == 1 + np.bincount(parts.ravel())[1:].argmax()


def first_click(mask: Bool[np.ndarray, "h w"]) -> Click:
    """The middle of the largest part of the object."""
    return Click(middle_of(largest_component(mask)), inside=True)


def random_click(mask: Bool[np.ndarray, "h w"], rng: np.random.Generator) -> Click:
    """A pixel of the object, the deeper the likelier: as people click, not as a distance transform does."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    share = depth.ravel() / depth.sum()
    y, x = np.unravel_index(rng.choice(depth.size, p=share), depth.shape)
    return Click((float(x), float(y)), inside=True)


def correction_click(mask: Bool[np.ndarray, "h w"], guess: Bool[np.ndarray, "h w"]) -> Click | None:
    """The middle of the largest connected error, told inside or outside; None when nothing is wrong."""
    worst, inside = None, True
    for region, way in ((mask & ~guess, True), (guess & ~mask, False)):
        part = largest_component(region)
        if part.any() and (worst is None or part.sum() > worst.sum()):
            worst, inside = part, way
    return None if worst is None else Click(middle_of(worst), inside=inside)


def scribble(
    region: Bool[np.ndarray, "h w"], rng: np.random.Generator, *, length: float = 0.6
) -> Bool[np.ndarray, "h w"]:
    """A smooth stroke one pixel wide that stays in the region: a quadratic curve between pixels of it, drawn out."""
    drawn = np.zeros(region.shape, bool)
    if not region.any():
        return drawn
    ends = np.array([random_click(region, rng).at for _ in range(3)])
    ends = ends.mean(0) + (ends - ends.mean(0)) * (0.5 + length)
    t = np.linspace(0, 1, 4 * max(region.shape))[:, None]
    curve = (1 - t) ** 2 * ends[0] + 2 * t * (1 - t) * ends[1] + t**2 * ends[2]
    x, y = np.clip(np.rint(curve), 0, np.array(region.shape[::-1]) - 1).astype(int).T
    drawn[y, x] = True
    kept = drawn & region
    if not kept.any():  # the curve bridged a hollow: leave one dab
        across, down = (int(value) for value in random_click(region, rng).at)
        kept[down, across] = True
    return kept


def margin(mask: Bool[np.ndarray, "h w"], *, width: int) -> Bool[np.ndarray, "h w"]:
    """The band outside the object, up to `width` pixels away, where a person scribbles what is not meant."""
    return ndimage.binary_dilation(mask, EIGHT, iterations=width) & ~ndimage.binary_dilation(mask, EIGHT)
