"""Learning by guessing words that are hidden (Devlin et al. 2019, sec. 3.1, task 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

SHARE, COVERED, SWAPPED = 0.15, 0.8, 0.1  # of the words are asked for; of those covered, and exchanged for any word


@dataclass(frozen=True, slots=True, eq=False)
class HiddenWords:
    """Texts with some words hidden, and which words are asked for."""

    ids: Int[Tensor, "n length"]
    asked: Bool[Tensor, "n length"]

    def to(self, device: torch.device) -> Self:
        """The same on a device."""
        return type(self)(self.ids.to(device), self.asked.to(device))


def hidden(
    ids: Int[Tensor, "n length"],
    spoken: Bool[Tensor, "n length"],
    rng: np.random.Generator,
    *,
    cover: int,
    vocabulary: int,
) -> HiddenWords:
    """Hides words of each text, at least one where it has any; `spoken` says which ids are words, `cover` is [MASK]."""
    chance = torch.from_numpy(rng.random(ids.shape)).masked_fill(~spoken, 2.0)
    asked = ((chance < SHARE) | (chance == chance.min(dim=1, keepdim=True).values)) & spoken
    fate = torch.from_numpy(rng.random(ids.shape))
    others = torch.from_numpy(rng.integers(0, vocabulary, ids.shape))
    covered = ids.masked_fill(asked & (fate < COVERED), cover)
    swapped = asked & (fate >= COVERED) & (fate < COVERED + SWAPPED)
    return HiddenWords(torch.where(swapped, others, covered), asked)


def word_error(
    scores: Float[Tensor, "n length vocabulary"], ids: Int[Tensor, "n length"], asked: Bool[Tensor, "n length"]
) -> Float[Tensor, ""]:
    """Cross-entropy at the words that are asked for; nothing where none is."""
    if not asked.any():
        return scores.sum() * 0
    return F.cross_entropy(scores[asked], ids[asked])


def spoken(mask: Bool[Tensor, "n length"]) -> Bool[Tensor, "n length"]:
    """Which ids are words: those that are there, without the start and the end; of a text without words the start."""
    place, end = torch.arange(mask.shape[1], device=mask.device), mask.sum(dim=1, keepdim=True) - 1
    words = mask & (place > 0) & (place < end)
    return words | (~words.any(dim=1, keepdim=True) & (place == 0))
