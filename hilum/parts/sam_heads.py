"""Heads on SAM's image embedding that name classes without a prompt (Hu, Xu, Shi 2023, AutoSAM, sec. 3).

Three of them: SAM's mask decoder with tokens of its own for each class, whose places come from a random Fourier layer
of its own; convolutions that grow a map; one linear map per pixel after SAM's upscaling. All give logits of the
classes, background first, larger than the embedding by a factor that is theirs.
"""

from __future__ import annotations

from typing import cast

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

from hilum.parts import sam as parts
from hilum.parts import sam_mask_decoder as decoder
from hilum.parts.sam import SamConfig
from hilum.parts.sam_image_encoder import ImageEncoder
from hilum.parts.sam_mask_decoder import MaskDecoder
from hilum.parts.sam_prompt_encoder import FourierFeatures


class ClassTokens(nn.Module):
    """For each class a quality token and mask tokens; the decoder answers each class as if it were a prompt."""

    def __init__(self, classes: int, masks: int, width: int):
        super().__init__()
        self.quality = nn.Parameter(torch.randn(classes, width))
        self.masks = nn.Parameter(torch.randn(classes * masks, width))

    def forward(self, prompt: Float[Tensor, "n t c"]) -> Float[Tensor, "n all c"]:
        """n is the number of images times that of classes, image-major."""
        classes = len(self.quality)
        masks = rearrange(self.masks, "(k m) c -> k m c", k=classes)
        own = torch.cat([self.quality[:, None], masks], dim=1)
        return torch.cat([repeat(own, "k t c -> (b k) t c", b=prompt.shape[0] // classes), prompt], dim=1)


def class_decoder(config: SamConfig, *, classes: int, masks: int) -> MaskDecoder:
    """SAM's mask decoder for folded classes: the heads of the masks and of the quality are shared by all classes."""
    return MaskDecoder(
        ClassTokens(classes, masks, config.channels),
        parts.two_way_transformer(config),
        decoder.upscaling(config.channels),
        [parts.mask_head(config) for _ in range(masks)],
        decoder.ReluMlp(config.channels, *[config.quality_hidden] * (config.quality_depth - 1), masks),
    )


def class_masks(
    mask_decoder: MaskDecoder, fourier: FourierFeatures, embedding: Float[Tensor, "b c h w"]
) -> tuple[Float[Tensor, "b k height width"], Float[Tensor, "b k"]]:
    """The first mask of each class and its predicted overlap; nothing is said, and no dense prompt is added."""
    images, width, rows, columns = embedding.shape
    classes = len(cast(ClassTokens, mask_decoder.tokens).quality)
    nothing_said = embedding.new_zeros(images * classes, 0, width)
    nothing_added = embedding.new_zeros(1, width, 1, 1)
    masks, quality = mask_decoder(embedding, fourier.grid(rows, columns), nothing_said, nothing_added)
    return rearrange(masks[:, 0], "(b k) h w -> b k h w", b=images), rearrange(quality[:, 0], "(b k) -> b k", b=images)


class DecoderNetwork(nn.Module):
    """The encoder, the decoder of folded classes, and its own layer for places."""

    def __init__(self, encoder: ImageEncoder, mask_decoder: MaskDecoder, fourier: FourierFeatures):
        super().__init__()
        self.image_encoder, self.mask_decoder, self.fourier = encoder, mask_decoder, fourier

    def head(self, embedding: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k height width"]:
        """Logits of the classes at four times the embedding's size."""
        return class_masks(self.mask_decoder, self.fourier, embedding)[0]


class GrowingHead(nn.Module):
    """Convolutions whose stages halve the channels; each doubles the map, but for the first two of more than two."""

    def __init__(self, width: int, classes: int, *, depth: int, top: int):
        super().__init__()
        widest = top * 2**depth
        pointwise = nn.Conv2d(width, widest, 1), nn.ReLU(), nn.Conv2d(widest, widest, 1), nn.ReLU()
        self.input_block = nn.Sequential(*pointwise)
        level = range(2 if depth > 2 else 0)
        self.blocks = nn.ModuleList((narrowing if at in level else doubling)(widest >> at) for at in range(depth))
        self.final = nn.Sequential(nn.Conv2d(top, top, 3, padding=1), nn.Conv2d(top, classes, 1))

    def forward(self, embedding: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k height width"]:
        x = self.input_block(embedding)
        for block in self.blocks:
            x = block(x)
        return self.final(x)


def narrowing(width: int) -> nn.Sequential:
    """Two convolutions on a map that keeps its size."""
    first, second = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width // 2, 3, padding=1)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())


def doubling(width: int) -> nn.Sequential:
    """Two convolutions, and a transposed one that doubles the map."""
    first, second = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.ConvTranspose2d(width, width // 2, 2, stride=2))


class PixelwiseHead(nn.Module):
    """SAM's upscaling, then two linear maps per pixel. As published a ReLU ends it: no logit is below zero."""

    def __init__(self, width: int, classes: int):
        super().__init__()
        self.upscaling = decoder.upscaling(width)
        narrow = width // 8
        self.final = nn.Sequential(nn.Conv2d(narrow, narrow, 1), nn.ReLU(), nn.Conv2d(narrow, classes, 1), nn.ReLU())

    def forward(self, embedding: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k height width"]:
        cells = self.upscaling(rearrange(embedding, "b c h w -> b h w c"))
        return self.final(rearrange(cells, "b h w p q r s c -> b c (h p r) (w q s)"))


class FeatureNetwork(nn.Module):
    """The encoder and a head on what it sees."""

    def __init__(self, encoder: ImageEncoder, head: nn.Module):
        super().__init__()
        self.image_encoder, self.mask_decoder = encoder, head

    def head(self, embedding: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k height width"]:
        """Logits of the classes, larger than the embedding."""
        return self.mask_decoder(embedding)
