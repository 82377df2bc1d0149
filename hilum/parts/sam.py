"""SAM put together from its three parts, at any size; the builders take the place of a part where a system differs.

`sam(BASE)` is the published ViT-B. `sam(BASE, block=...)` puts another block in its place, for which `attend` and
`transform` give the published branches; `sam(BASE, decoder=...)` another decoder.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hilum.nn.channel_norm import ChannelNorm
from hilum.parts import sam_image_encoder as encoder
from hilum.parts import sam_mask_decoder as decoder
from hilum.parts.remembered import Remembered
from hilum.parts.sam_prompt_encoder import FourierFeatures, PromptEncoder, SamPrompts, mask_reader

NORM_EPS = 1e-6  # of the image encoder and the channel norms; the decoder's layers keep torch's 1e-5


@dataclass(frozen=True, slots=True)
class SamConfig:
    """Sizes of a SAM (Kirillov et al. 2023, appendix A; the published files); the defaults hold for B, L and H."""

    width: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]  # attend to the whole grid; the others look through windows
    image_size: int = 1024
    patch: int = 16
    window: int = 14
    mlp_ratio: int = 4
    positions: bool = True  # the table of absolute positions, which LVM-Med does without
    channels: int = 256  # of the embedding, the prompts and the decoder
    mask_hidden: int = 16
    masks: int = 4  # the first answers a clear prompt, the other three an ambiguous one
    decoder_depth: int = 2
    decoder_heads: int = 8
    decoder_hidden: int = 2048
    narrowing: int = 2  # of the decoder's attention between tokens and image
    quality_hidden: int = 256
    quality_depth: int = 3

    @property
    def grid(self) -> int:
        """Patches along a side."""
        return self.image_size // self.patch


BASE = SamConfig(width=768, depth=12, heads=12, global_blocks=(2, 5, 8, 11))
LARGE = SamConfig(width=1024, depth=24, heads=16, global_blocks=(5, 11, 17, 23))
HUGE = SamConfig(width=1280, depth=32, heads=16, global_blocks=(7, 15, 23, 31))
POCKET = SamConfig(  # ours: SAM's architecture at a size that trains on two cores
    width=192,
    depth=6,
    heads=3,
    global_blocks=(2, 5),
    image_size=224,
    window=7,
    channels=128,
    decoder_hidden=512,
    quality_hidden=128,
)
TINY = SamConfig(
    width=32,
    depth=2,
    heads=2,
    global_blocks=(1,),
    image_size=64,
    patch=8,
    window=3,
    channels=32,
    mask_hidden=8,
    decoder_heads=2,
    decoder_hidden=64,
    quality_hidden=32,
)


@dataclass(frozen=True, slots=True, eq=False)
class SamBatch:
    """What a SAM learns from: normalised pixels, prompts (as many for each image, image-major), a mask per prompt."""

    pixels: Float[Tensor, "b 3 height width"]
    prompts: SamPrompts
    masks: Float[Tensor, "n 1 h w"]

    def to(self, device: torch.device) -> Self:
        """The same batch on a device."""
        return type(self)(self.pixels.to(device), self.prompts.to(device), self.masks.to(device))


class Sam(nn.Module):
    """Image encoder, prompt encoder, mask decoder."""

    def __init__(self, image_encoder: nn.Module, prompt_encoder: PromptEncoder, mask_decoder: nn.Module, *, patch: int):
        super().__init__()
        self.image_encoder = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder
        self.patch = patch
        self._answer = Remembered[decoder.Answer]()

    def forward(
        self, pixels: Float[Tensor, "b 3 height width"], prompts: SamPrompts
    ) -> tuple[Float[Tensor, "n m h w"], Float[Tensor, "n m"]]:
        return self.ask(self.image_encoder(pixels), prompts)

    def ask(
        self, embedding: Float[Tensor, "b c rows columns"], prompts: SamPrompts, *, only: slice = slice(None)
    ) -> tuple[Float[Tensor, "n some h w"], Float[Tensor, "n m"]]:
        """Mask logits at four times the embedding's size, all or some of them, and the predicted overlaps of all."""
        rows, columns = embedding.shape[-2:]
        size = (rows * self.patch, columns * self.patch)
        plain = self.mask_decoder
        if isinstance(plain, decoder.MaskDecoder) and plain.preparable() and asks_again(embedding, prompts):
            lasting = (embedding, *self.prompt_encoder.lasting(), *plain.transformer.parameters())
            answer = self._answer(lasting, lambda: self.prepared(plain, embedding))
            return answer(self.prompt_encoder.sparse(prompts, size), only)
        sparse, dense = self.prompt_encoder(prompts, size=size, grid=(rows, columns))
        return plain(embedding, self.prompt_encoder.fourier.grid(rows, columns), sparse, dense, only=only)

    def prepared(self, plain: decoder.MaskDecoder, embedding: Float[Tensor, "1 c rows columns"]) -> decoder.Answer:
        """The decoder for any prompt without a mask, with what all of them need made once."""
        rows, columns = embedding.shape[-2:]
        nothing = self.prompt_encoder.dense(SamPrompts(), (rows, columns))
        return plain.prepared(embedding, self.prompt_encoder.fourier.grid(rows, columns), nothing)


def asks_again(embedding: Float[Tensor, "b c rows columns"], prompts: SamPrompts) -> bool:
    """Whether this may be one of many prompts for one image."""
    return torch.is_inference_mode_enabled() and len(embedding) == len(prompts) == 1 and prompts.masks is None


def sam(
    config: SamConfig,
    *,
    block: Callable[[SamConfig, int], nn.Module] | None = None,
    mask_decoder: Callable[[SamConfig], nn.Module] | None = None,
) -> Sam:
    """The network at these sizes, with random weights."""
    return Sam(
        image_encoder(config, block=block or plain_block),
        prompt_encoder(config),
        (mask_decoder or plain_decoder)(config),
        patch=config.patch,
    )


def image_encoder(
    config: SamConfig,
    *,
    block: Callable[[SamConfig, int], nn.Module],
    resize: Callable[[Tensor, int, int], Tensor] | None = None,
) -> encoder.ImageEncoder:
    """`block` makes the block of an index; `resize` brings the positions to another grid, bilinear where not given."""
    patches = nn.Conv2d(3, config.width, config.patch, stride=config.patch)
    position = torch.zeros(1, config.grid, config.grid, config.width) if config.positions else None
    neck = nn.Sequential(
        nn.Conv2d(config.width, config.channels, 1, bias=False),
        ChannelNorm(config.channels),
        nn.Conv2d(config.channels, config.channels, 3, padding=1, bias=False),
        ChannelNorm(config.channels),
    )
    blocks = [block(config, index) for index in range(config.depth)]
    return encoder.ImageEncoder(patches, position, blocks, neck, resize=resize)


def plain_block(config: SamConfig, index: int) -> encoder.Block:
    """The published block."""
    attend = encoder.Attend(norm(config), attention(config, index), window=window(config, index))
    return encoder.Block(attend, encoder.Transform(norm(config), mlp(config)))


def window(config: SamConfig, index: int) -> int | None:
    """The side of a block's windows, or None where it attends to the whole grid."""
    return None if index in config.global_blocks else config.window


def attention(
    config: SamConfig, index: int, *, wrap: Callable[[nn.Linear], nn.Module] | None = None
) -> encoder.Attention:
    """A block's attention; `wrap` may put LoRA around its fused projection of query, key and value."""
    side = window(config, index) or config.grid
    qkv = nn.Linear(config.width, 3 * config.width)
    relative = encoder.RelativePositions(side, side, config.width // config.heads)
    return encoder.Attention(
        wrap(qkv) if wrap else qkv, relative, nn.Linear(config.width, config.width), heads=config.heads
    )


def norm(config: SamConfig) -> nn.LayerNorm:
    """The norm in front of a branch."""
    return nn.LayerNorm(config.width, eps=NORM_EPS)


def mlp(config: SamConfig) -> encoder.Mlp:
    """A block's MLP."""
    return encoder.Mlp(config.width, config.mlp_ratio * config.width)


def prompt_encoder(config: SamConfig) -> PromptEncoder:
    """The published prompt encoder."""
    reader = mask_reader(config.channels, config.mask_hidden)
    return PromptEncoder(FourierFeatures(config.channels), reader, width=config.channels)


def plain_decoder(config: SamConfig) -> decoder.MaskDecoder:
    """The published mask decoder."""
    return decoder.MaskDecoder(
        decoder.OutputTokens(config.masks, config.channels),
        two_way_transformer(config),
        decoder.upscaling(config.channels),
        [mask_head(config) for _ in range(config.masks)],
        decoder.ReluMlp(config.channels, *[config.quality_hidden] * (config.quality_depth - 1), config.masks),
    )


def mask_head(config: SamConfig) -> decoder.ReluMlp:
    """From a mask's token to the weights with which it paints."""
    return decoder.ReluMlp(config.channels, config.channels, config.channels, config.channels // 8)


def two_way_transformer(config: SamConfig) -> decoder.TwoWayTransformer:
    """The published transformer: its first layer's self-attention replaces the queries."""
    layers = [two_way_layer(config, index) for index in range(config.decoder_depth)]
    return decoder.TwoWayTransformer(layers, narrow_attention(config), width=config.channels)


def two_way_layer(config: SamConfig, index: int) -> decoder.TwoWayLayer:
    """A layer of the transformer."""
    width = config.channels
    self_attention = decoder.CrossAttention(width, width, heads=config.decoder_heads)
    self_attend = decoder.SelfResidual(self_attention) if index else decoder.SelfReplace(self_attention)
    hidden = decoder.ReluMlp(width, config.decoder_hidden, width)
    return decoder.TwoWayLayer(
        self_attend, narrow_attention(config), hidden, narrow_attention(config), width=config.channels
    )


def narrow_attention(config: SamConfig) -> decoder.CrossAttention:
    """Attention between tokens and image, at a part of the width."""
    return decoder.CrossAttention(config.channels, config.channels // config.narrowing, heads=config.decoder_heads)
