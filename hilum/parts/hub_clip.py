"""OpenAI's CLIP (Radford et al. 2021) as transformers builds it: the layout of the hub's tuned CLIPs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn

from hilum.values.errors import MissingExtra


@dataclass(frozen=True, slots=True, kw_only=True)
class TowerConfig:
    """A transformer's sizes; `inner` is the width between the two layers of its MLP."""

    width: int
    layers: int
    heads: int
    inner: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HubClipConfig:
    """Sizes, by default those of ViT-B/32 (Radford et al. 2021, tables 19 and 20). `end` is the id of a text's end,
    the last of the vocabulary where none is given."""

    embed: int = 512
    vision: TowerConfig = field(default_factory=lambda: TowerConfig(width=768, layers=12, heads=12, inner=3072))
    text: TowerConfig = field(default_factory=lambda: TowerConfig(width=512, layers=12, heads=8, inner=2048))
    image_size: int = 224
    patch: int = 32
    context: int = 77
    vocabulary: int = 49408
    end: int | None = None


def clip(config: HubClipConfig) -> nn.Module:
    """Both towers: `vision_model`, `text_model` (pooled at a text's first end), their projections, `logit_scale`."""
    try:
        from transformers import CLIPConfig, CLIPModel
    except ImportError as error:
        raise MissingExtra("CLIP's towers", "transformers", "systems") from error
    end = config.vocabulary - 1 if config.end is None else config.end
    vision = tower(config.vision) | {"image_size": config.image_size, "patch_size": config.patch}
    text = tower(config.text) | {"vocab_size": config.vocabulary, "max_position_embeddings": config.context}
    ends = {"bos_token_id": None, "eos_token_id": end, "pad_token_id": end}
    return CLIPModel(CLIPConfig(text_config=text | ends, vision_config=vision, projection_dim=config.embed))


def tower(config: TowerConfig) -> dict[str, Any]:
    """A tower's sizes as transformers names them; the activation is QuickGELU."""
    names = {"width": "hidden_size", "layers": "num_hidden_layers", "heads": "num_attention_heads"}
    sizes = {names.get(name, "intermediate_size"): size for name, size in asdict(config).items()}
    return sizes | {"hidden_act": "quick_gelu"}


class VisionVector(nn.Module):
    """Pictures to projected vectors: the vision half of a CLIP, which keeps its weights."""

    def __init__(self, network: Any):
        super().__init__()
        self.tower = network.vision_model
        self.projection = network.visual_projection

    def forward(self, pixels: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b dim"]:
        return self.projection(self.tower(pixel_values=pixels).pooler_output)


def text_vector(network: Any, ids: Int[Tensor, "b length"]) -> Float[Tensor, "b dim"]:
    """Texts to projected vectors: the feature at the first end; the causal mask hides what comes behind it."""
    return network.text_projection(network.text_model(input_ids=ids).pooler_output)
