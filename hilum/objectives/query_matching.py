"""A picture of several vectors beside a text of one: the best of them counts; and what BLIP-2 learns beside that.

Li et al. 2023, sec. 3.1: contrast by the best query, matching against hard negatives, the text told from the picture.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


def query_max(image: Float[Tensor, "n q d"], text: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """The greatest cosine between any of a picture's vectors and the text's."""
    image, text = F.normalize(image, dim=-1), F.normalize(text, dim=-1)
    return torch.einsum("nqd,md->nmq", image, text).amax(dim=-1)


def hard_negatives(similarity: Float[Tensor, "n n"], draws: Float[Tensor, " n"]) -> Int[Tensor, " n"]:
    """For each row another column than its own, the likelier the more alike; `draws` in 0..1 decide."""
    own = torch.eye(len(similarity), dtype=torch.bool, device=similarity.device)
    chance = similarity.detach().masked_fill(own, -torch.inf).softmax(dim=1).cumsum(dim=1)
    found = torch.searchsorted(chance, draws[:, None] * chance[:, -1:], right=True)[:, 0].clamp(max=len(similarity) - 1)
    return torch.where(found == torch.arange(len(found), device=found.device), (found - 1) % len(found), found)


def next_word_error(
    scores: Float[Tensor, "n length vocabulary"], ids: Int[Tensor, "n length"], mask: Bool[Tensor, "n length"]
) -> Float[Tensor, ""]:
    """Cross-entropy of each word, from what is before it; padding is not asked for, nor is the start."""
    asked = mask[:, 1:]
    if not asked.any():
        return scores.sum() * 0
    return F.cross_entropy(scores[:, :-1][asked], ids[:, 1:][asked])
