"""Medical SAM Adapter's network put together: SAM's parts, its blocks, and the decoder of either published version."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from hilum.parts import sam_image_encoder as encoder
from hilum.parts import sam_mask_decoder as decoder
from hilum.parts.efficient_two_way import Renamed, efficient_layer
from hilum.parts.hyper_prompt_adapter import prompt_adapted
from hilum.parts.msa_block import Grouping, adapted_mlp, attend_space, attend_space_and_depth, lora_block
from hilum.parts.sam import (
    BASE,
    Sam,
    SamConfig,
    image_encoder,
    narrow_attention,
    plain_decoder,
    prompt_encoder,
    two_way_layer,
)

LARGEST = BASE.image_size  # the image whose grid the table of positions has in 2024, at every image size
LEAST_MASKS = 4  # mask tokens of 2024, for fewer classes too
TUNED = {"down", "up"}  # words in the names of what adapters and LoRA add to the image encoder


@dataclass(frozen=True, slots=True)
class MsaConfig:
    """SAM's sizes and the adapters' (Wu et al. 2023; numbers of the published code where the paper gives none)."""

    sam: SamConfig
    version: Literal["2023", "2024"] = "2023"  # of the published code: May 2023, the paper's time; June 2024
    tuning: Literal["adapter", "lora"] = "adapter"
    slices: int | None = None  # adjacent slices that see each other; None: pictures, without the depth branch
    grouping: Grouping = "published"
    classes: int = 1  # masks for one prompt; 2023 gives one
    ratio: float = 0.25  # of the adapters' inner width
    mlp_scale: float = 0.5  # of the adapter beside the MLP
    rank: int = 4  # of LoRA
    out_size: int = 256  # the side at which logits meet the label
    click: Literal["x_y", "row_column"] = "x_y"  # how a click reaches SAM; row_column: exchanged, as upstream trained
    decoder_adapters: bool = False  # the paper's, in our reading; no published file has them

    def __post_init__(self) -> None:
        if self.version == "2023" and self.classes != 1:
            raise ValueError(f"the version of 2023 gives one mask, not {self.classes}: choose version 2024")
        if self.tuning == "lora" and (self.version == "2023" or self.slices):
            raise ValueError("LoRA is the version of 2024's, and for pictures: leave slices out")

    @property
    def inner(self) -> int:
        """The adapters' inner width in the image encoder."""
        return int(self.ratio * self.sam.width)


def msa(config: MsaConfig) -> Sam:
    """The network; adapters (or LoRA) and the decoder are trained, SAM's encoders are not."""
    painter = mask_decoder(config)
    made = Sam(
        encoder_2024(config) if config.version == "2024" else image_encoder(config.sam, block=partial(block, config)),
        prompt_encoder(config.sam),
        painter,
        patch=config.sam.patch,
    )
    made.image_encoder.requires_grad_(False)
    made.prompt_encoder.requires_grad_(False)
    for name, weight in made.image_encoder.named_parameters():
        weight.requires_grad_(not TUNED.isdisjoint(name.split(".")))
    painter.quality_head.requires_grad_(False)  # no loss reaches it, nor the masks that are not given
    for head in painter.mask_heads[config.classes :]:
        head.requires_grad_(False)
    return made


def block(config: MsaConfig, _: SamConfig, index: int) -> encoder.Block:
    """A block of the image encoder."""
    if config.tuning == "lora":
        return lora_block(config.sam, index, rank=config.rank)
    attend: nn.Module
    if config.slices is None:
        attend = attend_space(config.sam, index, inner=config.inner)
    else:
        attend = attend_space_and_depth(
            config.sam, index, inner=config.inner, slices=config.slices, grouping=config.grouping
        )
    return encoder.Block(attend, adapted_mlp(config.sam, inner=config.inner, scale=config.mlp_scale))


def encoder_2024(config: MsaConfig) -> encoder.ImageEncoder:
    """Positions for the largest image, resized while it runs; tables of relative positions under other names."""
    largest = replace(config.sam, image_size=LARGEST)
    made = image_encoder(largest, block=partial(block, config), resize=resize_bicubic)
    for module in made.modules():
        if isinstance(module, encoder.Attention):
            module.relative = Renamed(module.relative)
    return made


def resize_bicubic(position: Float[Tensor, "1 h w c"], height: int, width: int) -> Float[Tensor, "1 height width c"]:
    """The table of positions for another grid."""
    channels_first = rearrange(position, "1 h w c -> 1 c h w")
    resized = F.interpolate(channels_first, size=(height, width), mode="bicubic", align_corners=False)
    return rearrange(resized, "1 c h w -> 1 h w c")


def mask_decoder(config: MsaConfig) -> decoder.MaskDecoder:
    """SAM's in 2023, EfficientSAM's kind in 2024; in either the paper's adapters, where they are wanted."""
    sizes, layer = config.sam, two_way_layer
    if config.version == "2024":
        sizes, layer = replace(config.sam, masks=max(LEAST_MASKS, config.classes)), efficient_layer
    plain = [layer(sizes, index) for index in range(sizes.decoder_depth)]
    layers: Sequence[nn.Module] = plain
    if config.decoder_adapters:
        inner = int(config.ratio * sizes.channels)
        layers = [prompt_adapted(each, sizes.channels, inner=inner, scale=config.mlp_scale) for each in plain]
    made = plain_decoder(sizes)
    made.transformer = decoder.TwoWayTransformer(layers, narrow_attention(sizes), width=sizes.channels)
    return made
