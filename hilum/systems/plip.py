"""PLIP — Huang, Bianchi, Yuksekgonul, Montine, Zou, A visual–language foundation model for pathology image analysis
using medical Twitter (Nature Medicine 2023).

OpenAI's CLIP, ViT-B/32, tuned on pictures of stained tissue and what pathologists wrote beneath them in public posts.
A class is one caption, "An H&E image of {label}."; the softmax over the captions' cosines, each times the learned
temperature, is its share. Public: code, and the weights in the layout of transformers' CLIP. The published interface
has habits of its own: its zero-shot scores leave the texts' vectors as long as they are, and its search for pictures
leaves the pictures' so (`scores_by_interface`, `nearest`). Deviation: the default score is that of the published
example with transformers, which normalises both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image as Pillow
from torch import Tensor, nn

from hilum.capabilities.look import Seen, tensors
from hilum.capabilities.match import Matched, Score
from hilum.capabilities.system import System
from hilum.capabilities.trainable import Captioned
from hilum.objectives.contrastive import info_nce
from hilum.objectives.terms import Terms
from hilum.parts import tokens
from hilum.parts.colour_frame import as_colour
from hilum.parts.hub_clip import HubClipConfig, TowerConfig, VisionVector, clip, text_vector
from hilum.parts.imagenet_frame import OPENAI, Picture, normalised, opened_as_rgb
from hilum.parts.tissue_warp import tilted, warped
from hilum.parts.tokens import Reading
from hilum.parts.two_tower import groups, mean_of_units, unit
from hilum.values.image import Image
from hilum.values.prompts import Labels
from hilum.weights.rename import Table

TEMPLATES = ("An H&E image of {}.",)  # the published default of the evaluation
STORED = 512  # pixels of the short side that training cuts from


@dataclass(frozen=True, slots=True)
class PlipConfig:
    """CLIP's sizes, and how texts are read."""

    clip: HubClipConfig
    reading: Reading


PAPER = PlipConfig(HubClipConfig(), Reading("clip", 77, whole=True))  # CLIP's ViT-B/32 (the paper's methods)
TINY = PlipConfig(
    HubClipConfig(
        embed=16,
        vision=TowerConfig(width=32, layers=1, heads=2, inner=64),
        text=TowerConfig(width=32, layers=1, heads=2, inner=64),
        image_size=32,
        patch=16,
        context=24,
        vocabulary=200,
    ),
    Reading("hashed", 24, whole=True, size=200),
)


@dataclass(frozen=True, slots=True, eq=False)
class TissueBatch:
    """Pictures as the network takes them, and the ids of their captions."""

    pixels: Float[Tensor, "b 3 s s"]
    ids: Int[Tensor, "b length"]


class Plip(System):
    """Pictures of stained tissue against captions."""

    configs: ClassVar[dict[str, PlipConfig]] = {"vit_b_32": PAPER}
    table = Table()  # the published names are transformers'
    together: ClassVar[int] = 1

    @classmethod
    def build(cls, config: PlipConfig) -> nn.Module:
        return clip(config.clip)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        return cls.seeded(TINY, seed)

    def costly(self) -> tuple[nn.Module, tuple[int, ...]]:
        side = self.config.clip.image_size
        return VisionVector(self.network), (1, 3, side, side)

    def prepare(self, image: Image) -> Image:
        """Three channels of 8 bit."""
        return as_colour(image, "plip")

    def see(self, plane: Image) -> Seen:
        """The vector of one picture."""
        return tensors(vector=self.run(self.pixels(plane.array))[0])

    def vector(self, seen: Seen) -> Float[np.ndarray, " dim"]:
        return seen["vector"].float().cpu().numpy()

    def pixels(self, picture: Picture) -> Float[Tensor, "1 3 s s"]:
        """The middle of the picture, by its short side; an odd pixel is left over at right and below (transformers)."""
        side = self.config.clip.image_size
        small = short_side(picture, side)
        left, top = ((length - side) // 2 for length in small.size)
        return normalised(small.crop((left, top, left + side, top + side)), OPENAI)

    @torch.inference_mode()
    def worded(self, texts: Sequence[str]) -> Float[np.ndarray, "n dim"]:
        return self.encoded(texts).float().cpu().numpy()

    def ids(self, texts: Sequence[str]) -> Int[Tensor, "n length"]:
        """The texts' ids; what stands behind a text's end is never looked at."""
        return tokens.tokenizer(self.config.reading, lambda: self.file(tokens.VOCABULARY))(texts).ids.to(self.device)

    def encoded(self, texts: Sequence[str]) -> Float[Tensor, "n dim"]:
        """Of each text the projected feature at its end."""
        return text_vector(self.network, self.ids(texts))

    @torch.inference_mode()
    def matched(self, seen: Sequence[Seen], labels: Labels) -> Matched:
        """Cosines, and their softmax over the labels by the learned temperature."""
        cosine = self.scorer(labels)(seen)
        share = (self.scale() * cosine).softmax(dim=-1)
        return Matched(cosine.cpu().numpy(), share.cpu().numpy(), labels.said(TEMPLATES))

    def scorer(self, labels: Labels) -> Score:
        texts = mean_of_units(groups(self.encoded, labels.said(TEMPLATES)))
        return lambda seen: texts @ unit(seen[0]["vector"].to(self.device))

    def shows(self, size: tuple[int, int]) -> tuple[float, float]:
        return min(size), min(size)

    def scale(self) -> Float[Tensor, ""]:
        """The learned inverse temperature."""
        return self.network.logit_scale.exp()  # type: ignore[union-attr, operator]

    def pairs(self, samples: Sequence[Captioned], rng: np.random.Generator) -> TissueBatch:
        """Pictures cut and warped at random, and their captions."""
        pictures = [self.cut(self.prepare(each.image).array, rng) for each in samples]
        ids = self.ids([each.text or " " for each in samples])
        return TissueBatch(torch.cat(pictures).to(self.device), ids)

    def cut(self, picture: Picture, rng: np.random.Generator) -> Float[Tensor, "1 3 s s"]:
        """A square of the picture at a short side of 512, perhaps mirrored, turned, sheared, and seen from aside."""
        stored, side = short_side(picture, STORED), self.config.clip.image_size
        left, top = (int(rng.integers(length - side, endpoint=True)) for length in stored.size)
        square = stored.crop((left, top, left + side, top + side))
        if rng.random() < 0.5:
            square = square.transpose(Pillow.Transpose.FLIP_LEFT_RIGHT)
        return normalised(tilted(warped(square, rng), rng), OPENAI)

    def loss(self, batch: TissueBatch) -> Terms:
        """Symmetric InfoNCE by the learned temperature (CLIP's, the paper's methods)."""
        image, text = self.vectors(batch)
        return Terms({"contrast": info_nce(self.scale() * image @ text.T)})

    def vectors(self, batch: TissueBatch) -> tuple[Float[Tensor, "b dim"], Float[Tensor, "b dim"]]:
        """Pictures' and captions' vectors at length one."""
        return unit(VisionVector(self.network)(batch.pixels)), unit(text_vector(self.network, batch.ids))


def short_side(picture: Picture, side: int) -> Pillow.Image:
    """With `side` pixels at its short side, bicubic; the long one is cut to whole pixels."""
    opened = opened_as_rgb(picture)
    width, height = (int(side * length / min(opened.size)) for length in opened.size)
    return opened.resize((width, height), Pillow.Resampling.BICUBIC)


def scores_by_interface(
    images: Float[Tensor, "b dim"], texts: Float[Tensor, "classes dim"]
) -> Float[Tensor, "b classes"]:
    """Zero-shot scores as the published interface has them: a long text vector weighs more."""
    return unit(images) @ texts.T


def nearest(images: Float[Tensor, "n dim"], texts: Float[Tensor, "q dim"], most: int) -> Int[Tensor, "q most"]:
    """The pictures that the published interface finds for each text, best first: a long picture vector weighs more."""
    return (unit(texts) @ images.T).topk(most, dim=-1).indices


SYSTEM = Plip
