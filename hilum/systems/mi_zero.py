"""MI-Zero — Lu, Chen, Zhang et al., Visual language pretrained multiple instance zero-shot transfer for histopathology
images (CVPR 2023).

A slide is a bag of tiles. Each tile, seen by CTransPath, is compared with texts of the classes; the slide's score of a
class is what its best few tiles say, or all of them; where their places are known, a tile first takes the mean score of
its neighbours. Nothing is learned of slides. The text's vector is a BERT's first state through a matrix, a class is the
mean of many texts. Public: code and weights (CC BY-NC-ND; this is written from a description). Deviations: the best
tiles' mean, which ranks as their sum does; the released call of the smoothing does not run, here it does; four of the
sixteen templates are known here; how training brings larger pictures to its side is ours.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image as Pillow
from torch import Tensor, nn

from hilum.capabilities.look import Seen, tensors
from hilum.capabilities.match import Matched, Score
from hilum.capabilities.system import System
from hilum.capabilities.trainable import Captioned
from hilum.nn.swin import SwinConfig
from hilum.objectives.contrastive import info_nce
from hilum.objectives.terms import Terms
from hilum.parts import tokens
from hilum.parts.bag_scores import best_sum, smoothed
from hilum.parts.bert import BertSizes, bert, first
from hilum.parts.colour_frame import as_colour
from hilum.parts.ctranspath import ctranspath
from hilum.parts.imagenet_frame import Picture, evaluated, normalised, opened_as_rgb
from hilum.parts.slide_prompts import TEMPLATES
from hilum.parts.tokens import Reading, Tokens
from hilum.parts.two_tower import groups, mean_of_units, unit
from hilum.values.image import Image
from hilum.values.prompts import Labels
from hilum.weights.rename import Table

TEMPERATURE = 0.07  # at birth (published code)
NEIGHBOURS = 8  # of a tile, itself among them (published code)
GLASS = (255, 255, 255)  # what training pads pictures with
SIDES = {"left": "right", "right": "left"}
ENDS = {"top": "bottom", "bottom": "top"}


@dataclass(frozen=True, slots=True)
class MiZeroConfig:
    """Sizes of both towers, the width in which they meet, how texts are read, and how tiles make a slide.

    `vision.image_size` is that of published tiles, 224; the encoder was trained at 448, and its file fits both.
    """

    vision: SwinConfig
    text: BertSizes
    reading: Reading
    embed: int = 512
    pool: Literal["best", "mean"] = "best"
    best: int = 5  # tiles (published: 1, 5, 50 and others)


READING = Reading("wordpiece", 64, whole=True)
CLINICAL = BertSizes(vocabulary=28996)  # Bio_ClinicalBERT, whose words are cased and whose tokenizer is not
TINY = MiZeroConfig(
    SwinConfig(image_size=32, dim=16, depths=(1, 2), heads=(2, 4), window=4),
    BertSizes(vocabulary=200, width=32, layers=2, heads=2, hidden=48, positions=24),
    Reading("hashed", 24, whole=True, size=200),
    embed=16,
)


class Head(nn.Module):
    """From the encoder's features to the width in which texts are met."""

    def __init__(self, features: int, embed: int):
        super().__init__()
        self.proj = nn.Linear(features, embed)

    def forward(self, features: Float[Tensor, "b d"]) -> Float[Tensor, "b dim"]:
        return self.proj(features)


class TileTower(nn.Module):
    """The mean of CTransPath's last patches, and a linear map; names are the published ones."""

    def __init__(self, config: MiZeroConfig):
        super().__init__()
        self.trunk = ctranspath(config.vision)
        self.head = Head(config.vision.features, config.embed)

    def forward(self, pixels: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b dim"]:
        return self.head(self.features(pixels))

    def features(self, pixels: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b d"]:
        """What the published pipeline stores of a tile."""
        return self.trunk(pixels).mean(dim=1)


class MiZeroNetwork(nn.Module):
    """Both towers, and the logarithm of the scale of their cosines."""

    def __init__(self, config: MiZeroConfig):
        super().__init__()
        self.visual = TileTower(config)
        self.transformer = bert(config.text)
        self.text_projection = nn.Parameter(torch.randn(config.text.width, config.embed) * config.text.width**-0.5)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / TEMPERATURE)))

    def texts(self, texts: Tokens) -> Float[Tensor, "n dim"]:
        """The first state of each text, through a matrix."""
        return first(self.transformer, texts.ids, texts.mask) @ self.text_projection


@dataclass(frozen=True, slots=True, eq=False)
class TileBatch:
    """Pictures as the network takes them, and their captions."""

    pixels: Float[Tensor, "b 3 s s"]
    texts: Tokens


class MiZero(System):
    """Bags of tiles against classes of tissue."""

    configs: ClassVar[dict[str, MiZeroConfig]] = {
        "ctranspath_448_bioclinicalbert": MiZeroConfig(SwinConfig(), CLINICAL, READING),
        "ctranspath_448_pubmedbert": MiZeroConfig(SwinConfig(), BertSizes(), READING),
    }
    table = Table()  # the parts carry the published names
    together: ClassVar[int] = 0
    network: MiZeroNetwork

    @classmethod
    def build(cls, config: MiZeroConfig) -> MiZeroNetwork:
        return MiZeroNetwork(config)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        return cls.seeded(TINY, seed)

    @property
    def side(self) -> int:
        """Pixels of a side that the network sees."""
        return self.config.vision.image_size

    def costly(self) -> tuple[nn.Module, tuple[int, ...]]:
        return self.network.visual, (1, 3, self.side, self.side)

    def prepare(self, image: Image) -> Image:
        """8 bit in three channels."""
        return as_colour(image, "mi_zero")

    def see(self, plane: Image) -> Seen:
        """The vector of one tile."""
        return tensors(vector=self.run(evaluated(plane.array, self.side, share=1.0))[0])

    def vector(self, seen: Seen) -> Float[np.ndarray, " dim"]:
        return seen["vector"].float().cpu().numpy()

    @torch.inference_mode()
    def worded(self, texts: Sequence[str]) -> Float[np.ndarray, "n dim"]:
        return self.encoded(texts).float().cpu().numpy()

    def encoded(self, texts: Sequence[str]) -> Float[Tensor, "n dim"]:
        """Of each text its projected first state."""
        return self.network.texts(self.read(texts))

    def read(self, texts: Sequence[str]) -> Tokens:
        """Texts as ids, all padded to the context."""
        return tokens.tokenizer(self.config.reading, lambda: self.file(tokens.VOCABULARY))(texts).to(self.device)

    @torch.inference_mode()
    def matched(self, seen: Sequence[Seen], labels: Labels) -> Matched:
        """All pictures together are one bag."""
        return self.slide(torch.stack([each["vector"].to(self.device) for each in seen]), labels)

    @torch.inference_mode()
    def slide(
        self, tiles: Float[Tensor, "tiles dim"], labels: Labels, *, neighbours: Int[Tensor, "tiles k"] | None = None
    ) -> Matched:
        """The classes of a bag by its tiles' vectors; `neighbours` (`bag_scores.nearest`) are scored together."""
        texts = labels.said(TEMPLATES)
        scores = unit(tiles) @ mean_of_units(groups(self.encoded, texts)).T
        pooled = self.pooled(scores if neighbours is None else smoothed(scores, neighbours))
        return Matched(pooled.cpu().numpy(), pooled.softmax(dim=0).cpu().numpy(), texts)

    def scorer(self, labels: Labels) -> Score:
        texts = mean_of_units(groups(self.encoded, labels.said(TEMPLATES)))
        return lambda seen: self.pooled(unit(torch.stack([each["vector"].to(self.device) for each in seen])) @ texts.T)

    def shows(self, size: tuple[int, int]) -> tuple[float, float]:
        return min(size), min(size)

    def pooled(self, scores: Float[Tensor, "tiles classes"]) -> Float[Tensor, " classes"]:
        """The mean of the best tiles of each class, or of all."""
        count = min(self.config.best, len(scores)) if self.config.pool == "best" else len(scores)
        return best_sum(scores, count) / count

    def pairs(self, samples: Sequence[Captioned], rng: np.random.Generator) -> TileBatch:
        """Pictures mirrored at random, whose captions then say so."""
        turned = [self.mirrored(self.prepare(each.image).array, each.text or " ", rng) for each in samples]
        pixels = torch.cat([normalised(picture) for picture, _ in turned])
        return TileBatch(pixels.to(self.device), self.read([text for _, text in turned]))

    def mirrored(self, picture: Picture, text: str, rng: np.random.Generator) -> tuple[Pillow.Image, str]:
        """A picture padded to the side, perhaps mirrored either way, and the sides and ends that its text names."""
        opened = padded(opened_as_rgb(picture), self.side)
        if rng.random() < 0.5:
            opened, text = opened.transpose(Pillow.Transpose.FLIP_LEFT_RIGHT), exchanged(text, SIDES)
        if rng.random() < 0.5:
            opened, text = opened.transpose(Pillow.Transpose.FLIP_TOP_BOTTOM), exchanged(text, ENDS)
        return opened, text

    def loss(self, batch: TileBatch) -> Terms:
        """Symmetric InfoNCE by the learned temperature."""
        image, text = unit(self.network.visual(batch.pixels)), unit(self.network.texts(batch.texts))
        return Terms({"contrast": info_nce(self.network.logit_scale.exp() * image @ text.T)})


def padded(picture: Pillow.Image, side: int) -> Pillow.Image:
    """In the middle of a square of glass; a picture that is larger is first made smaller."""
    small = picture.copy()
    small.thumbnail((side, side), Pillow.Resampling.BICUBIC)
    square = Pillow.new("RGB", (side, side), GLASS)
    square.paste(small, ((side - small.size[0]) // 2, (side - small.size[1]) // 2))
    return square


def exchanged(text: str, words: dict[str, str]) -> str:
    """The text with words for each other, whole words only; a capital stays one."""

    def other(found: re.Match[str]) -> str:
        new = words[found[0].lower()]
        return new.capitalize() if found[0][0].isupper() else new

    return re.sub(rf"\b({'|'.join(words)})\b", other, text, flags=re.IGNORECASE)


SYSTEM = MiZero
