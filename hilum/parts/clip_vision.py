"""CLIP's ViT alone (Radford et al. 2021), as open_clip builds it, for systems that put tokens of their own into it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from hilum.values.errors import MissingExtra

HEAD = 64  # width of a head


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipVisionSizes:
    """By default those of ViT-B/16 (Radford et al. 2021, table 19); without `embed` no projection."""

    image_size: int = 224
    patch: int = 16
    width: int = 768
    layers: int = 12
    embed: int | None = 512


def clip_vision(sizes: ClipVisionSizes) -> Any:
    """The tower with QuickGELU: `conv1`, `class_embedding`, …, `transformer.resblocks`, `ln_post`, `proj`."""
    VisionTransformer, _, gelu = _layers()
    tower = VisionTransformer(
        image_size=sizes.image_size,
        patch_size=sizes.patch,
        width=sizes.width,
        layers=sizes.layers,
        heads=sizes.width // HEAD,
        mlp_ratio=4.0,
        output_dim=sizes.embed or sizes.width,
        act_layer=gelu,
    )
    if sizes.embed is None:
        tower.proj = None
    return tower


def blocks(*, width: int, layers: int, heads: int) -> nn.Module:
    """A transformer of CLIP's blocks without anything around it: `resblocks`."""
    _, Transformer, gelu = _layers()
    return Transformer(width, layers, heads, act_layer=gelu)


def _layers() -> tuple[Any, Any, Any]:
    try:
        from open_clip.transformer import QuickGELU, Transformer, VisionTransformer
    except ImportError as error:
        raise MissingExtra("CLIP's vision tower", "open_clip", "systems") from error
    return VisionTransformer, Transformer, QuickGELU


def patches(tower: Any, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b n d"]:
    """The patches' vectors in rows, without positions."""
    return rearrange(tower.conv1(pixels), "b d h w -> b (h w) d")


def placed(tower: Any, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b n d"]:
    """Class token and patches, with positions."""
    found = patches(tower, pixels)
    first = tower.class_embedding.expand(len(found), 1, -1)
    return torch.cat([first, found], dim=1) + tower.positional_embedding


def entered(tower: Any, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b n d"]:
    """What the first block is given."""
    return tower.ln_pre(placed(tower, pixels))


def transformed(tower: Any, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
    """All tokens through norm, blocks and norm; without projection."""
    tokens = tower.ln_pre(tokens)
    for block in tower.transformer.resblocks:
        tokens = block(tokens)
    return tower.ln_post(tokens)
