"""Whether a probability means what it says, and whether what is unsure is wrong."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float


def calibration_error(
    probability: Float[np.ndarray, " *grid"], truth: Bool[np.ndarray, " *grid"], *, bins: int = 10
) -> float:
    """Expected calibration error (Naeini et al. 2015): |mean probability - share of truth|, the mean over all pixels
    by bins of equal width. A mask without probabilities is a probability of 0 and 1."""
    place = np.minimum((probability * bins).astype(int), bins - 1).ravel()
    count = np.bincount(place, minlength=bins)
    claimed = np.bincount(place, probability.ravel().astype(np.float64), bins)
    true = np.bincount(place, truth.ravel().astype(np.float64), bins)
    return float(np.abs(claimed - true).sum() / count.sum())


def rank_area(score: Float[np.ndarray, " *grid"], wrong: Bool[np.ndarray, " *grid"]) -> float:
    """The chance that a wrong pixel's score is above a right one's, ties counting half (the area under the ROC curve);
    nan where all are right or all wrong."""
    from scipy.stats import rankdata

    bad = int(wrong.sum())
    good = wrong.size - bad
    if not bad or not good:
        return float("nan")
    ranks = rankdata(score.ravel())
    return float((ranks[wrong.ravel()].sum() - bad * (bad + 1) / 2) / (bad * good))


def reliability(
    probability: Float[np.ndarray, " n"], truth: Bool[np.ndarray, " n"], *, bins: int = 10
) -> Float[np.ndarray, "bins 3"]:
    """Of each bin of equal width that holds anything: mean probability, share of truth, and how many."""
    place = np.minimum((probability * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    sums = (np.bincount(place, weights, bins) for weights in (probability.astype(np.float64), truth.astype(np.float64)))
    there = count > 0
    return np.stack([*(each[there] / count[there] for each in sums), count[there].astype(float)], axis=1)
