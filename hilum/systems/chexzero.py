"""CheXzero — Tiu, Talius, Patel, Langlotz, Ng, Rajpurkar, Expert-level detection of pathologies from unannotated chest
X-ray images via self-supervised learning (Nature Biomedical Engineering 2022).

OpenAI's CLIP, ViT-B/32, tuned on chest films and the impressions of their reports. A finding is scored without labels:
the film is compared with "{finding}" and "no {finding}", and the softmax over the two cosines, without the learned
temperature, is what is called its probability; the paper's number is the mean over ten checkpoints. Public: code (MIT)
and the checkpoints. Deviations: a label that itself begins with "no" is turned round, since the published pair "no
finding" / "no no finding" says nothing; films come in by their own display window rather than by a converted file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from hilum.capabilities.look import Seen, tensors
from hilum.capabilities.match import Matched, Score
from hilum.capabilities.system import System
from hilum.capabilities.trainable import Captioned
from hilum.objectives.contrastive import info_nce
from hilum.objectives.terms import Terms
from hilum.parts import grey_frame, tokens
from hilum.parts.clip import ClipConfig, clip
from hilum.parts.tokens import Reading
from hilum.parts.two_tower import groups, mean_of_units, pair_softmax, unit
from hilum.values.image import Image
from hilum.values.prompts import Labels
from hilum.weights.rename import Table

STORED = 320  # pixels of a side that films are stored at (published preprocessing)
MEAN, DEVIATION = 101.48761, 83.43944  # of stored films, on 0..255 (ibid.)
TEMPLATES, DENIALS = ("{}",), ("no {}",)  # (the paper's methods)


@dataclass(frozen=True, slots=True)
class CheXzeroConfig:
    """CLIP's sizes, and how texts are read. `antialias`: torchvision before 0.17, which the numbers of the paper were
    made with, did not smooth tensors that it made smaller."""

    clip: ClipConfig
    reading: Reading
    antialias: bool = False


VIT_B_32 = ClipConfig()  # OpenAI's ViT-B/32 (the paper's methods)
PAPER = CheXzeroConfig(VIT_B_32, Reading("clip", 77, whole=True))
TINY = CheXzeroConfig(
    ClipConfig(
        embed=16,
        image_size=32,
        patch=16,
        vision_width=64,
        vision_layers=1,
        context=24,
        vocabulary=200,
        text_width=32,
        text_heads=2,
        text_layers=1,
    ),
    Reading("hashed", 24, whole=True, size=200),
)


@dataclass(frozen=True, slots=True, eq=False)
class FilmBatch:
    """Films as the network takes them, and the ids of their impressions."""

    pixels: Float[Tensor, "b 3 s s"]
    ids: Int[Tensor, "b length"]


class CheXzero(System):
    """Chest films against findings and their denials."""

    configs: ClassVar[dict[str, CheXzeroConfig]] = {"vit_b_32": PAPER}
    table = Table()  # the published names are open_clip's
    together: ClassVar[int] = 1

    @classmethod
    def build(cls, config: CheXzeroConfig) -> nn.Module:
        return clip(config.clip)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        return cls.seeded(TINY, seed)

    def costly(self) -> tuple[nn.Module, tuple[int, ...]]:
        side = self.config.clip.image_size
        return self.network.visual, (1, 3, side, side)  # type: ignore[union-attr, return-value]

    def prepare(self, image: Image) -> Image:
        """One channel of 8 bit."""
        return grey_frame.as_grey(image, "chexzero")

    def see(self, plane: Image) -> Seen:
        """The vector of one film."""
        return tensors(vector=self.run(self.pixels(plane.array[0])))

    def vector(self, seen: Seen) -> Float[np.ndarray, " dim"]:
        return seen["vector"][0].float().cpu().numpy()

    def pixels(self, film: grey_frame.Grey) -> Float[Tensor, "1 3 s s"]:
        """Stored at 320, less the mean, and only then brought to the network's side: the published order."""
        stored = torch.from_numpy(grey_frame.fitted(film, STORED)).float().expand(1, 3, -1, -1)
        return self.resized(normalised(stored))

    def resized(self, films: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 s s"]:
        """Bicubic on numbers; as they are where they have the network's side."""
        side = self.config.clip.image_size
        if films.shape[-1] == side:
            return films
        return F.interpolate(
            films, size=(side, side), mode="bicubic", align_corners=False, antialias=self.config.antialias
        )

    @torch.inference_mode()
    def worded(self, texts: Sequence[str]) -> Float[np.ndarray, "n dim"]:
        return self.encoded(texts).float().cpu().numpy()

    def encoded(self, texts: Sequence[str]) -> Float[Tensor, "n dim"]:
        """Of each text the projected feature at its last id."""
        read = tokens.tokenizer(self.config.reading, lambda: self.file(tokens.VOCABULARY))
        return self.network.encode_text(read(texts).ids.to(self.device))  # type: ignore[union-attr, operator]

    @torch.inference_mode()
    def matched(self, seen: Sequence[Seen], labels: Labels) -> Matched:
        """Softmax over the cosines with a finding and with its denial, without a temperature."""
        turned = [name.lower().startswith("no ") for name in labels.names]
        said = labels.said(TEMPLATES)
        denied = [
            (name[3:],) if turn and not own else own or (f"no {name}",)
            for name, turn, own in zip(labels.names, turned, labels.opposites or ((),) * len(turned), strict=True)
        ]
        image = unit(seen[0]["vector"].to(self.device))[0]
        positive, negative = self.scorer(labels)(seen), mean_of_units(groups(self.encoded, denied)) @ image
        share = pair_softmax(positive, negative)
        texts = [(*own, *other) for own, other in zip(said, denied, strict=True)]
        return Matched(positive.cpu().numpy(), share.cpu().numpy(), texts)

    def scorer(self, labels: Labels) -> Score:
        texts = mean_of_units(groups(self.encoded, labels.said(TEMPLATES)))
        return lambda seen: texts @ unit(seen[0]["vector"].to(self.device))[0]

    def shows(self, size: tuple[int, int]) -> tuple[float, float]:
        return max(size), max(size)

    def pairs(self, samples: Sequence[Captioned], rng: np.random.Generator) -> FilmBatch:
        """Films and impressions as they are: nothing is augmented."""
        films = [self.pixels(self.prepare(each.image).array[0]) for each in samples]
        read = tokens.tokenizer(self.config.reading, lambda: self.file(tokens.VOCABULARY))
        ids = read([each.text or " " for each in samples]).ids
        return FilmBatch(torch.cat(films).to(self.device), ids.to(self.device))

    def loss(self, batch: FilmBatch) -> Terms:
        """Symmetric InfoNCE by the learned temperature, which nothing clamps."""
        return Terms({"contrast": info_nce(self.logits(batch))})

    def logits(self, batch: FilmBatch) -> Float[Tensor, "b b"]:
        """exp(logit_scale) times the cosines: rows are films, columns are texts."""
        network = self.network
        image, text = unit(network.visual(batch.pixels)), unit(network.encode_text(batch.ids))  # type: ignore[union-attr, operator]
        return network.logit_scale.exp() * image @ text.T  # type: ignore[union-attr, operator]


def normalised(films: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """From 0..255."""
    return (films - MEAN) / DEVIATION


def standardised(similarity: Float[Tensor, "b classes"]) -> Float[Tensor, "b classes"]:
    """The published scores by one template alone: standardised over the classes of a film, then a sigmoid."""
    mean, deviation = similarity.mean(-1, keepdim=True), similarity.std(-1, correction=0, keepdim=True)
    return ((similarity - mean) / deviation).sigmoid()


SYSTEM = CheXzero
