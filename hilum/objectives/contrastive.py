"""Image beside text in a batch: symmetric InfoNCE, and its relatives that know which negatives are none."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def info_nce(logits: Float[Tensor, "n n"]) -> Float[Tensor, ""]:
    """Symmetric InfoNCE of scaled similarities: image i belongs to text i (Radford et al. 2021, Fig. 3)."""
    own = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def true_pairs(logits: Float[Tensor, "n m"], true: Bool[Tensor, "n m"]) -> Float[Tensor, ""]:
    """Every text that is true of an image attracts it, pairs or not (UniCL, Yang et al. 2022, eq. 1 to 3).

    Rows and columns of which nothing is true are left out.
    """
    both = []
    for scores, right in ((logits, true), (logits.T, true.T)):
        some = right.any(dim=1)
        share = right[some] / right[some].sum(dim=1, keepdim=True)
        both.append(-(share * scores[some].log_softmax(dim=1)).sum(dim=1).mean())
    return (both[0] + both[1]) / 2


def claim_or_denial(
    claim: Float[Tensor, " n"], denial: Float[Tensor, " n"], true: Bool[Tensor, " n"]
) -> Float[Tensor, ""]:
    """ "X" and "no X" beside an image: cross-entropy of the one that is true (as CheXzero asks, Tiu et al. 2022)."""
    return F.binary_cross_entropy_with_logits(claim - denial, true.to(claim.dtype))


def soft_semantic(
    logits: Float[Tensor, "n m"], image: Float[Tensor, "n findings"], text: Float[Tensor, "m findings"]
) -> Float[Tensor, ""]:
    """Images and texts that say the same attract each other, pairs or not (MedCLIP, Wang et al. 2022).

    What is known of each (a finding is there: 1, not: 0, unsure: -1) makes soft targets, both ways.
    """
    same = image @ text.T
    by_rows = -(same.softmax(dim=1) * logits.log_softmax(dim=1)).sum(dim=1).mean()
    by_columns = -(same.T.softmax(dim=1) * logits.T.log_softmax(dim=1)).sum(dim=1).mean()
    return (by_rows + by_columns) / 2
