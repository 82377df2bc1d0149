"""Cubes cut out of a labelled volume to learn from: two of three around a labelled voxel, some turned or brightened.

Chances are those of the Universal Model's published training; its zoom for some data sets is left out.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float

LABELLED = 2 / 3  # cubes whose middle is a labelled voxel
TURNED, BRIGHTENED, BY = 0.1, 0.2, 0.1

Sides = tuple[int, int, int]
Cube = tuple[Float[np.ndarray, "a b c"], Bool[np.ndarray, "n a b c"]]


def cubes(
    values: Float[np.ndarray, "x y z"],
    masks: Bool[np.ndarray, "n x y z"],
    sides: Sides,
    rng: np.random.Generator,
    *,
    count: int,
) -> Iterator[Cube]:
    """So many cubes of these sides, each with its masks; a smaller volume gets zeros around it."""
    lacking = [max(side - size, 0) for size, side in zip(values.shape, sides, strict=True)]
    pads = [(each // 2, each - each // 2) for each in lacking]
    values, masks = np.pad(values, pads), np.pad(masks, [(0, 0), *pads])
    inside = np.asarray(masks.any(axis=0))
    for _ in range(count):
        low = _corner(inside, sides, rng)
        place = tuple(slice(each, each + side) for each, side in zip(low, sides, strict=True))
        yield _varied(values[place], masks[(slice(None), *place)], rng)


def _corner(inside: Bool[np.ndarray, "x y z"], sides: Sides, rng: np.random.Generator) -> tuple[int, ...]:
    """Of a cube around a voxel drawn from the labelled ones, or from the others; moved into the volume."""
    there = np.flatnonzero(inside == (rng.random() < LABELLED))
    drawn = there[rng.integers(len(there))] if len(there) else rng.integers(inside.size)
    middle = np.unravel_index(int(drawn), inside.shape)
    sized = zip(middle, inside.shape, sides, strict=True)
    return tuple(int(np.clip(each - side // 2, 0, size - side)) for each, size, side in sized)


def _varied(values: Float[np.ndarray, "a b c"], masks: Bool[np.ndarray, "n a b c"], rng: np.random.Generator) -> Cube:
    """Sometimes turned by quarters in the axial plane (by a half where its sides differ), or brighter, or darker."""
    if rng.random() < TURNED:
        quarters = int(rng.integers(1, 4)) if values.shape[0] == values.shape[1] else 2
        values, masks = np.rot90(values, quarters, (0, 1)), np.rot90(masks, quarters, (1, 2))
    if rng.random() < BRIGHTENED:
        values = values + np.float32(rng.uniform(-BY, BY))
    return values, masks
