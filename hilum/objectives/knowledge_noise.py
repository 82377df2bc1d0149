"""Contrast whose negatives count the less, the more knowledge they share; and a pull towards one's own knowledge.

A reconstruction of what KoBo's authors describe (Chen et al. 2023); their code is not public, so the formulas are ours.
Knowledge is given and learns nothing.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from hilum.objectives.contrastive import info_nce

Knowledge = Float[Tensor, "n k"]
Overlap = Float[Tensor, "n n"]


def overlap(knowledge: Knowledge) -> Overlap:
    """How much of the same two samples say: their cosine, 0 where it is negative or where nothing is known."""
    own = F.normalize(knowledge.detach(), dim=-1)
    return (own @ own.T).clamp(0, 1)


def knowledge_noise(logits: Float[Tensor, "n n"], shared: Overlap) -> Float[Tensor, ""]:
    """InfoNCE in both directions with each negative (i, j) weighted by 1 - shared[i, j]; one's own counts whole.

    -log e^s_ii / (e^s_ii + sum over j != i of (1 - shared_ij) e^s_ij), of scaled similarities.
    """
    own = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    return info_nce(logits + torch.log1p(-shared.detach().masked_fill(own, 0.0)))


def knowledge_guidance(vectors: Float[Tensor, "n k"], knowledge: Knowledge, *, temperature: float) -> Float[Tensor, ""]:
    """The same contrast of samples with their own knowledge, among those of which anything is known."""
    known = knowledge.detach().abs().sum(dim=1) > 0
    if not known.any():
        return vectors.sum() * 0
    given = F.normalize(knowledge.detach()[known], dim=-1)
    cosine = F.normalize(vectors[known], dim=-1) @ given.T
    return knowledge_noise(cosine / temperature, overlap(given))
