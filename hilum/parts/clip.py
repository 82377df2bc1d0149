"""OpenAI's CLIP (Radford et al. 2021): a ViT and a causal text transformer with QuickGELU, as open_clip builds them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from hilum.values.errors import MissingExtra


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipConfig:
    """Sizes, by default those of ViT-B/32 (Radford et al. 2021, tables 19 and 20). Heads of vision are 64 wide."""

    embed: int = 512
    image_size: int = 224
    patch: int = 32
    vision_width: int = 768
    vision_layers: int = 12
    context: int = 77
    vocabulary: int = 49408
    text_width: int = 512
    text_heads: int = 8
    text_layers: int = 12


def clip(config: ClipConfig) -> nn.Module:
    """Both towers: `visual`, `encode_text` (at the highest id, which is the text's end), `logit_scale`."""
    try:
        from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
    except ImportError as error:
        raise MissingExtra("CLIP's towers", "open_clip", "systems") from error
    vision = CLIPVisionCfg(
        layers=config.vision_layers,
        width=config.vision_width,
        head_width=64,
        patch_size=config.patch,
        image_size=config.image_size,
    )
    text = CLIPTextCfg(
        context_length=config.context,
        vocab_size=config.vocabulary,
        width=config.text_width,
        heads=config.text_heads,
        layers=config.text_layers,
    )
    return CLIP(config.embed, vision, text, quick_gelu=True)
