"""From the scores of a slide's tiles to the slide's, nothing learned: the best few, and neighbours together."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int, Num
from scipy.spatial import cKDTree
from torch import Tensor

Scores = Float[Tensor, "tiles classes"]


def best_sum(scores: Scores, count: int) -> Float[Tensor, " classes"]:
    """Of each class the sum of its `count` greatest scores, or of all where there are fewer."""
    return scores.topk(min(count, len(scores)), dim=0).values.sum(dim=0)


def smoothed(scores: Scores, neighbours: Int[Tensor, "tiles k"]) -> Scores:
    """Each tile has the mean score of its neighbours, of which it is one itself."""
    return scores[neighbours].mean(dim=1)


def nearest(places: Num[np.ndarray, "tiles 2"], count: int) -> Int[Tensor, "tiles k"]:
    """Of each tile the `count` nearest ones, itself first, or all where there are fewer."""
    _, found = cKDTree(places).query(places, k=np.arange(1, min(count, len(places)) + 1))
    return torch.from_numpy(found)
