"""The plain vision transformer, with the options that published encoders use (Dosovitskiy et al. 2021, fig. 1).

Class and register tokens (Darcet et al. 2024), LayerScale (Touvron et al. 2021, eq. 1), a packed SwiGLU in place of the
MLP (Shazeer 2020, eq. 6), stochastic depth, and pictures of other sizes by resampled positions. Parts carry timm's
names, which are those of the published files, so that none of them needs a table: cls_token, reg_token, pos_embed,
patch_embed.proj, blocks.N.{norm1, attn.qkv, attn.proj, ls1.gamma, norm2, mlp.fc1, mlp.fc2, ls2.gamma}, norm.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from hilum.nn.residual_stem import residual_stem
from hilum.values.errors import BadInput

Tokens = Float[Tensor, "b n d"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VitConfig:
    """Sizes and options; the defaults are timm's. `mlp_ratio` of a packed SwiGLU counts gate and value together."""

    image_size: int
    patch: int
    dim: int
    depth: int
    heads: int
    mlp_ratio: float = 4.0
    mlp: Literal["gelu", "swiglu"] = "gelu"
    channels: int = 3
    class_token: bool = True
    registers: int = 0
    position_for_prefix: bool = True  # class and register tokens have positions of their own (timm: not no_embed_class)
    qkv_bias: bool = True
    layer_scale: float | None = None  # its first value; None: there is none
    eps: float = 1e-6
    final_norm: bool = True
    drop_path: float = 0.0  # of the last block; it grows linearly from 0 at the first
    antialias: bool = True  # when positions are resampled
    stem: tuple[int, ...] = ()  # channels of the small ResNet that makes the patches (sec. 3.1, "hybrid"), if any

    @property
    def grid(self) -> int:
        """Patches along a side."""
        return self.image_size // self.patch

    @property
    def prefix(self) -> int:
        """Tokens before the patches: class token first, then registers."""
        return int(self.class_token) + self.registers


class PatchEmbed(nn.Module):
    """A linear map of each patch, as a convolution; of a hybrid, a linear map of its ResNet's features."""

    def __init__(self, config: VitConfig):
        super().__init__()
        self.backbone = residual_stem(config.channels, config.stem) if config.stem else nn.Identity()
        channels = config.stem[-1] if config.stem else config.channels
        side = config.patch // 2 ** len(config.stem)
        self.proj = nn.Conv2d(channels, config.dim, kernel_size=side, stride=side)

    def forward(self, pixels: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d rows columns"]:
        return self.proj(self.backbone(pixels))


class Attention(nn.Module):
    """Multi-head self-attention, query, key and value from one matrix."""

    def __init__(self, dim: int, heads: int, *, qkv_bias: bool = True):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tokens) -> Tokens:
        query, key, value = rearrange(self.qkv(x), "b n (three h d) -> three b h n d", three=3, h=self.heads)
        seen = F.scaled_dot_product_attention(query, key, value)
        return self.proj(rearrange(seen, "b h n d -> b n (h d)"))


class Mlp(nn.Module):
    """fc2(gelu(fc1 x))."""

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tokens) -> Tokens:
        return self.fc2(F.gelu(self.fc1(x)))


class PackedSwiGlu(nn.Module):
    """fc2(silu(gate) * value), where fc1 gives the gate in its first half and the value in its second."""

    def __init__(self, dim: int, packed: int):
        super().__init__()
        if packed % 2:
            raise ValueError(f"gate and value want an even width together, got {packed} (dim {dim} times mlp_ratio)")
        self.fc1 = nn.Linear(dim, packed)
        self.fc2 = nn.Linear(packed // 2, dim)

    def forward(self, x: Tokens) -> Tokens:
        gate, value = self.fc1(x).chunk(2, dim=-1)
        return self.fc2(F.silu(gate) * value)


class LayerScale(nn.Module):
    """A learned factor for each channel of a residual branch, small at birth."""

    def __init__(self, dim: int, first: float):
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), first))

    def forward(self, x: Tokens) -> Tokens:
        return self.gamma * x


class DropPath(nn.Module):
    """In training, leaves a residual branch out for some of the samples and enlarges the others (Huang et al. 2016)."""

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def forward(self, x: Tokens) -> Tokens:
        if not self.training or self.rate == 0:
            return x
        kept = torch.rand(len(x), 1, 1, device=x.device, dtype=x.dtype) >= self.rate
        return x * kept / (1 - self.rate)


class Block(nn.Module):
    """x + attention, then x + MLP, each behind its norm."""

    def __init__(self, config: VitConfig, drop_path: float = 0.0):
        super().__init__()
        dim, hidden = config.dim, int(config.dim * config.mlp_ratio)
        self.norm1, self.norm2 = nn.LayerNorm(dim, config.eps), nn.LayerNorm(dim, config.eps)
        self.attn = Attention(dim, config.heads, qkv_bias=config.qkv_bias)
        self.mlp: nn.Module = PackedSwiGlu(dim, hidden) if config.mlp == "swiglu" else Mlp(dim, hidden)
        self.ls1, self.ls2 = (
            nn.Identity() if config.layer_scale is None else LayerScale(dim, config.layer_scale) for _ in range(2)
        )
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tokens) -> Tokens:
        x = x + self.drop_path(self.ls1(self.attn(self.norm1(x))))
        return x + self.drop_path(self.ls2(self.mlp(self.norm2(x))))


class Vit(nn.Module):
    """Pixels to tokens: class token, registers, then the patches row by row."""

    def __init__(self, config: VitConfig):
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(config)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.dim)) if config.class_token else None
        self.reg_token = nn.Parameter(torch.zeros(1, config.registers, config.dim)) if config.registers else None
        positions = config.grid**2 + (config.prefix if config.position_for_prefix else 0)
        self.pos_embed = nn.Parameter(torch.zeros(1, positions, config.dim))
        self.blocks = blocks(config)
        self.norm = nn.LayerNorm(config.dim, config.eps) if config.final_norm else nn.Identity()
        self._start()

    def _start(self) -> None:
        """timm's first values: normal with deviation 0.02, the class and register tokens almost zero."""
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for token in (self.cls_token, self.reg_token):
            if token is not None:
                nn.init.normal_(token, std=1e-6)
        for part in self.blocks.modules():
            if isinstance(part, nn.Linear):
                nn.init.trunc_normal_(part.weight, std=0.02)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)

    def forward(self, pixels: Float[Tensor, "b c h w"]) -> Tokens:
        """All tokens after the last norm."""
        return self.norm(self.tokens(pixels))

    def tokens(self, pixels: Float[Tensor, "b c h w"]) -> Tokens:
        """All tokens before the last norm."""
        return self.transformed(self.with_prefix(*self.patches(pixels)))

    def patches(self, pixels: Float[Tensor, "b c h w"]) -> tuple[Tokens, Float[Tensor, "1 prefix d"]]:
        """The patches with their positions added, and the prefix's positions (none of them where it has none)."""
        patch = self.config.patch
        if pixels.shape[-2] % patch or pixels.shape[-1] % patch:
            size = f"{pixels.shape[-2]} x {pixels.shape[-1]}"
            raise BadInput(f"a picture of {size} pixels cannot be cut into patches of {patch}; give a multiple of it.")
        maps = self.patch_embed(pixels)
        prefix = self.config.prefix if self.config.position_for_prefix else 0
        position = resampled(self.pos_embed, tuple(maps.shape[-2:]), prefix=prefix, antialias=self.config.antialias)
        return rearrange(maps, "b d h w -> b (h w) d") + position[:, prefix:], position[:, :prefix]

    def with_prefix(self, patches: Tokens, position: Float[Tensor, "1 prefix d"]) -> Tokens:
        """Class token and registers, with their positions, before the patches."""
        tokens: list[Tensor] = [token for token in (self.cls_token, self.reg_token) if token is not None]
        if not tokens:
            return patches
        prefix = torch.cat(tokens, dim=1)
        if self.config.position_for_prefix:
            prefix = prefix + position
        return torch.cat([prefix.expand(len(patches), -1, -1), patches], dim=1)

    def transformed(self, tokens: Tokens) -> Tokens:
        """Through all blocks."""
        for block in self.blocks:
            tokens = block(tokens)
        return tokens


def blocks(config: VitConfig) -> nn.ModuleList:
    """The blocks, each dropped in training more often than the one before it."""
    rates = torch.linspace(0, config.drop_path, config.depth, device="cpu").tolist()
    return nn.ModuleList(Block(config, rate) for rate in rates)


def resampled(
    position: Float[Tensor, "1 n d"], grid: Iterable[int], *, prefix: int = 1, antialias: bool = True
) -> Float[Tensor, "1 m d"]:
    """Positions of a square grid brought to another grid (rows, columns), bicubic; those of the prefix are kept."""
    rows, columns = grid
    old = int((position.shape[1] - prefix) ** 0.5)
    if (rows, columns) == (old, old):
        return position
    maps = rearrange(position[:, prefix:].float(), "1 (h w) d -> 1 d h w", h=old)
    maps = F.interpolate(maps, size=(rows, columns), mode="bicubic", align_corners=False, antialias=antialias)
    patches = rearrange(maps, "1 d h w -> 1 (h w) d").to(position.dtype)
    return torch.cat([position[:, :prefix], patches], dim=1)
