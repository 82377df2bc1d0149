"""MedCLIP — Wang, Wu, Agarwal, Sun, MedCLIP: contrastive learning from unpaired medical images and text (EMNLP 2022).

Films and sentences need not belong together: what labels say of each makes soft targets, so that every film attracts
every sentence that says the same. A Swin-T (or ResNet-50) sees the film; of Bio_ClinicalBERT the first, second and last
layers' states are averaged, over the padding too. A class is several phrases; its score is that of the best of them, or
their mean. Public: code, and weights in archives. Deviations: the phrases of the five classes have the published form
and our words; a text alone is read without padding; sentences are exchanged or shortened, but no synonyms are put in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image as Pillow
from torch import Tensor, nn

from hilum.capabilities.look import Seen, tensors
from hilum.capabilities.match import Matched, Score
from hilum.capabilities.system import System
from hilum.capabilities.trainable import Captioned
from hilum.objectives.contrastive import soft_semantic
from hilum.objectives.terms import Terms
from hilum.parts import chest_phrases, film_warp, grey_frame, tokens
from hilum.parts.bert import BertSizes, bert, states
from hilum.parts.film_warp import Warp
from hilum.parts.hub_swin import SwinSizes, swin
from hilum.parts.resnet import ResNet, ResNetSizes
from hilum.parts.reworded import reworded
from hilum.parts.tokens import Reading, Tokens
from hilum.parts.two_tower import read_once, unit
from hilum.values.image import Image
from hilum.values.prompts import Labels
from hilum.weights.rename import Table
from hilum.weights.tables.hub_swin import OLD_NAMES

MEAN, DEVIATION = 0.5862785803043838, 0.27950088968644304  # of films in 0..1 (published preprocessing)
STATES = (1, 2, -1)  # of the text's layers; 0 would be the embeddings (published code)
TEMPERATURE, MOST = 0.07, 4.6052  # at birth, and the highest logarithm of the scale (ibid.)
PHRASES = 10  # drawn for a class (published evaluation)
STORED = 256 / 224  # of the side that training cuts from (published training)
WARP = Warp(light=0.2, degrees=10.0, scale=(0.8, 1.1), shift=0.0625)  # (ibid.)
BY = {"bilinear": Pillow.Resampling.BILINEAR, "bicubic": Pillow.Resampling.BICUBIC}
NOTHING = "no finding"


@dataclass(frozen=True, slots=True)
class MedClipConfig:
    """Sizes of both towers, and the choices that the published code leaves open.

    `phrase` makes one score of a class's phrases; `resize` is bilinear in the published evaluation, bicubic in its
    processor.
    """

    vision: SwinSizes | ResNetSizes
    text: BertSizes
    reading: Reading
    embed: int = 512
    side: int = 224
    phrase: Literal["max", "mean"] = "max"
    resize: Literal["bilinear", "bicubic"] = "bilinear"


CLINICAL = BertSizes(vocabulary=28996)  # Bio_ClinicalBERT: BERT-base with BioBERT's cased words
READING = Reading("wordpiece", 77)  # lower-cased all the same, as its tokenizer does
TINY = MedClipConfig(
    SwinSizes(image_size=32, dim=16, depths=(1, 2), heads=(2, 4), window=4),
    BertSizes(vocabulary=200, width=32, layers=3, heads=2, hidden=48, positions=24),
    Reading("hashed", 24, size=200),
    embed=16,
    side=32,
)


class SwinVision(nn.Module):
    """The mean of Swin's last states, and a linear map; names are the published ones."""

    def __init__(self, sizes: SwinSizes, embed: int):
        super().__init__()
        self.model = swin(sizes)
        self.projection_head = nn.Linear(sizes.features, embed, bias=False)

    def forward(self, films: Float[Tensor, "b 1 s s"]) -> Float[Tensor, "b dim"]:
        return self.projection_head(self.model(films.expand(-1, 3, -1, -1)).pooler_output)


class ResNetVision(nn.Module):
    """The mean of a ResNet's last maps, and a linear map in place of its classifier."""

    def __init__(self, sizes: ResNetSizes, embed: int):
        super().__init__()
        self.model = ResNet(sizes)
        self.model.fc = nn.Linear(sizes.features, embed, bias=False)

    def forward(self, films: Float[Tensor, "b 1 s s"]) -> Float[Tensor, "b dim"]:
        return self.model.fc(self.model(films.expand(-1, 3, -1, -1)).mean(dim=(2, 3)))


class TextTower(nn.Module):
    """The mean of three layers' states over all places, padding among them, and a linear map. The pooler rests."""

    def __init__(self, sizes: BertSizes, embed: int):
        super().__init__()
        self.model = bert(sizes, pooler=True)
        self.model.pooler.requires_grad_(False)
        self.projection_head = nn.Linear(sizes.width, embed, bias=False)

    def forward(self, texts: Tokens) -> Float[Tensor, "n dim"]:
        layers = states(self.model, texts.ids, texts.mask)
        return self.projection_head(torch.stack([layers[place] for place in STATES]).mean(dim=(0, 2)))


class MedClipNetwork(nn.Module):
    """Both towers, and the logarithm of the scale of their cosines."""

    def __init__(self, config: MedClipConfig):
        super().__init__()
        vision, embed = config.vision, config.embed
        self.vision_model = SwinVision(vision, embed) if isinstance(vision, SwinSizes) else ResNetVision(vision, embed)
        self.text_model = TextTower(config.text, embed)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / TEMPERATURE)))

    def scale(self) -> Float[Tensor, ""]:
        """The learned scale; its logarithm is first brought back into 0 to 4.6052, in place, as published."""
        with torch.no_grad():
            if not 0 <= float(self.logit_scale) <= MOST:  # written only where it must be: weights count their changes
                self.logit_scale.clamp_(0, MOST)
        return self.logit_scale.exp()


@dataclass(frozen=True, slots=True, eq=False)
class FilmBatch:
    """Films, texts that need not belong to them, the texts said otherwise, and what is known of films and texts."""

    films: Float[Tensor, "n 1 s s"]
    texts: Tokens
    reworded: Tokens | None
    of_films: Float[Tensor, "n findings"]
    of_texts: Float[Tensor, "m findings"]


class MedClip(System):
    """Chest films against findings, each said in several ways."""

    configs: ClassVar[dict[str, MedClipConfig]] = {
        "swin_t": MedClipConfig(SwinSizes(), CLINICAL, READING),
        "resnet50": MedClipConfig(ResNetSizes(), CLINICAL, READING),
    }
    table = Table(OLD_NAMES)  # of Swin's blocks; all other names are the published ones
    together: ClassVar[int] = 1
    network: MedClipNetwork

    @classmethod
    def build(cls, config: MedClipConfig) -> MedClipNetwork:
        return MedClipNetwork(config)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        return cls.seeded(TINY, seed)

    def costly(self) -> tuple[nn.Module, tuple[int, ...]]:
        return self.network.vision_model, (1, 1, self.config.side, self.config.side)

    def prepare(self, image: Image) -> Image:
        """One channel of 8 bit."""
        return grey_frame.as_grey(image, "medclip")

    def see(self, plane: Image) -> Seen:
        """The vector of one film."""
        return tensors(vector=self.run(self.pixels(plane.array[0])))

    def vector(self, seen: Seen) -> Float[np.ndarray, " dim"]:
        return seen["vector"][0].float().cpu().numpy()

    def pixels(self, film: grey_frame.Grey) -> Float[Tensor, "1 1 s s"]:
        """Padded to a square of the network's side or more, then resized."""
        side = self.config.side
        square = Pillow.fromarray(grey_frame.squared(film, side))
        return normalised(np.array(square.resize((side, side), BY[self.config.resize])))

    @torch.inference_mode()
    def worded(self, texts: Sequence[str]) -> Float[np.ndarray, "n dim"]:
        """Each text is read alone, so that its vector does not depend on the others."""
        return torch.cat([self.encoded([text]) for text in texts]).float().cpu().numpy()

    def encoded(self, texts: Sequence[str]) -> Float[Tensor, "n dim"]:
        """Texts padded to the longest of them, which their vectors depend on."""
        return self.network.text_model(self.read(texts))

    def read(self, texts: Sequence[str]) -> Tokens:
        """Texts as ids."""
        return tokens.tokenizer(self.config.reading, lambda: self.file(tokens.VOCABULARY))(texts).to(self.device)

    def phrases(self, labels: Labels) -> tuple[tuple[str, ...], ...]:
        """Of each label its own texts, its templates, else phrases of its grid, else its name."""
        if labels.templates:
            return labels.said(())
        own = labels.texts or ((),) * len(labels.names)
        return tuple(texts or chest_phrases.drawn(name, PHRASES) for name, texts in zip(labels.names, own, strict=True))

    @torch.inference_mode()
    def matched(self, seen: Sequence[Seen], labels: Labels) -> Matched:
        """Cosines with the phrases of each label, their greatest or mean; softmax by the learned scale."""
        cosines = self.scorer(labels)(seen)
        share = (self.network.scale() * cosines).softmax(dim=0)
        return Matched(cosines.cpu().numpy(), share.cpu().numpy(), self.phrases(labels))

    def scorer(self, labels: Labels) -> Score:
        texts = [unit(read_once(self.encoded, each)) for each in self.phrases(labels)]

        def score(seen: Sequence[Seen]) -> Float[Tensor, " labels"]:
            image = unit(seen[0]["vector"].to(self.device))[0]
            return torch.stack([self.of_class(each @ image) for each in texts])

        return score

    def shows(self, size: tuple[int, int]) -> tuple[float, float]:
        side = max(*size, self.config.side)
        return side, side

    def of_class(self, by_phrase: Float[Tensor, "*n phrases"]) -> Float[Tensor, "*n"]:
        """One score of a class's phrases."""
        return by_phrase.amax(dim=-1) if self.config.phrase == "max" else by_phrase.mean(dim=-1)

    def pairs(self, samples: Sequence[Captioned], rng: np.random.Generator) -> FilmBatch:
        """Films moved at random, texts as they are and said otherwise, and the findings of both."""
        films = torch.cat([self.moved(self.prepare(each.image).array[0], rng) for each in samples])
        texts = [each.text or " " for each in samples]
        known = meanings(samples).to(self.device)
        otherwise = self.read([reworded(text, rng) for text in texts])
        return FilmBatch(films.to(self.device), self.read(texts), otherwise, known, known)

    def moved(self, film: grey_frame.Grey, rng: np.random.Generator) -> Float[Tensor, "1 1 s s"]:
        """A film as training sees it."""
        side = self.config.side
        warped = film_warp.warped(grey_frame.squared(film, side), WARP, rng)
        return normalised(film_warp.cut(warped, round(STORED * side), side, rng))

    def loss(self, batch: FilmBatch) -> Terms:
        """Soft targets by what films and texts say; the mean over the texts and the texts said otherwise."""
        said = [each for each in (batch.texts, batch.reworded) if each is not None]
        terms = [soft_semantic(self.logits(batch.films, each), batch.of_films, batch.of_texts) for each in said]
        return Terms({"semantic": torch.stack(terms).mean()})

    def logits(self, films: Float[Tensor, "n 1 s s"], texts: Tokens) -> Float[Tensor, "n m"]:
        """Scaled cosines: rows are films, columns are texts."""
        network = self.network
        return network.scale() * unit(network.vision_model(films)) @ unit(network.text_model(texts)).T


def normalised(film: grey_frame.Grey) -> Float[Tensor, "1 1 h w"]:
    """From 0..255."""
    return (torch.from_numpy(film)[None, None].float() / 255 - MEAN) / DEVIATION


def meanings(samples: Sequence[Captioned]) -> Float[Tensor, "n findings"]:
    """What is known of each sample, over all findings that any of them names; where nothing is known, no finding."""
    known = [{name.lower(): value for name, value in each.findings.items()} for each in samples]
    said = [each if any(each.values()) else {**each, NOTHING: 1} for each in known]
    names = sorted({name for each in said for name in each})
    return torch.tensor([[float(each.get(name, 0)) for name in names] for each in said])


SYSTEM = MedClip
