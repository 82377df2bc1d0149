"""The bootstrap of whole patients, for measures that are no plain mean."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

NUMBERS = 0.9  # the share of draws that must give a number; of rare classes many draws hold none


def redrawn(groups: np.ndarray, *, draws: int = 1000, seed: int = 0) -> Iterator[Int[np.ndarray, " _"]]:
    """Places of the cases of as many groups as there are, drawn with replacement; cases of one group stay together."""
    names, place = np.unique(groups, return_inverse=True)
    members = np.split(np.argsort(place, kind="stable"), np.cumsum(np.bincount(place))[:-1])
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        yield np.concatenate([members[number] for number in rng.integers(0, len(names), size=len(names))])


def interval(values: Float[np.ndarray, " draws *measures"]) -> Float[np.ndarray, " 2 *measures"]:
    """95 % interval over draws; not a number where too many of the draws gave none."""
    there = np.isfinite(values)
    filled = np.where(there.mean(axis=0) >= NUMBERS, np.where(there, values, np.nan), 0.0)
    bounds = np.nanquantile(filled, (0.025, 0.975), axis=0)
    return np.where(there.mean(axis=0) >= NUMBERS, bounds, np.nan)
