"""KoBo — Chen, He, Xue, Ge, Li, Yang, Knowledge boosting: rethinking medical contrastive vision-language pre-training
(MICCAI 2023), reconstructed.

Films and reports are contrasted; reports that say the same are poor negatives, and a report's findings say more than
its words. So each sample has a vector of knowledge from the entities of its report: negatives count the less, the more
knowledge they share, and both films and reports are pulled towards the knowledge of their own.
Public: a README without code, and no weights. The abstract and a recollection of the paper are all that this is made
from: every formula, size, number, preparation and score here is our reading. Knowledge here is the findings of a sample
with their signs, each finding a fixed vector drawn from its name, or those that are handed in (`knowing`), such as a
knowledge graph's.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from hilum.capabilities.look import Seen, tensors
from hilum.capabilities.match import Matched
from hilum.capabilities.system import System
from hilum.capabilities.trainable import Captioned
from hilum.objectives.knowledge_noise import knowledge_guidance, knowledge_noise, overlap
from hilum.objectives.terms import Terms
from hilum.parts import grey_frame, tokens
from hilum.parts.bert import BertSizes, bert, last
from hilum.parts.centre_crop import centre_crop
from hilum.parts.resnet import ResNet, ResNetSizes
from hilum.parts.tokens import Reading, Tokens
from hilum.parts.two_tower import groups, mean_of_units, unit
from hilum.values.errors import BadInput
from hilum.values.image import Image
from hilum.values.prompts import Labels

TEMPLATES = ("{}",)
SIGNS = {1: 1.0, 0: -1.0}  # of findings that are there and that are not; unsure ones say nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class KoBoConfig:
    """All remembered or chosen, none verified. `guidance` weighs the pull towards knowledge."""

    image: ResNetSizes
    text: BertSizes
    reading: Reading
    joint: int = 512
    short: int = 256
    side: int = 224
    temperature: float = 0.07
    guidance: float = 1.0


PAPER = KoBoConfig(
    image=ResNetSizes(),
    text=BertSizes(vocabulary=28996),  # BioClinicalBERT's words
    reading=Reading("wordpiece", 128, lowercase=False),
)
TINY = KoBoConfig(
    image=ResNetSizes(layers=(1, 1, 1, 1), width=4),
    text=BertSizes(vocabulary=200, width=24, layers=1, heads=2, hidden=32, positions=40),
    reading=Reading("hashed", 40, size=200),
    joint=12,
    short=72,
    side=64,
)


@dataclass(frozen=True, slots=True, eq=False)
class KnownBatch:
    """Films, reports, and what is known of each pair; zeros where nothing is."""

    films: Float[Tensor, "b 3 s s"]
    words: Tokens
    knowledge: Float[Tensor, "b joint"]


class FilmEncoder(nn.Module):
    """A ResNet's last maps, averaged and projected."""

    def __init__(self, sizes: ResNetSizes, joint: int):
        super().__init__()
        self.resnet = ResNet(sizes)
        self.project = nn.Linear(sizes.features, joint)

    def forward(self, films: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b joint"]:
        return self.project(self.resnet(films).mean(dim=(2, 3)))


class ReportEncoder(nn.Module):
    """BERT's first state, projected."""

    def __init__(self, sizes: BertSizes, joint: int):
        super().__init__()
        self.bert = bert(sizes)
        self.project = nn.Linear(sizes.width, joint)

    def forward(self, words: Tokens) -> Float[Tensor, "b joint"]:
        return self.project(last(self.bert, words.ids, words.mask)[:, 0])


class KoBoNetwork(nn.Module):
    """Both encoders."""

    def __init__(self, config: KoBoConfig):
        super().__init__()
        self.film = FilmEncoder(config.image, config.joint)
        self.report = ReportEncoder(config.text, config.joint)


class KoBo(System):
    """Chest films against the names of findings, by cosines."""

    configs: ClassVar[dict[str, KoBoConfig]] = {"resnet50": PAPER}
    together: ClassVar[int] = 1
    network: KoBoNetwork
    entities: Mapping[str, Float[np.ndarray, " joint"]] = {}  # what is handed in; others are drawn from their names

    @classmethod
    def build(cls, config: KoBoConfig) -> KoBoNetwork:
        return KoBoNetwork(config)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        return cls.seeded(TINY, seed)

    def knowing(self, entities: Mapping[str, Float[np.ndarray, " joint"]]) -> Self:
        """The same system with vectors of findings, such as a knowledge graph's; names in small letters."""
        for name, vector in entities.items():
            if np.shape(vector) != (self.config.joint,):
                raise BadInput(f"{name} has a vector of {np.shape(vector)}; kobo's have {self.config.joint} numbers")
        other = copy.copy(self)
        other.entities = {name.lower(): vector for name, vector in entities.items()}
        return other

    def costly(self) -> tuple[nn.Module, tuple[int, ...]]:
        return self.network.film, (1, 3, self.config.side, self.config.side)

    def prepare(self, image: Image) -> Image:
        """One channel of 8 bit."""
        return grey_frame.as_grey(image, "kobo")

    def see(self, plane: Image) -> Seen:
        """The vector of one film."""
        return tensors(vector=self.run(self.pixels(plane)))

    def vector(self, seen: Seen) -> Float[np.ndarray, " dim"]:
        return seen["vector"][0].float().cpu().numpy()

    def pixels(self, film: Image) -> Float[Tensor, "1 3 s s"]:
        """The middle of the film, in -1..1."""
        middle = centre_crop(film.array[0], short=self.config.short, side=self.config.side)
        return (torch.from_numpy(middle).float() / 127.5 - 1).expand(1, 3, -1, -1)

    @torch.inference_mode()
    def worded(self, texts: Sequence[str]) -> Float[np.ndarray, "n dim"]:
        return self.encoded(texts).float().cpu().numpy()

    def encoded(self, texts: Sequence[str]) -> Float[Tensor, "n joint"]:
        """The vectors of texts."""
        return self.network.report(self.read(texts).to(self.device))

    def read(self, texts: Sequence[str]) -> Tokens:
        """Texts as ids."""
        return tokens.tokenizer(self.config.reading, lambda: self.file(tokens.VOCABULARY))(texts)

    @torch.inference_mode()
    def matched(self, seen: Sequence[Seen], labels: Labels) -> Matched:
        """Cosines, and their softmax over the labels by the temperature of training."""
        said = labels.said(TEMPLATES)
        film = unit(seen[0]["vector"].to(self.device))[0]
        similarity = mean_of_units(groups(self.encoded, said)) @ film
        softmax = (similarity / self.config.temperature).softmax(dim=0)
        return Matched(similarity.cpu().numpy(), softmax.cpu().numpy(), said)

    def pairs(self, samples: Sequence[Captioned], rng: np.random.Generator) -> KnownBatch:
        """Films, reports, and the knowledge of their findings; nothing is augmented."""
        films = torch.cat([self.pixels(self.prepare(each.image)) for each in samples])
        known = torch.from_numpy(np.stack([self.known(each.findings) for each in samples]))
        words = self.read([each.text for each in samples])
        return KnownBatch(films.to(self.device), words.to(self.device), known.to(self.device))

    def known(self, findings: Mapping[str, int]) -> Float[np.ndarray, " joint"]:
        """The sum of the findings' vectors, those that are denied turned round, at length one."""
        signed = [SIGNS.get(sign, 0.0) * self.entity(name) for name, sign in findings.items()]
        whole = np.sum([np.zeros(self.config.joint), *signed], axis=0)
        return (whole / (np.linalg.norm(whole) or 1.0)).astype(np.float32)

    def entity(self, name: str) -> Float[np.ndarray, " joint"]:
        """The vector of a finding: as handed in, or drawn from its name, always the same, at length one."""
        given = self.entities.get(name.lower())
        if given is None:
            given = np.random.default_rng(zlib.crc32(name.lower().encode())).normal(size=self.config.joint)
        return given / np.linalg.norm(given)

    def loss(self, batch: KnownBatch) -> Terms:
        """Weighted contrast of films and reports, and both beside their knowledge."""
        film, report = self.network.film(batch.films), self.network.report(batch.words)
        by = self.config.temperature
        contrast = knowledge_noise(unit(film) @ unit(report).T / by, overlap(batch.knowledge))
        guided = [knowledge_guidance(each, batch.knowledge, temperature=by) for each in (film, report)]
        return Terms({"enhancement": contrast, "guidance": self.config.guidance * torch.stack(guided).sum()})


SYSTEM = KoBo
