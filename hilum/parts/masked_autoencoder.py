"""The two ends of a masked autoencoder: a ViT that sees the kept patches, and the decoder that guesses the others.

He et al. 2022, sec. 3: the encoder sees no mask tokens at all; the decoder sees the whole grid and is thrown away after
pre-training. Both have fixed positions of sines and cosines.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hilum.nn.vit import Tokens, Vit, VitConfig, blocks


class MaskedDecoder(nn.Module):
    """Tokens of the kept patches to the pixels of all; the class token goes in and not out."""

    def __init__(self, config: VitConfig, *, encoder_dim: int):
        super().__init__()
        self.embed = nn.Linear(encoder_dim, config.dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, config.dim))
        table = sines(config.dim, config.grid)
        self.pos_embed = nn.Parameter(table[None], requires_grad=False)
        self.blocks = blocks(config)
        self.norm = nn.LayerNorm(config.dim, config.eps)
        self.pred = nn.Linear(config.dim, config.patch**2 * config.channels)
        nn.init.normal_(self.mask_token, std=0.02)
        self.apply(spread)

    def forward(self, latent: Tokens, restore: Int[Tensor, "b n"]) -> Float[Tensor, "b n pixels"]:
        """Mask tokens fill the places of the hidden patches."""
        tokens = self.embed(latent)
        first, kept = tokens[:, :1], tokens[:, 1:]
        hidden = self.mask_token.expand(len(kept), restore.shape[1] - kept.shape[1], -1)
        tokens = torch.cat([first, picked(torch.cat([kept, hidden], dim=1), restore)], dim=1) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        return self.pred(self.norm(tokens))[:, 1:]


def start(vit: Vit) -> None:
    """First values of a masked autoencoder's encoder: fixed positions, spread matrices (ibid., appendix A.1)."""
    table = sines(vit.config.dim, vit.config.grid)
    vit.pos_embed = nn.Parameter(table[None], requires_grad=False)
    if vit.cls_token is not None:
        nn.init.normal_(vit.cls_token, std=0.02)
    kernel = vit.patch_embed.proj.weight
    nn.init.xavier_uniform_(kernel.view(len(kernel), -1))
    vit.blocks.apply(spread)


def spread(part: nn.Module) -> None:
    """Xavier's uniform values for a matrix, zeros for its bias."""
    if isinstance(part, nn.Linear):
        nn.init.xavier_uniform_(part.weight)
        if part.bias is not None:
            nn.init.zeros_(part.bias)


def seen(vit: Vit, pixels: Float[Tensor, "b c h w"], kept: Int[Tensor, "b k"]) -> Float[Tensor, "b _ d"]:
    """The encoder's tokens, class token first, of the kept patches alone."""
    patches, position = vit.patches(pixels)
    return vit.norm(vit.transformed(vit.with_prefix(picked(patches, kept), position)))


def picked(tokens: Tokens, places: Int[Tensor, "b k"]) -> Float[Tensor, "b k d"]:
    """The tokens at these places, in their order."""
    return tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[-1]))


def sines(dim: int, grid: int) -> Float[Tensor, "n d"]:
    """Positions of a square grid: the column in the first half of the channels, the row in the second; a row of zeros
    for the class token before them. Each half holds sines, then cosines, of falling frequency (Vaswani et al. 2017)."""
    if dim % 4:
        raise ValueError(f"sines and cosines of two axes want a multiple of 4 channels, got {dim}")
    frequency = 10000.0 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    place = torch.arange(grid, dtype=torch.float64)
    angle = place[:, None] * frequency  # (grid, dim / 4)
    axis = torch.cat([angle.sin(), angle.cos()], dim=1)
    columns, rows = axis.repeat(grid, 1), axis.repeat_interleave(grid, 0)
    table = torch.cat([columns, rows], dim=1).float()
    return torch.cat([torch.zeros(1, dim), table])
