"""Which planes of a volume are worth showing, and which part of them. Planes are counted as a section shows them, so
that a volume reversed together with its affine is shown by the same planes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
from jaxtyping import Bool, Int

from hilum.values import geometry
from hilum.values.answers import Segmentation
from hilum.values.geometry import Section
from hilum.values.image import Image
from hilum.values.prompts import Box, Prompt

from .view import Region, whole

NEAR_ISOTROPIC = 1.6  # longest over shortest voxel side up to which the two other directions are worth showing
SQUARE = 0.02  # |cosine| between axes up to which they are


def main_section(image: Image, prompts: Sequence[Prompt] = ()) -> Section:
    """The section the prompts were drawn on if their boxes are flat, else the one that was acquired."""
    grid = image.volume().shape[1:][::-1]
    thin = [axis for axis in range(3) if grid[axis] == 1]
    boxes = [
        prompt for prompt in prompts if isinstance(prompt, Box) and prompt.space == "voxel" and len(prompt.low) == 3
    ]
    flat = [axis for axis in range(3) if boxes and all(box.low[axis] == box.high[axis] for box in boxes)]
    for axes in (thin, flat):
        if len(axes) == 1:
            return image.section(axes[0])
    return image.section()


def other_sections(image: Image, section: Section) -> tuple[Section, ...]:
    """The two sections across the other axes, sagittal last, where voxels are near-isotropic, square and enough."""
    if image.space != "patient" or image.dimensions == 2:
        return ()
    step = geometry.spacing(image.affine)
    extent = step * image.grid[::-1]
    if step.max() > NEAR_ISOTROPIC * step.min() or geometry.shear(image.affine) > SQUARE:
        return ()
    if extent.min() < extent.max() / 4:
        return ()
    lps = geometry.nearest_axes(image.affine)
    axes = sorted((axis for axis in range(3) if axis != section.normal), key=lambda axis: -lps[axis])
    return tuple(image.section(axis) for axis in axes)


def together(answer: Segmentation) -> Bool[np.ndarray, "z y x"]:
    """Where any object is."""
    union = np.logical_or.reduce(answer.masks, axis=0)
    return union if union.ndim == 3 else union[None]


def areas(section: Section, union: Bool[np.ndarray, "z y x"]) -> Int[np.ndarray, " n"]:
    """Voxels of the object on each plane."""
    return section.planes(union).sum(axis=(1, 2))


def best(area: Int[np.ndarray, " n"], asked: Sequence[int]) -> int:
    """The plane with the most of the object; of an empty one, the first plane asked about, or the middle."""
    if area.any():
        return int(np.argmax(area))
    return asked[0] if asked else len(area) // 2


def asked_best(area: Int[np.ndarray, " n"], asked: Sequence[int]) -> int:
    """The plane asked about with the most of the object; if none has any, the best of all."""
    held = [number for number in asked if area[number]]
    return max(held, key=lambda number: int(area[number])) if held else best(area, asked)


def centre(area: Int[np.ndarray, " n"], fallback: int) -> int:
    """The plane through the centre of mass."""
    if not area.any():
        return fallback
    return int(np.floor((area * np.arange(len(area))).sum() / area.sum() + 0.5))


def visible(image: Image, section: Section) -> range:
    """The planes from the first to the last on which there is something to see: all but flat ones at either end."""
    shown = section.planes(image.volume())[:, :, ::4, ::4]
    contrast = np.array([np.nan_to_num(image.display(plane)).std() for plane in np.moveaxis(shown, 1, 0)])
    there = np.flatnonzero(contrast > 0.03)
    return range(int(there[0]), int(there[-1]) + 1) if there.size else range(len(contrast))


def evenly(numbers: range, count: int) -> list[int]:
    """Up to `count` of the numbers, each in the middle of its equal share."""
    return list(dict.fromkeys(numbers[(2 * step + 1) * len(numbers) // (2 * count)] for step in range(count)))


def spread(area: Int[np.ndarray, " n"], count: int, *, asked: Sequence[int], without: int) -> list[int]:
    """Up to `count` planes evenly through the object (the whole volume if it is empty), but for one shown already.

    A plane that a prompt was given on takes the place of its nearest neighbour.
    """
    there = np.flatnonzero(area) if area.any() else np.arange(len(area))
    chosen = evenly(range(int(there[0]), int(there[-1]) + 1), count + 1)
    kept: set[int] = {without}
    for number in chain([without], asked):
        free = [plane for plane in chosen if plane not in kept]
        if number not in chosen and free:
            chosen[chosen.index(min(free, key=lambda plane: abs(plane - number)))] = number
        kept.add(number)
    numbers = sorted(set(chosen) - {without})
    return numbers[:count]


def around(image: Image, section: Section, union: Bool[np.ndarray, "z y x"], margin: float = 1.9) -> Region:
    """A square (in mm) around the object on the section's planes; the whole plane if the object is not small in it."""
    full = whole(image, section)
    shown = np.logical_or.reduce(section.planes(union), axis=0)
    if not shown.any():
        return full
    down, across = (np.flatnonzero(shown.any(axis=axis)) for axis in (1, 0))
    step = geometry.spacing(image.affine)[[section.across, section.down]]
    low, high = np.array([across[0], down[0]]), np.array([across[-1] + 1, down[-1] + 1])
    side = max(float(margin * ((high - low) * step).max()), 24 * float(step.max()))
    size = np.array([full.width, full.height])
    if side > 0.62 * float((size * step).max()):
        return full
    voxels = np.minimum(np.ceil(side / step).astype(int), size)
    start = np.clip((low + high - voxels) // 2, 0, size - voxels)
    return Region(int(start[0]), int(start[1]), int(start[0] + voxels[0]), int(start[1] + voxels[1]))
