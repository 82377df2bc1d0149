"""Image beside text in a batch: symmetric InfoNCE, and its relatives that know which negatives are none."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def info_nce(logits: Float[Tensor, "n n"]) -> Float[Tensor, ""]:
    """Symmetric InfoNCE of scaled similarities: image i belongs to text i (Radford et al. 2021, Fig. 3)."""
    own = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
