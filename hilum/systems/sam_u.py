"""SAM-U — Deng, Zou, Ren, Wang, Yuan, Ying, Fu, SAM-U: Multi-box prompts triggered uncertainty estimation for reliable
SAM in medical image (MICCAI UNSURE workshop 2023).

A box that is drawn by hand is one of many that would have been right. The box is moved a little, M times; the system
answers each of the boxes on one and the same look; the answers are samples of what it would say of this object. Their
mean is the probability, cut at one half; the entropy of the mean, pixel by pixel, says where the answer hangs on how
the box was drawn. Nothing is trained. As in the paper SAM is asked, but any system that takes boxes can be handed in.
Public: one script (20 boxes, the entropy of the mean) and, in an older one, a shift of each edge, uniform and whole
pixels; the distribution that the paper used is not. The amount of shift and the entropy's form are our reading.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar, Literal, Self, cast, get_args

import numpy as np
from jaxtyping import Float
from scipy.special import entr
from torch import nn

from hilum.capabilities.look import Seen
from hilum.capabilities.segment import Planar
from hilum.capabilities.system import System
from hilum.parts.sam import BASE, HUGE, LARGE, TINY, Sam, SamConfig, sam
from hilum.parts.sam_predictor import SamPredictor
from hilum.values import contract
from hilum.values.answers import PlaneMask
from hilum.values.errors import UnsupportedPrompt
from hilum.values.image import Image
from hilum.values.prompts import PlanePrompt
from hilum.weights.tables.sam import UPSTREAM

Law = Literal["uniform", "gaussian"]
Unit = Literal["share", "pixels"]
Reading = Literal["mean", "votes", "single"]
READINGS: dict[Reading, str] = {
    "mean": "the binary entropy of their mean",
    "votes": "the binary entropy of their votes",
    "single": "-p ln p of their mean",
}


@dataclass(frozen=True, slots=True)
class Manner:
    """How many boxes, how they are moved, and which entropy is the uncertainty.

    The two corners' coordinates are moved each for itself: by whole pixels, uniform within ± reach, or by a normal
    deviate with standard deviation reach. `unit` says whether reach is a share of the box's side or pixels.
    """

    boxes: int = 20  # the published script
    law: Law = "uniform"  # the repository's older script moves each edge by a uniform whole number of pixels,
    reach: float = 0.05  # there 100 of a box of 2201: 0.045 of its side
    unit: Unit = "share"
    original: bool = True  # the box as it was drawn is one of them (ours: the scripts do not say)
    seed: int = 0  # the same for every plane and object, so that an answer can be given again
    reading: Reading = "mean"

    def __post_init__(self) -> None:
        if self.boxes < 2 or self.reach < 0:
            raise ValueError(f"at least two boxes and a reach of 0 or more, got {self.boxes} and {self.reach:g}")
        for given, known in ((self.law, Law), (self.unit, Unit), (self.reading, Reading)):
            if given not in get_args(known):
                raise ValueError(f"{given!r} is none of {', '.join(get_args(known))}")

    def around(self, box: Float[np.ndarray, "2 2"], size: tuple[int, int]) -> Float[np.ndarray, "boxes 2 2"]:
        """Boxes [low, high] near the given one, clipped to a picture of size (height, width).

        The frame is the picture as it is shown. A volume stored the other way round is shown the same way, so that its
        boxes are the same ones too.
        """
        rng = np.random.default_rng(self.seed)
        moved = self.boxes - self.original
        reach = self.reach * (box[1] - box[0] + 1) if self.unit == "share" else np.full(2, self.reach)
        if self.law == "uniform":
            whole = np.maximum(np.rint(reach), self.reach > 0).astype(int)  # a tiny box moves too
            shifts = rng.integers(-whole, whole, size=(moved, 2, 2), endpoint=True).astype(float)
        else:
            shifts = rng.normal(size=(moved, 2, 2)) * reach
        near = np.sort(box + shifts, axis=1)  # an edge that passed the other is the other
        return np.concatenate([box[None][: int(self.original)], np.clip(near, 0, np.array(size[::-1]) - 1.0)])

    def sentence(self, asked: str) -> str:
        """What was done, for the provenance."""
        amount = f"{self.reach:.3g} of the box's side" if self.unit == "share" else f"{self.reach:g} pixels"
        how = {"uniform": f"uniform within ±{amount}", "gaussian": f"normal with deviation {amount}"}[self.law]
        own = ", the drawn one among them" if self.original else ""
        moved = f"each edge moved, {how}, seed {self.seed}"
        return f"sam_u asked {asked} with {self.boxes} boxes{own}; {moved}; unsure is {READINGS[self.reading]}"


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """The answers to M boxes: samples of the probability of each pixel."""

    samples: Float[np.ndarray, "m h w"]

    @property
    def mean(self) -> Float[np.ndarray, "h w"]:
        """The probability of the object."""
        return self.samples.mean(axis=0)

    @property
    def deviation(self) -> Float[np.ndarray, "h w"]:
        """Standard deviation over the boxes, unbiased."""
        return self.samples.std(axis=0, ddof=1)

    @property
    def votes(self) -> Float[np.ndarray, "h w"]:
        """The share of boxes whose mask holds the pixel."""
        return (self.samples > 0.5).mean(axis=0)

    def entropy(self, reading: Reading) -> Float[np.ndarray, "h w"]:
        """Nats: of the mean probability, of the votes (Wang et al. 2019), or the term -p ln p of the mean alone."""
        match reading:
            case "mean":
                return binary_entropy(self.mean)
            case "votes":
                return binary_entropy(self.votes)
            case "single":
                return entr(self.mean.astype(np.float64)).astype(np.float32)


def binary_entropy(probability: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """-p ln p - (1 - p) ln(1 - p)"""
    exact = np.clip(probability.astype(np.float64), 0.0, 1.0)
    return (entr(exact) + entr(1 - exact)).astype(np.float32)


class SamU(System):
    """A box in; the mean mask of many boxes near it out, and how unsure each pixel is."""

    configs: ClassVar[dict[str, SamConfig]] = {"vit_b": BASE, "vit_l": LARGE, "vit_h": HUGE}
    table = UPSTREAM
    manner = Manner()
    inner: System | None = None

    @classmethod
    def build(cls, config: SamConfig) -> Sam:
        return sam(config)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        return cls.seeded(TINY, seed)

    @classmethod
    def over(cls, inner: System) -> Self:
        """The same over another system, loaded and placed, instead of SAM; its weights' name and hash stay in sight."""
        if "box" not in inner.card.accepts or "segment" not in inner.card.capabilities:
            raise UnsupportedPrompt(inner.card.name, "Box", inner.card.accepts)
        system = cls(inner.network, inner.config)
        system.inner, system.tag, system.weights_sha256 = inner, inner.tag, inner.weights_sha256
        system.backend, system.device = inner.backend, inner.device
        return system

    def asking(self, manner: Manner) -> Self:
        """The same with other boxes, or another reading of their answers."""
        other = copy.copy(self)
        other.manner = manner
        return other

    def costly(self) -> tuple[nn.Module, tuple[int, ...]] | None:
        if self.inner is not None:
            return self.inner.costly()
        return cast(Sam, self.network).image_encoder, (1, 3, self.config.image_size, self.config.image_size)

    def prepare(self, image: Image) -> Image:
        """As the asked system wants it."""
        if self.inner is not None:
            image = contract.checked(self.inner.card, image)
        return self.asked.prepare(image).noted(self.manner.sentence(self.tag))

    def see(self, plane: Image) -> Seen:
        """The asked system's look at one plane."""
        return self.asked.see(plane)

    def draw(self, seen: Seen, prompt: PlanePrompt) -> PlaneMask:
        """The mean of the answers, its entropy, and the mean of their qualities."""
        if prompt.box is None:
            raise UnsupportedPrompt(self.card.name, "a plane without a box", self.card.accepts)
        answers = self.answers(seen, prompt.box)
        spread = Spread(np.stack([answer.probability for answer in answers]))
        quality = float(np.mean([answer.quality for answer in answers]))
        return PlaneMask(spread.mean, quality, spread.entropy(self.manner.reading))

    def answers(self, seen: Seen, box: Float[np.ndarray, "2 2"]) -> list[PlaneMask]:
        """The asked system's answer to each of the boxes; the first also says how large the picture is."""
        drawn = self.asked.draw(seen, PlanePrompt(box=box))
        height, width = drawn.probability.shape
        boxes = self.manner.around(box, (height, width))
        if self.manner.original:
            return [drawn, *(self.asked.draw(seen, PlanePrompt(box=near)) for near in boxes[1:])]
        return [self.asked.draw(seen, PlanePrompt(box=near)) for near in boxes]

    @property
    def asked(self) -> Planar:
        """The system that was handed in, or SAM itself."""
        if self.inner is not None:
            return cast(Planar, self.inner)
        return SamPredictor(cast(Sam, self.network), self.run, self.config.image_size, self.card.name)


SYSTEM = SamU
