"""Two films of one patient in one transformer: what has changed, place by place (Bannur et al. 2023, sec. 3.1).

The tokens of the present film stand before those of the earlier one. Position and time (which of the two films) are
added to the normed tokens before queries, keys and values are made of them, in every block; only the present film's
tokens come out. Parts carry the published names.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from hilum.nn.vit import DropPath
from hilum.values.errors import BadInput

Tokens = Float[Tensor, "b n d"]
Maps = Float[Tensor, "b d rows columns"]
TEMPERATURE = 10000.0  # of the positions' frequencies
LAST = 1e-6  # beside the last place, by which places are divided


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolerSizes:
    """As published: three blocks of eight heads, the hidden layer no wider than the tokens."""

    dim: int = 256
    grid: int = 14
    heads: int = 8
    blocks: int = 3
    dropout: float = 0.1
    drop_path: float = 0.25
    eps: float = 1e-6


class PlacedAttention(nn.Module):
    """Self-attention of normed tokens to which their place and time were added: the values have them too."""

    def __init__(self, sizes: PoolerSizes):
        super().__init__()
        self.heads, self.dropout = sizes.heads, sizes.dropout
        self.proj_q, self.proj_k, self.proj_v = (nn.Linear(sizes.dim, sizes.dim, bias=False) for _ in range(3))
        self.proj = nn.Linear(sizes.dim, sizes.dim)
        self.proj_drop = nn.Dropout(sizes.dropout)

    def forward(self, x: Tokens) -> Tokens:
        query, key, value = (
            rearrange(part(x), "b n (h d) -> b h n d", h=self.heads) for part in (self.proj_q, self.proj_k, self.proj_v)
        )
        rate = self.dropout if self.training else 0.0
        seen = F.scaled_dot_product_attention(query, key, value, dropout_p=rate)
        return self.proj_drop(self.proj(rearrange(seen, "b h n d -> b n (h d)")))


class PlacedBlock(nn.Module):
    """x + attention, then x + MLP, each behind its norm."""

    def __init__(self, sizes: PoolerSizes):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(sizes.dim, sizes.eps), nn.LayerNorm(sizes.dim, sizes.eps)
        self.attn = PlacedAttention(sizes)
        self.mlp = nn.Sequential(
            OrderedDict(
                fc1=nn.Linear(sizes.dim, sizes.dim),
                act=nn.GELU(),
                drop1=nn.Dropout(sizes.dropout),
                fc2=nn.Linear(sizes.dim, sizes.dim),
                drop2=nn.Dropout(sizes.dropout),
            )
        )
        self.drop_path = DropPath(sizes.drop_path)

    def forward(self, x: Tokens, place: Tokens) -> Tokens:
        x = x + self.drop_path(self.attn(self.norm1(x) + place))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class TemporalPooler(nn.Module):
    """Maps of the present and of the earlier film to one map of what has changed."""

    pos_embed: Tensor

    def __init__(self, sizes: PoolerSizes):
        super().__init__()
        self.grid = sizes.grid
        self.drop = nn.Dropout(sizes.dropout)
        self.blocks = nn.ModuleList(PlacedBlock(sizes) for _ in range(sizes.blocks))
        self.norm_post = nn.LayerNorm(sizes.dim, sizes.eps)
        self.type_embed = nn.Parameter(torch.zeros(2, 1, sizes.dim))
        self.register_buffer("pos_embed", waves(sizes.dim, sizes.grid), persistent=False)
        nn.init.trunc_normal_(self.type_embed, std=0.02)

    def forward(self, present: Maps, earlier: Maps) -> Maps:
        rows, columns = present.shape[-2:]
        if (rows, columns) != (self.grid, self.grid):
            raise BadInput(
                f"two films are compared on a grid of {self.grid} x {self.grid} places, and these have "
                f"{rows} x {columns}: a prior needs the size that the network was trained at"
            )
        tokens = self.drop(torch.cat([rearrange(maps, "b d h w -> b (h w) d") for maps in (present, earlier)], dim=1))
        place = torch.cat([self.pos_embed + time for time in self.type_embed], dim=1)
        for block in self.blocks:
            tokens = block(tokens, place)
        changed = self.norm_post(tokens)[:, : rows * columns]
        return rearrange(changed, "b (h w) d -> b d h w", h=rows)


def waves(dim: int, grid: int) -> Float[Tensor, "1 n d"]:
    """Fixed positions: rows in the first half of the channels, columns in the second, each counted from 1 and brought
    to one turn; sines in even channels, cosines in odd ones."""
    place = torch.arange(1, grid + 1, dtype=torch.float32)
    angle = place / (place[-1] + LAST) * 2 * math.pi
    half = dim // 2
    frequency = TEMPERATURE ** (2 * (torch.arange(half) // 2) / half)
    turned = angle[:, None] / frequency
    axis = torch.stack([turned[:, 0::2].sin(), turned[:, 1::2].cos()], dim=2).flatten(1)  # (grid, half)
    rows, columns = axis.repeat_interleave(grid, 0), axis.repeat(grid, 1)
    return torch.cat([rows, columns], dim=1)[None]
