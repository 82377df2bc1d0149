"""ELIXR — Xu, Yang, Kelly et al., ELIXR: Towards a general purpose X-ray artificial intelligence system through
alignment of large language models and radiology vision encoders (arXiv 2308.01317, 2023), as far as it is public:
ELIXR-B.

An EfficientNet-L2 sees the film; a Q-Former of 32 queries looks at its map of 8 x 8 places and reads texts. A finding
is scored by the greatest cosine between any query and a text for it, less that of a text against it. Public: the
scoring and the preparation of films (Apache-2.0), and both networks as TensorFlow SavedModels behind a form, which hold
no tensors that could be read here; the language model on top (PaLM 2) is closed. So this network is built from open
parts to the public shapes, and is trained here: the films' encoder rests, as remembered, and the Q-Former learns by
contrast, matching and telling. Our reading is whatever is behind the public shapes: how a film comes to 1280 pixels, a
norm on the map, the Q-Former's sizes and losses, which are BLIP-2's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from hilum.capabilities.look import Seen, tensors
from hilum.capabilities.match import Matched
from hilum.capabilities.system import System
from hilum.capabilities.trainable import Captioned
from hilum.objectives.contrastive import info_nce
from hilum.objectives.query_matching import hard_negatives, next_word_error, query_max
from hilum.objectives.terms import Terms
from hilum.parts import tokens, wide_grey
from hilum.parts.qformer import QFormer, QFormerSizes
from hilum.parts.tokens import Reading, Tokens
from hilum.parts.two_tower import groups, pair_softmax
from hilum.parts.word_head import WordHead
from hilum.values.errors import MissingExtra
from hilum.values.image import Image
from hilum.values.prompts import Labels

PAIRS = {  # the published texts for and against
    "pneumothorax": ("small pneumothorax", "no pneumothorax"),
    "pleural effusion": ("large pleural effusion", "no pleural effusion"),
    "airspace opacity": ("Airspace Opacity", "no evidence of airspace disease"),
    "pulmonary edema": ("moderate pulmonary edema", "no pulmonary edema"),
}
FOR, AGAINST = ("{}",), ("no {}",)  # of any other finding (our reading)


@dataclass(frozen=True, slots=True, kw_only=True)
class ElixrConfig:
    """The public shapes; `encoder` is timm's name. `end` is the id that is taken out of texts."""

    encoder: str = "tf_efficientnet_l2"
    side: int = 1280
    grid: int = 8
    former: QFormerSizes
    joint: int = 128
    reading: Reading
    end: int = 102
    temperature: float = 0.07  # at the start (BLIP-2)


PAPER = ElixrConfig(former=QFormerSizes(seen=1376), reading=Reading("wordpiece", 128, whole=True))
TINY = ElixrConfig(
    encoder="test_efficientnet",
    side=64,
    grid=2,
    former=QFormerSizes(
        seen=64, queries=3, width=16, layers=2, heads=2, hidden=24, vocabulary=200, positions=20, dropout=0.0
    ),
    joint=12,
    reading=Reading("hashed", 20, whole=True, size=200),
    end=199,
)


@dataclass(frozen=True, slots=True, eq=False)
class MapsBatch:
    """Maps of films, texts, and numbers in 0..1 that decide which negatives are drawn."""

    maps: Float[Tensor, "b places seen"]
    words: Tokens
    draws: Float[Tensor, "two b"]


class FilmMap(nn.Module):
    """The last blocks of an EfficientNet, averaged to a small grid, place by place."""

    def __init__(self, config: ElixrConfig):
        super().__init__()
        try:
            from timm import create_model
        except ImportError as error:
            raise MissingExtra("an EfficientNet", "timm", "systems") from error
        self.encoder = create_model(config.encoder, pretrained=False, features_only=True, out_indices=(-1,))
        self.grid = config.grid

    def forward(self, films: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b places seen"]:
        return rearrange(F.adaptive_avg_pool2d(self.encoder(films)[0], self.grid), "b d h w -> b (h w) d")


class ElixrNetwork(nn.Module):
    """Film encoder, Q-Former, the space in which films and texts meet, and the heads of training."""

    def __init__(self, config: ElixrConfig):
        super().__init__()
        former = config.former
        self.film = FilmMap(config).requires_grad_(False)
        self.norm = nn.LayerNorm(former.seen)
        self.former = QFormer(former)
        self.image_head, self.text_head = (nn.Linear(former.width, config.joint) for _ in range(2))
        self.belongs = nn.Linear(former.width, 2)
        self.words = WordHead(former.width, former.vocabulary)
        self.temperature = nn.Parameter(torch.tensor(config.temperature))

    def queries(self, maps: Float[Tensor, "b places seen"]) -> Float[Tensor, "b queries joint"]:
        """The queries after their look, in the space of texts."""
        return self.image_head(self.former.looked(self.norm(maps)))

    def texts(self, words: Tokens) -> Float[Tensor, "b joint"]:
        """A text's first state, in the space of queries."""
        return self.text_head(self.former.read(words)[:, 0])

    def matches(self, maps: Float[Tensor, "b places seen"], words: Tokens) -> Float[Tensor, "b 2"]:
        """Whether film and text belong together: the queries' mean opinion, no and yes."""
        states = self.former.met(self.norm(maps), words)
        return self.belongs(states[:, : self.former.queries.shape[1]]).mean(dim=1)


class Elixr(System):
    """Chest films against findings and their denials, by the best query."""

    configs: ClassVar[dict[str, ElixrConfig]] = {"elixr_b": PAPER}
    together: ClassVar[int] = 1
    network: ElixrNetwork

    @classmethod
    def build(cls, config: ElixrConfig) -> ElixrNetwork:
        return ElixrNetwork(config)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        return cls.seeded(TINY, seed)

    def costly(self) -> tuple[nn.Module, tuple[int, ...]]:
        return self.network.film, (1, 3, self.config.side, self.config.side)

    def prepare(self, image: Image) -> Image:
        """Values as they are; each plane is cut to its display window and stretched, which is said."""
        low, high = image.display.low, image.display.high
        return image.noted(f"elixr saw {low:g} to {high:g}, stretched to 16 bit")

    def see(self, plane: Image) -> Seen:
        """The map of one film, and its queries."""
        maps = self.run(self.pixels(plane))
        with torch.inference_mode():
            return tensors(maps=maps, queries=self.network.queries(maps))

    def vector(self, seen: Seen) -> Float[np.ndarray, " dim"]:
        """The mean of the map: what the public notebooks classify (remembered)."""
        return seen["maps"][0].mean(dim=0).float().cpu().numpy()

    def pixels(self, film: Image) -> Float[Tensor, "1 3 s s"]:
        """0..1, the whole film at the network's side, bilinear."""
        grey = torch.from_numpy(sixteen_bit(film).astype(np.float32) / wide_grey.TOP)[None, None]
        size = (self.config.side, self.config.side)
        square = F.interpolate(grey, size=size, mode="bilinear", align_corners=False, antialias=True)
        return square.expand(1, 3, -1, -1)

    def encoded(self, texts: Sequence[str]) -> Float[Tensor, "n joint"]:
        """The vectors of texts."""
        return self.network.texts(self.read(texts).to(self.device))

    def read(self, texts: Sequence[str]) -> Tokens:
        """Texts as ids, without their ends."""
        reader = tokens.tokenizer(self.config.reading, lambda: self.file(tokens.VOCABULARY))
        return endless(reader(texts), self.config.end)

    @torch.inference_mode()
    def matched(self, seen: Sequence[Seen], labels: Labels) -> Matched:
        """Of each label the best query's cosine with its text. Softmax over it and the text against it, no temperature:
        the logistic of the published score. Several texts of a label are averaged (our reading)."""
        queries = seen[0]["queries"].to(self.device)
        said, denied = texts_of(labels)
        positive, negative = (
            torch.stack([query_max(queries, each)[0].mean() for each in groups(self.encoded, texts)])
            for texts in (said, denied)
        )
        texts = [(*own, *other) for own, other in zip(said, denied, strict=True)]
        return Matched(positive.cpu().numpy(), pair_softmax(positive, negative).cpu().numpy(), texts)

    def pairs(self, samples: Sequence[Captioned], rng: np.random.Generator) -> MapsBatch:
        """The maps of films, whose encoder rests, and their texts."""
        films = torch.cat([self.pixels(self.prepare(each.image)) for each in samples]).to(self.device)
        with torch.no_grad():
            maps = self.network.film.eval()(films)
        words = self.read([each.text for each in samples]).to(self.device)
        draws = torch.from_numpy(rng.random((2, len(samples)), dtype=np.float32)).to(self.device)
        return MapsBatch(maps, words, draws)

    def loss(self, batch: MapsBatch) -> Terms:
        """Contrast by the best query, matching, and telling (BLIP-2's second stage of the paper; our reading)."""
        network = self.network
        similarity = query_max(network.queries(batch.maps), network.texts(batch.words)) / network.temperature
        told = network.former.told(network.norm(batch.maps), batch.words)
        scores = network.words(told, network.former.words.weight)
        return Terms(
            {
                "contrast": info_nce(similarity),
                "matching": self.matching(batch, similarity),
                "telling": next_word_error(scores, batch.words.ids, batch.words.mask),
            }
        )

    def matching(self, batch: MapsBatch, similarity: Float[Tensor, "b b"]) -> Float[Tensor, ""]:
        """Whether films and texts belong together: each pair, films with hard texts, texts with hard films."""
        every = torch.arange(len(batch.maps), device=similarity.device)
        films, texts = [every], [every]
        if len(every) > 1:
            films += [every, hard_negatives(similarity.T, batch.draws[1])]
            texts += [hard_negatives(similarity, batch.draws[0]), every]
        film, text = torch.cat(films), torch.cat(texts)
        words = Tokens(batch.words.ids[text], batch.words.mask[text])
        return F.cross_entropy(self.network.matches(batch.maps[film], words), (film == text).long())


def sixteen_bit(film: Image) -> Int[np.ndarray, "h w"]:
    """The published steps: windowed, inverted where the film says so, shifted, stretched to 16 bit; 8 bit as it is."""
    values = film.array if len(film.array) == 1 else grey_of(film.array)
    if values.dtype == np.uint8:
        whole = 255 - values[0] if film.display.inverted else values[0]
        return whole.astype(np.int64) * 257  # 0..255 as 0..65535
    seen = wide_grey.windowed(values[0].astype(np.float64), film.display.low, film.display.high)
    upright = seen.max() - seen if film.display.inverted else seen
    return wide_grey.stretched(wide_grey.shifted(upright)).astype(np.int64)


def grey_of(colours: np.ndarray) -> np.ndarray:
    """Colours by luminance (ITU-R 601)."""
    weights = np.array([0.299, 0.587, 0.114])[:, None, None]
    return np.rint((colours * weights).sum(axis=0, keepdims=True)).astype(colours.dtype)


def endless(read: Tokens, end: int) -> Tokens:
    """The end of a text becomes padding, as published."""
    return Tokens(read.ids.masked_fill(read.ids == end, 0), read.mask & (read.ids != end))


def texts_of(labels: Labels) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """The texts for and against each label: its own, else the published ones, else its name and the name denied."""
    said, denied = list(labels.said(FOR)), list(labels.denied(AGAINST))
    own, opposed = (given or ((),) * len(said) for given in (labels.texts, labels.opposites))
    for place, name in enumerate(labels.names):
        positive, negative = PAIRS.get(name.lower(), (None, None))
        if positive and negative:
            said[place] = said[place] if own[place] or labels.templates else (positive,)
            denied[place] = denied[place] if opposed[place] else (negative,)
    return said, denied


SYSTEM = Elixr
