"""A decoder that guesses hidden patches from tokens of the others, by CLIP's blocks (He et al. 2022, sec. 3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hilum.parts.clip_vision import blocks
from hilum.parts.masked_autoencoder import picked, sines


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchHeadSizes:
    """By default those of PTUnifier. `before` is the fusion layer whose input is decoded; -1: after the last one."""

    width: int = 384
    layers: int = 4
    heads: int = 6
    before: int = 3
    ratio: float = 0.75  # of the patches are hidden


class PatchHead(nn.Module):
    """Class token and kept patches to the pixels of all patches."""

    def __init__(self, sizes: PatchHeadSizes, *, given: int, grid: int, pixels: int):
        super().__init__()
        self.decoder_embed = nn.Linear(given, sizes.width)
        self.mask_token = nn.Parameter(torch.empty(1, 1, sizes.width).normal_(std=0.02))
        self.decoder_pos_embed = nn.Parameter(sines(sizes.width, grid)[None], requires_grad=False)
        self.decoder = blocks(width=sizes.width, layers=sizes.layers, heads=sizes.heads)
        self.decoder_norm = nn.LayerNorm(sizes.width)
        self.decoder_pred = nn.Linear(sizes.width, pixels)

    def forward(self, tokens: Float[Tensor, "b k d"], restore: Int[Tensor, "b n"]) -> Float[Tensor, "b n pixels"]:
        """`restore` undoes the shuffling of the patches, of which the kept ones came first."""
        made = self.decoder_embed(tokens)
        first, kept = made[:, :1], made[:, 1:]
        hidden = self.mask_token.expand(len(kept), restore.shape[1] - kept.shape[1], -1)
        whole = torch.cat([first, picked(torch.cat([kept, hidden], dim=1), restore)], dim=1) + self.decoder_pos_embed
        for block in self.decoder.resblocks:  # type: ignore[union-attr]
            whole = block(whole)
        return self.decoder_pred(self.decoder_norm(whole))[:, 1:]
