"""Learning from data sets that label different organs: each image is judged by the organs that its data set labels.

The published Dice is taken slice by slice along the first axis and averaged, so that a slice without the organ counts
as wrong whatever is said of it: such a loss stays near 0.8 for small organs. The Dice of the whole volume has not that.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from hilum.objectives.terms import Terms

UNKNOWN = -1.0  # a target's first voxel in a slice whose labels are not known
By = Literal["rowwise", "volume"]


def partial_label_bce_dice(
    logits: Float[Tensor, "b k x y z"],
    target: Float[Tensor, "b k x y z"],
    labelled: Bool[Tensor, "b k"],
    *,
    dice: By = "rowwise",
) -> Terms:
    """Cross-entropy and 1 - Dice, each the mean over all pairs of an image and an organ that it labels."""
    if not labelled.any():
        raise ValueError("no image of this batch labels any organ")
    said, truth = logits[labelled], target[labelled]  # (pairs, x, y, z)
    entropy = F.binary_cross_entropy_with_logits(said, truth)
    overlap = rowwise_dice if dice == "rowwise" else volume_dice
    each = torch.stack([overlap(one, other) for one, other in zip(said.sigmoid(), truth, strict=True)])
    return Terms({"entropy": entropy, "dice": (1 - each).mean()})


def rowwise_dice(probability: Float[Tensor, "x y z"], target: Float[Tensor, "x y z"]) -> Float[Tensor, ""]:
    """Mean over the slices of the first axis; those whose first voxel is unknown are left out."""
    rows, truth = probability.flatten(1), target.flatten(1)
    known = truth[:, 0] != UNKNOWN
    if not known.any():
        return probability.sum() * 0 + 1
    return _dice(rows[known], truth[known]).mean()


def volume_dice(probability: Float[Tensor, "x y z"], target: Float[Tensor, "x y z"]) -> Float[Tensor, ""]:
    """One number for the whole volume, without the voxels whose labels are not known."""
    known = target != UNKNOWN
    return _dice(probability[known][None], target[known][None])[0]


def _dice(probability: Float[Tensor, "n voxels"], target: Float[Tensor, "n voxels"]) -> Float[Tensor, " n"]:
    """2 |p t| / (|p| + |t| + 1)."""
    shared = (probability * target).sum(1)
    return 2 * shared / (probability.sum(1) + target.sum(1) + 1)
