"""Learning by guessing what is hidden: which patches are kept, what they hold, and the error on those that are not.

He et al. 2022, Masked autoencoders are scalable vision learners, sec. 3. The noise that decides is given by the
caller, so that a masking can be repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

EPS = 1e-6  # beside the variance of a patch


@dataclass(frozen=True, slots=True, eq=False)
class Masking:
    """Which patches an encoder sees: `kept` in the order in which it sees them; `restore` undoes the shuffling."""

    kept: Int[Tensor, "b k"]
    restore: Int[Tensor, "b n"]
    removed: Float[Tensor, "b n"]  # 1 where the patch is hidden

    @classmethod
    def by_noise(cls, noise: Float[Tensor, "b n"], ratio: float) -> Self:
        """The patches with the smallest noise are kept, int(n (1 - ratio)) of them, at least one."""
        count = max(1, int(noise.shape[1] * (1 - ratio)))
        shuffle = noise.argsort(dim=1)
        restore = shuffle.argsort(dim=1)
        removed = torch.ones_like(noise)
        removed[:, :count] = 0
        return cls(shuffle[:, :count], restore, removed.gather(1, restore))


def patchified(pixels: Float[Tensor, "b c h w"], patch: int) -> Float[Tensor, "b n d"]:
    """The pixels of each patch in a row: patch by patch along the rows, in it row, column, channel."""
    return rearrange(pixels, "b c (h p) (w q) -> b (h w) (p q c)", p=patch, q=patch)


def unpatchified(patches: Float[Tensor, "b n d"], patch: int) -> Float[Tensor, "b c h w"]:
    """Patches of a square picture laid out again."""
    side = round(patches.shape[1] ** 0.5)
    return rearrange(patches, "b (h w) (p q c) -> b c (h p) (w q)", h=side, p=patch, q=patch)


def by_own_range(target: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
    """Each patch with its own mean and unbiased deviation (ibid., "Reconstruction target")."""
    centred = target - target.mean(-1, keepdim=True)
    return centred / (target.var(-1, keepdim=True) + EPS).sqrt()


def masked_error(
    guess: Float[Tensor, "b n d"], target: Float[Tensor, "b n d"], removed: Float[Tensor, "b n"]
) -> Float[Tensor, ""]:
    """The mean squared error over the hidden patches alone."""
    return (((guess - target) ** 2).mean(-1) * removed).sum() / removed.sum()
