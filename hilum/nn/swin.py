"""The Swin transformer: attention inside windows that are shifted in every second block (Liu et al. 2021, fig. 3).

Parts carry the names of timm 0.5.4, which published encoders were saved under: layers.N.blocks.M.{norm1, attn.{qkv,
proj, relative_position_bias_table}, norm2, mlp.fc1, mlp.fc2}, norm, and layers.N.downsample.{norm, reduction} at the
end of a stage. How pixels become patches is handed in. Indices and masks are computed for the size that it is built
for, and not stored.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from hilum.nn.vit import DropPath, Mlp

Tokens = Float[Tensor, "b n d"]
CLOSED = -100.0  # added where two patches of a shifted window are no neighbours (published code of Swin)


@dataclass(frozen=True, slots=True, kw_only=True)
class SwinConfig:
    """By default Swin-T's sizes (Liu et al. 2021, sec. 3.3)."""

    image_size: int = 224
    patch: int = 4
    dim: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (3, 6, 12, 24)
    window: int = 7
    mlp_ratio: float = 4.0
    drop_path: float = 0.1  # of the last block; it grows linearly from 0 at the first

    @property
    def features(self) -> int:
        """Channels of the last stage."""
        return self.dim * 2 ** (len(self.depths) - 1)


class WindowAttention(nn.Module):
    """Self-attention in each window, with a learned bias for each distance (eq. 4)."""

    distances: Tensor

    def __init__(self, dim: int, heads: int, window: int):
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.register_buffer("distances", distances(window), persistent=False)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(
        self, x: Float[Tensor, "b windows n d"], mask: Float[Tensor, "windows n n"] | None
    ) -> Float[Tensor, "b windows n d"]:
        query, key, value = rearrange(self.qkv(x), "b w n (three h d) -> three b w h n d", three=3, h=self.heads)
        bias = rearrange(self.relative_position_bias_table[self.distances], "n m h -> h n m")
        logits = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1) + bias
        if mask is not None:
            logits = logits + mask[:, None]
        return self.proj(rearrange(logits.softmax(-1) @ value, "b w h n d -> b w n (h d)"))


class SwinBlock(nn.Module):
    """x + attention in (shifted) windows, then x + MLP, each behind its norm (eq. 3)."""

    mask: Tensor | None

    def __init__(self, dim: int, heads: int, grid: int, window: int, *, shift: int, mlp_ratio: float, drop: float):
        super().__init__()
        self.grid, self.window, self.shift = grid, window, shift
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, heads, window)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.drop_path = DropPath(drop)
        self.register_buffer("mask", closed(grid, window, shift) if shift else None, persistent=False)

    def forward(self, x: Tokens) -> Tokens:
        x = x + self.drop_path(self.attended(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))

    def attended(self, x: Tokens) -> Tokens:
        """Cut into windows after the shift, attended, and put back."""
        maps = rearrange(x, "b (rows columns) d -> b rows columns d", rows=self.grid)
        if self.shift:
            maps = maps.roll((-self.shift, -self.shift), (1, 2))
        side, across = self.window, self.grid // self.window
        windows = rearrange(maps, "b (r h) (c w) d -> b (r c) (h w) d", h=side, w=side)
        maps = rearrange(self.attn(windows, self.mask), "b (r c) (h w) d -> b (r h) (c w) d", r=across, h=side)
        if self.shift:
            maps = maps.roll((self.shift, self.shift), (1, 2))
        return rearrange(maps, "b rows columns d -> b (rows columns) d")


class PatchMerging(nn.Module):
    """Four neighbours become one patch of twice the width; those of a column come first."""

    def __init__(self, dim: int, grid: int):
        super().__init__()
        self.grid = grid
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tokens) -> Tokens:
        four = rearrange(x, "b (r i c j) d -> b (r c) (j i d)", r=self.grid // 2, i=2, j=2)
        return self.reduction(self.norm(four))


class SwinStage(nn.Module):
    """Blocks of one resolution, every second one shifted, and the way down where another stage follows."""

    def __init__(self, config: SwinConfig, number: int, drops: list[float]):
        super().__init__()
        dim, grid = config.dim * 2**number, config.image_size // config.patch // 2**number
        window = min(config.window, grid)
        if grid % window or (grid % 2 and number < len(config.depths) - 1):
            raise ValueError(
                f"Swin: {config.image_size} pixels make {grid} patches, no multiple of windows of {window}"
            )
        shifts = [0 if place % 2 == 0 or grid <= config.window else window // 2 for place in range(len(drops))]
        self.blocks = nn.ModuleList(
            SwinBlock(dim, config.heads[number], grid, window, shift=shift, mlp_ratio=config.mlp_ratio, drop=drop)
            for shift, drop in zip(shifts, drops, strict=True)
        )
        self.downsample = PatchMerging(dim, grid) if number < len(config.depths) - 1 else nn.Identity()

    def forward(self, x: Tokens) -> Tokens:
        for block in self.blocks:
            x = block(x)
        return self.downsample(x)


class Swin(nn.Module):
    """Pixels to the patches of the last stage after the norm; `patch_embed` makes the first patches, row by row."""

    def __init__(self, config: SwinConfig, patch_embed: nn.Module):
        super().__init__()
        self.config = config
        self.patch_embed = patch_embed
        rates = torch.linspace(0, config.drop_path, sum(config.depths), device="cpu").split(list(config.depths))
        self.layers = nn.Sequential(*(SwinStage(config, n, drops.tolist()) for n, drops in enumerate(rates)))
        self.norm = nn.LayerNorm(config.features)
        for part in self.layers.modules():
            if isinstance(part, nn.Linear):
                nn.init.trunc_normal_(part.weight, std=0.02)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)

    def forward(self, pixels: Float[Tensor, "b c h w"]) -> Tokens:
        return self.norm(self.layers(self.patch_embed(pixels)))


def distances(window: int) -> Int[Tensor, "n n"]:
    """For each two places of a window the row of the bias table: how far down, then how far across."""
    places = torch.cartesian_prod(torch.arange(window), torch.arange(window))
    down, across = (places[:, None] - places[None] + window - 1).unbind(-1)
    return down * (2 * window - 1) + across


def closed(grid: int, window: int, shift: int) -> Float[Tensor, "windows n n"]:
    """What forbids attention in shifted windows between patches that were brought together from opposite edges."""
    bands = torch.arange(grid)
    bands = (bands >= grid - window).long() + (bands >= grid - shift).long()
    regions = 3 * bands[:, None] + bands[None]
    each = rearrange(regions, "(r h) (c w) -> (r c) (h w)", h=window, w=window)
    return CLOSED * (each[:, :, None] != each[:, None]).float()
