"""BiomedCLIP — Zhang, Xu, Usuyama et al., A multimodal biomedical foundation model trained from fifteen million
image–text pairs (NEJM AI 2024; arXiv 2303.00915).

A ViT-B/16 and PubMedBERT in CLIP's manner, grown on figures of PubMed Central and their captions. A picture's vector is
the linear map of its class token, a text's that of BERT's first state through two layers without bias; texts have room
for 256 ids, since captions are long. A label is scored as "this is a photo of {label}", and the learned temperature
turns cosines into a softmax over the labels given. Public: weights (MIT), as open_clip's. Deviations: padding, which
nobody sees, is cut off before the text is read; in training nothing is augmented, since the sources here name nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hilum.capabilities.look import Seen, tensors
from hilum.capabilities.match import Matched, Score
from hilum.capabilities.system import System
from hilum.capabilities.trainable import Captioned
from hilum.nn.vit import Vit, VitConfig
from hilum.objectives.contrastive import info_nce
from hilum.objectives.terms import Terms
from hilum.parts import tokens
from hilum.parts.bert import BertSizes, bert, first
from hilum.parts.colour_frame import as_colour
from hilum.parts.imagenet_frame import OPENAI, evaluated
from hilum.parts.tokens import Reading
from hilum.parts.two_tower import groups, mean_of_units, unit
from hilum.values.image import Image
from hilum.values.prompts import Labels
from hilum.weights.rename import Table

TEMPLATES = ("this is a photo of {}",)  # (the published model card)
TEMPERATURE = 0.07  # at birth (Radford et al. 2021, sec. 2.5)


@dataclass(frozen=True, slots=True)
class BiomedClipConfig:
    """Sizes of both towers, the width in which they meet, and how texts are read."""

    vision: VitConfig
    text: BertSizes
    reading: Reading
    embed: int = 512


PAPER = BiomedClipConfig(  # the published open_clip_config.json: timm's vit_base_patch16_224, BERT-base
    VitConfig(image_size=224, patch=16, dim=768, depth=12, heads=12),
    BertSizes(),
    Reading("wordpiece", 256, whole=True),
)
POCKET = BiomedClipConfig(  # ours; a small ResNet makes the patches: a plain ViT wants more pictures than there are
    VitConfig(image_size=128, patch=16, dim=256, depth=3, heads=4, stem=(32, 64, 128, 192)),
    BertSizes(vocabulary=4000, width=192, layers=3, heads=4, hidden=768, positions=64),
    Reading("wordpiece", 64),
    embed=256,
)
TINY = BiomedClipConfig(
    VitConfig(image_size=32, patch=16, dim=24, depth=2, heads=2),
    BertSizes(vocabulary=200, width=32, layers=2, heads=2, hidden=48, positions=24),
    Reading("hashed", 24, whole=True, size=200),
    embed=16,
)


class PictureTower(nn.Module):
    """The class token after the last norm, and a linear map; names are open_clip's."""

    def __init__(self, config: BiomedClipConfig):
        super().__init__()
        self.trunk = Vit(config.vision)
        self.head = nn.ModuleDict({"proj": nn.Linear(config.vision.dim, config.embed, bias=False)})

    def forward(self, pixels: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b dim"]:
        return self.head["proj"](self.trunk(pixels)[:, 0])


class TextTower(nn.Module):
    """BERT's first state through two layers without bias; names are open_clip's."""

    def __init__(self, config: BiomedClipConfig):
        super().__init__()
        width, embed = config.text.width, config.embed
        between = (width + embed) // 2
        self.pad = config.text.pad
        self.transformer = bert(config.text)
        self.proj = nn.Sequential(
            nn.Linear(width, between, bias=False), nn.GELU(), nn.Linear(between, embed, bias=False)
        )

    def forward(self, ids: Int[Tensor, "n length"]) -> Float[Tensor, "n dim"]:
        return self.proj(first(self.transformer, ids, ids != self.pad))


class BiomedClipNetwork(nn.Module):
    """Both towers, and the logarithm of the scale of their cosines."""

    def __init__(self, config: BiomedClipConfig):
        super().__init__()
        self.visual = PictureTower(config)
        self.text = TextTower(config)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / TEMPERATURE)))


@dataclass(frozen=True, slots=True, eq=False)
class FigureBatch:
    """Pictures as the network takes them, and the ids of their captions."""

    pixels: Float[Tensor, "b 3 s s"]
    ids: Int[Tensor, "b length"]


class BiomedClip(System):
    """Pictures of any biomedical kind against labels."""

    configs: ClassVar[dict[str, BiomedClipConfig]] = {"vit_b_16": PAPER, "pocket": POCKET}
    table = Table()  # the parts carry the published names
    together: ClassVar[int] = 1
    network: BiomedClipNetwork

    @classmethod
    def build(cls, config: BiomedClipConfig) -> BiomedClipNetwork:
        return BiomedClipNetwork(config)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        return cls.seeded(TINY, seed)

    def costly(self) -> tuple[nn.Module, tuple[int, ...]]:
        side = self.config.vision.image_size
        return self.network.visual, (1, 3, side, side)

    def prepare(self, image: Image) -> Image:
        """8 bit in three channels."""
        return as_colour(image, "biomedclip")

    def see(self, plane: Image) -> Seen:
        """The vector of one picture."""
        return tensors(vector=self.run(self.pixels(plane)))

    def vector(self, seen: Seen) -> Float[np.ndarray, " dim"]:
        return seen["vector"][0].float().cpu().numpy()

    def pixels(self, plane: Image) -> Float[Tensor, "1 3 s s"]:
        """The middle of the picture, its short side at the network's."""
        return evaluated(plane.array, self.config.vision.image_size, share=1.0, statistics=OPENAI)

    @torch.inference_mode()
    def worded(self, texts: Sequence[str]) -> Float[np.ndarray, "n dim"]:
        return self.encoded(texts).float().cpu().numpy()

    def encoded(self, texts: Sequence[str]) -> Float[Tensor, "n dim"]:
        """The projected first state of each text."""
        return self.network.text(self.read(texts))

    def read(self, texts: Sequence[str]) -> Int[Tensor, "n length"]:
        """Texts as ids, all padded to the context."""
        read = tokens.tokenizer(self.config.reading, lambda: self.file(tokens.VOCABULARY))
        return read(texts).ids.to(self.device)

    @torch.inference_mode()
    def matched(self, seen: Sequence[Seen], labels: Labels) -> Matched:
        """Cosines with each label, and their softmax by the learned temperature."""
        cosines = self.scorer(labels)(seen)
        share = (self.network.logit_scale.exp() * cosines).softmax(dim=0)
        return Matched(cosines.cpu().numpy(), share.cpu().numpy(), labels.said(TEMPLATES))

    def scorer(self, labels: Labels) -> Score:
        texts = mean_of_units(groups(self.encoded, labels.said(TEMPLATES)))
        return lambda seen: texts @ unit(seen[0]["vector"].to(self.device))[0]

    def shows(self, size: tuple[int, int]) -> tuple[float, float]:
        return min(size), min(size)

    def pairs(self, samples: Sequence[Captioned], rng: np.random.Generator) -> FigureBatch:
        """Pictures and captions as they are."""
        pixels = torch.cat([self.pixels(self.prepare(each.image)) for each in samples])
        return FigureBatch(pixels.to(self.device), self.read([each.text for each in samples]))

    def loss(self, batch: FigureBatch) -> Terms:
        """Symmetric InfoNCE by the learned temperature (as CLIP's)."""
        return Terms({"contrast": info_nce(self.logits(batch))})

    def logits(self, batch: FigureBatch) -> Float[Tensor, "b b"]:
        """exp(logit_scale) times the cosines: rows are pictures, columns are captions."""
        image, text = unit(self.network.visual(batch.pixels)), unit(self.network.text(batch.ids))
        return self.network.logit_scale.exp() * image @ text.T


SYSTEM = BiomedClip
