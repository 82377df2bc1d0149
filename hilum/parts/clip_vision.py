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
    """By default those of ViT-B/16 (Radford et al. 2021, table 19)."""

    image_size: int = 224
    patch: int = 16
    width: int = 768
    layers: int = 12
    embed: int = 512


def clip_vision(sizes: ClipVisionSizes) -> nn.Module:
    """The tower with QuickGELU: `conv1`, `class_embedding`, …, `transformer.resblocks`, `ln_post`, `proj`."""
    VisionTransformer, _, gelu = _layers()
    return VisionTransformer(
        image_size=sizes.image_size,
        patch_size=sizes.patch,
        width=sizes.width,
        layers=sizes.layers,
        heads=sizes.width // HEAD,
        mlp_ratio=4.0,
        output_dim=sizes.embed,
        act_layer=gelu,
    )


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


def entered(tower: Any, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b n d"]:
    """What the first block is given: class token and patches, with positions, after the first norm."""
    found = patches(tower, pixels)
    first = tower.class_embedding.expand(len(found), 1, -1)
    return tower.ln_pre(torch.cat([first, found], dim=1) + tower.positional_embedding)
