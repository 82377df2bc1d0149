"""Image beside report where the image is partly hidden: a pair weighs what is visible of it (Huang et al. 2024, MaCo).

What a picture's visible patches are worth is one learned number; it scales the logits of its rows, and it weighs its
rows' errors, there without a gradient.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def masked_weighted(logits: Float[Tensor, "n n"], worth: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    """The mean of four errors: each direction with scaled rows, and each with weighted ones.

    `logits` are scaled cosines, rows images, columns reports. Row i of either direction goes by image i's worth.
    """
    own = torch.arange(len(logits), device=logits.device)
    directions, fixed = (logits, logits.T), worth.detach()
    scaled = [F.cross_entropy(worth[:, None] * each, own) for each in directions]
    weighted = [F.cross_entropy(each, own, weight=fixed) for each in directions]
    return torch.stack([*scaled, *weighted]).mean()
