"""LVM-Med — Nguyen, Nguyen, Diep et al., LVM-Med: Learning Large-Scale Self-Supervised Vision Models for Medical
Imaging via Second-order Graph Matching (NeurIPS 2023).

A ResNet-50 and SAM's ViT-B, trained without labels on 1.3 million images of 55 public sets. Two views of a batch make
two graphs, whose nodes are images and whose edges lead to the nearest neighbours; the graphs must be matched node to
node, and the loss is the Hamming distance of the solver's matching to the true one (`objectives/matching.py`,
`recipes/lvm_med.py`). The ViT is SAM's image encoder without its table of absolute positions. For classification the
tokens before the neck are averaged. For segmentation the encoder and SAM's prompt encoder stay as they are and SAM's
mask decoder is trained on boxes a little too large, with Dice and cross-entropy. Pictures are stretched to a square by
their nearest pixels, their range brought to 0..255, and normalised with SAM's constants, which meet blue where they
expect red, because the published code reads pictures with OpenCV.
Public: the encoders' weights and the fine-tuning code, both non-commercial; written here from a description of them.
The training code is not in its repository. No trained decoder is public. Deviations: see the card.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self, cast

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Num
from torch import Tensor, nn

from hilum.capabilities.look import Seen, tensors
from hilum.capabilities.system import System
from hilum.capabilities.trainable import Sample
from hilum.objectives.overlap import cross_entropy, squared_dice
from hilum.objectives.terms import Terms
from hilum.parts.interaction import tight_box
from hilum.parts.nearest_resize import nearest_resize
from hilum.parts.sam import BASE, TINY, Sam, SamBatch, SamConfig, image_encoder, plain_block, sam
from hilum.parts.sam_frame import DEVIATION, MEAN
from hilum.parts.sam_image_encoder import ImageEncoder
from hilum.parts.sam_prompt_encoder import SamPrompts
from hilum.values.answers import PlaneMask
from hilum.values.errors import BadInput, UnsupportedPrompt
from hilum.values.image import Image
from hilum.values.prompts import PlanePrompt
from hilum.weights.rename import Rule, Table
from hilum.weights.tables.sam import UPSTREAM

BOX_SHIFT = 19  # pixels of the mask's 256, at most, by which a side of a training box is too far out (published code)
RANGE_FLOOR = 0.01  # added to a picture's range (published code)


@dataclass(frozen=True, slots=True)
class ResNetConfig:
    """torchvision's ResNet of bottlenecks; the defaults are ResNet-50's (He et al. 2016, table 1)."""

    layers: tuple[int, int, int, int] = (3, 4, 6, 3)
    group_width: int = 64
    image_size: int = 224  # of the large crops in pre-training (published code)


@dataclass(frozen=True, slots=True)
class LvmMedConfig:
    """The encoder's sizes, and whether SAM's prompt encoder and mask decoder stand on it."""

    encoder: SamConfig | ResNetConfig
    decoder: bool = False


VIT_B = replace(BASE, positions=False)


class LvmMed(System):
    """Pictures to vectors; with a decoder, a box to a mask."""

    configs: ClassVar[dict[str, LvmMedConfig]] = {
        "vit_b": LvmMedConfig(VIT_B),
        "vit_b_sam": LvmMedConfig(VIT_B, decoder=True),
        "resnet50": LvmMedConfig(ResNetConfig()),
    }
    table = Table(Rule(r"^(patch_embed|blocks|neck|conv1|bn1|layer\d)\.", r"image_encoder.\1."), UPSTREAM)
    network: Sam | EncoderAlone

    @classmethod
    def build(cls, config: LvmMedConfig) -> Sam | EncoderAlone:
        """Where there is a decoder, it alone is trained."""
        if isinstance(config.encoder, ResNetConfig):
            return EncoderAlone(resnet(config.encoder))
        if not config.decoder:
            return EncoderAlone(image_encoder(config.encoder, block=plain_block))
        network = sam(config.encoder)
        for part in (network.image_encoder, network.prompt_encoder):
            part.requires_grad_(False)
        return network

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        return cls.seeded(LvmMedConfig(replace(TINY, positions=False), decoder=True), seed)

    @classmethod
    def carries(cls, name: str) -> bool:
        """The published file holds the encoder alone."""
        return not name.startswith(("prompt_encoder.", "mask_decoder."))

    @classmethod
    def completed(
        cls, config: LvmMedConfig, own: Mapping[str, Tensor], base: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        """Prompt encoder and mask decoder as SAM's file has them: where the paper's fine-tuning begins."""
        return {**{name: tensor for name, tensor in base.items() if not cls.carries(name)}, **own}

    @property
    def side(self) -> int:
        """Of the network's square."""
        return self.config.encoder.image_size

    def prompted(self) -> Sam:
        """The network, where it has a decoder."""
        if isinstance(self.network, Sam):
            return self.network
        raise BadInput(
            f"{self.tag} is an encoder and has no decoder to draw with: "
            "load lvm_med.vit_b_sam, or a decoder that was trained on it."
        )

    def costly(self) -> tuple[nn.Module, tuple[int, ...]]:
        return features(self.network.image_encoder), (1, 3, self.side, self.side)

    def prepare(self, image: Image) -> Image:
        """8 bit per channel; what is not so already is shown through its display window."""
        if image.array.dtype == np.uint8 and not image.display.inverted:
            return image
        window = f"{image.display.low:g} to {image.display.high:g}"
        shown = np.rint(image.display(image.array) * 255).astype(np.uint8)
        return image.with_array(shown, replace(image.display, inverted=False)).noted(
            f"lvm_med saw the display window {window} in 8 bit"
        )

    def see(self, plane: Image) -> Seen:
        """The mean of the tokens before the neck and, for a decoder, the embedding after it."""
        height, width = plane.grid
        maps = self.run(network_input(plane.array, self.side))
        seen = tensors(pooled=maps.mean((-2, -1))[0], height=height, width=width)
        if self.config.decoder:
            with torch.inference_mode():
                seen["embedding"] = cast(nn.Module, self.network.image_encoder.neck)(maps)
        return seen

    def vector(self, seen: Seen) -> Float[np.ndarray, " dim"]:
        """What the paper's classifiers stand on."""
        return seen["pooled"].cpu().numpy()

    @torch.inference_mode()
    def draw(self, seen: Seen, prompt: PlanePrompt) -> PlaneMask:
        """The first mask for a box; its quality is SAM's head's, which this training does not supervise."""
        network = self.prompted()
        if prompt.box is None:
            raise UnsupportedPrompt(self.card.name, "a plane without a box", self.card.accepts)
        height, width = int(seen["height"]), int(seen["width"])
        box = torch.from_numpy(prompt.box / np.array([width, height]) * self.side).float().reshape(1, 4)
        logits, quality = network.ask(seen["embedding"], SamPrompts(boxes=box.to(self.device)))
        drawn = F.interpolate(logits[:, :1], size=(height, width), mode="bilinear", align_corners=False)
        return PlaneMask(drawn.sigmoid()[0, 0].cpu().numpy(), float(quality[0, 0].clamp(0, 1)))

    def batch(self, samples: Sequence[Sample], rng: np.random.Generator) -> SamBatch:
        """One object of each plane on the grid of the decoder's masks, in a box that is too large."""
        cells = 4 * self.config.encoder.grid
        masks = np.stack([nearest_resize(one_of(sample.masks, rng), cells, cells) for sample in samples])
        boxes = np.stack([pushed_box(mask, rng) for mask in masks]) * (self.side / cells)
        pixels = [network_input(self.prepare(sample.image).array, self.side) for sample in samples]
        prompts = SamPrompts(boxes=torch.from_numpy(boxes).float().reshape(-1, 4))
        return SamBatch(torch.cat(pixels), prompts, torch.from_numpy(masks).float()[:, None]).to(self.device)

    def loss(self, batch: SamBatch) -> Terms:
        """Dice with squared denominators and cross-entropy of the small logits, equally weighted."""
        logits, _ = self.prompted()(batch.pixels, batch.prompts)
        dice = (1 - squared_dice(logits[:, :1].sigmoid(), batch.masks)).mean()
        return Terms({"dice": dice, "cross_entropy": cross_entropy(logits[:, :1], batch.masks).mean()})


class EncoderAlone(nn.Module):
    """An encoder as it is published, without prompts and decoder."""

    def __init__(self, image_encoder: nn.Module):
        super().__init__()
        self.image_encoder = image_encoder

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c y x"]:
        return self.image_encoder(pixels)


class BeforeNeck(nn.Module):
    """SAM's image encoder up to its neck."""

    def __init__(self, image_encoder: ImageEncoder):
        super().__init__()
        self.image_encoder = image_encoder

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c y x"]:
        return rearrange(self.image_encoder.tokens(pixels), "b y x c -> b c y x")


class Classifier(nn.Module):
    """The paper's classification: the mean over all features, then a linear layer; the encoder frozen or tuned."""

    def __init__(self, image_encoder: nn.Module, width: int, classes: int):
        super().__init__()
        self.features = features(image_encoder)
        self.fc = nn.Linear(width, classes)

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b classes"]:
        return self.fc(self.features(pixels).mean((-2, -1)))


def features(image_encoder: nn.Module) -> nn.Module:
    """Pixels to the maps that are averaged: all of a ResNet, a ViT without its neck."""
    return image_encoder if isinstance(image_encoder, nn.Sequential) else BeforeNeck(cast(ImageEncoder, image_encoder))


def resnet(config: ResNetConfig) -> nn.Sequential:
    """torchvision's, by torchvision's names, without its pooling and classifier."""
    from torchvision.models.resnet import Bottleneck, ResNet

    whole = ResNet(Bottleneck, list(config.layers), width_per_group=config.group_width)
    return nn.Sequential(OrderedDict((n, part) for n, part in whole.named_children() if n not in ("avgpool", "fc")))


def network_input(picture: Num[np.ndarray, "c h w"], side: int) -> Float[Tensor, "1 3 side side"]:
    """Stretched, its range as 0..255 (never quite), blue first, normalised; grey is given to all three channels."""
    square = nearest_resize(picture, side, side).astype(np.float64)
    low, high = square.min(), square.max()
    values = torch.from_numpy((square - low) / (high - low + RANGE_FLOOR) * 255).float().expand(3, side, side).flip(0)
    mean, deviation = (torch.tensor(constants)[:, None, None] for constants in (MEAN, DEVIATION))
    return ((values - mean) / deviation)[None]


def one_of(masks: Bool[np.ndarray, "objects h w"], rng: np.random.Generator) -> Bool[np.ndarray, "h w"]:
    """One of the masks that are not empty; an empty one where all are."""
    there = np.flatnonzero(masks.any(axis=(1, 2)))
    return masks[rng.choice(there)] if there.size else np.zeros(masks.shape[1:], dtype=bool)


def pushed_box(mask: Bool[np.ndarray, "h w"], rng: np.random.Generator) -> Float[np.ndarray, "2 2"]:
    """The tight box with each side pushed out by 0 to 19 of 256, within the mask; a random box where it is empty."""
    last = np.array(mask.shape[::-1]) - 1
    if not mask.any():
        return np.sort(rng.integers(0, last, size=(2, 2), endpoint=True), axis=0).astype(float)
    low, high = tight_box(mask)
    outward = rng.integers(0, round(BOX_SHIFT / 256 * max(mask.shape)), size=(2, 2), endpoint=True)
    return np.clip([low - outward[0], high + outward[1]], 0, last)


SYSTEM = LvmMed
