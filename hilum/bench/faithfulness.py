"""Whether a map of where a matcher looked is true: does the score fall soonest where the map is highest, sooner than by
chance and sooner than from the middle outwards, and is the map another one when the weights are?

Deletion and insertion: Petsiuk, Das, Saenko, RISE (BMVC 2018). Pixels are blurred away in the map's order, or brought
back into the blurred picture; what counts is the mean score on the way. Random weights: Adebayo et al., Sanity checks
for saliency maps (NeurIPS 2018).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from jaxtyping import Float, Int

from ..adapt.scoring import OF_ALL
from ..capabilities.explain import explain
from ..capabilities.occlusion import Picture, Rescored, blurred
from ..io.read import read
from ..train.labelled import LabelledImage
from ..values import progress
from ..values.answers import Scores
from ..values.errors import BadInput, HilumError
from ..values.image import Image
from ..values.prompts import Labels
from .measure import interval

if TYPE_CHECKING:
    from ..capabilities.system import System

STEPS = 16  # of the way from the whole picture to the blurred one
WIDE = 0.25  # deviation of the centred Gaussian, as a share of the picture's sides
OWN, RIVALS = "explanation", ("random", "centred")
Estimate = tuple[float, float, float]  # a value with its 95 % interval


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """How many steps lead from a picture to the blurred one, and what decides between equals."""

    steps: int
    rng: np.random.Generator


@dataclass(frozen=True, slots=True)
class Areas:
    """Mean scores while pixels leave in a map's order (lower is better), and while they come (higher is better)."""

    deletion: float
    insertion: float


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """The scores on both ways: from the picture to the blurred one, and from the blurred one to the picture."""

    deletion: Float[np.ndarray, " steps"]
    insertion: Float[np.ndarray, " steps"]

    @property
    def areas(self) -> Areas:
        """The mean height of each."""
        return Areas(area(self.deletion), area(self.insertion))


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A picture, and the label whose map is judged there, among all that are asked; cases of a patient stay together
    where intervals are drawn."""

    image: Image
    label: str
    labels: Labels
    name: str = ""
    patient: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """One case: the curves of the explanation and of its rivals, how it was made, the texts that were compared, and the
    rank correlation with the map by random weights (NaN where none was made, or a map is flat)."""

    name: str
    patient: str
    label: str
    curves: Mapping[str, Curves]
    method: str
    texts: Sequence[str] = ()
    correlation: float = math.nan


@dataclass(frozen=True, slots=True, eq=False)
class Faithfulness:
    """Explanations beside their rivals, case by case."""

    judged: Sequence[Judged]

    @property
    def patients(self) -> np.ndarray:
        """Of each case; one that names none stands alone."""
        return np.array([each.patient or f"case {place}" for place, each in enumerate(self.judged)])

    def mean(self, name: str, way: str) -> Estimate:
        """The mean area of a map by deletion or insertion, with its 95 % interval by whole patients."""
        return self._estimate([getattr(each.curves[name].areas, way) for each in self.judged])

    def gain(self, rival: str, way: str) -> Estimate:
        """By how much the explanation is better than the rival, pair by pair; above zero it is better."""
        sign = -1.0 if way == "deletion" else 1.0
        pairs = [[getattr(each.curves[name].areas, way) for name in (OWN, rival)] for each in self.judged]
        return self._estimate([sign * (own - other) for own, other in pairs])

    def deletion(self, rival: str) -> tuple[float, float]:
        """95 % paired interval of how much lower the explanation's deletion area is; above zero it is better."""
        return self.gain(rival, "deletion")[1:]

    def insertion(self, rival: str) -> tuple[float, float]:
        """95 % paired interval of how much higher the explanation's insertion area is; above zero it is better."""
        return self.gain(rival, "insertion")[1:]

    def correlation(self) -> Estimate | None:
        """The mean rank correlation with the maps by random weights; None where none was made."""
        there = np.isfinite([each.correlation for each in self.judged])
        if not there.any():
            return None
        values = np.array([each.correlation for each in self.judged])[there]
        return float(values.mean()), *interval(values, self.patients[there])

    def _estimate(self, values: Sequence[float]) -> Estimate:
        return float(np.mean(values)), *interval(np.array(values), self.patients)


def measured(system: System, cases: Sequence[Case], *, steps: int = STEPS, seed: int = 0) -> Faithfulness:
    """The system's own explanations beside a random map and a centred Gaussian, on the same pictures."""
    way = Way(steps, np.random.default_rng(seed))
    return Faithfulness([judged(system, case, way) for case in cases])


def judged(system: System, case: Case, way: Way, *, other: System | None = None) -> Judged:
    """One case; `other` is the system with random weights, if its map is to be held against the explanation."""
    look = system.look(case.image)
    place, answer = case.labels.names.index(case.label), cast(Scores, look.ask(case.labels))
    found = explain(look, (case.labels,), answer)
    own = _shown(look.prepared(), found.maps[place])
    maps = {OWN: own, "random": way.rng.random(own.shape), "centred": centred(own.shape)}
    scored = Rescored(look, (case.labels,))
    curves = {name: along(scored, one, place, way) for name, one in maps.items()}
    texts = answer.texts[place] if answer.texts else ()
    alike = math.nan if other is None else _alike(found.maps[place], other, case)
    return Judged(case.name, case.patient, case.label, curves, found.method, texts, alike)


Asked = tuple[LabelledImage, str]  # an image, and a label that is true of it


def chosen(images: Sequence[LabelledImage], labels: Labels, most: int, *, seed: int = 0) -> list[Asked]:
    """At most so many images with a label that is true of them, drawn by the seed."""
    true = [
        (image, label)
        for image in images
        for label, is_true in zip(labels.names, image.truth, strict=True)
        if is_true is True
    ]
    drawn = np.sort(np.random.default_rng(seed).permutation(len(true))[:most])
    return [true[place] for place in drawn]


def collected(
    system: System, asked: Sequence[Asked], labels: Labels, *, modality: str | None = None, seed: int = 0
) -> tuple[Faithfulness, dict[str, str]]:
    """All that could be judged, each beside the map by random weights as well; and what failed."""
    way, other = Way(STEPS, np.random.default_rng(seed)), randomised(system)
    found, failed = [], {}
    for image, label in progress.track(asked, "cases"):
        try:
            case = Case(read(image.file, modality=modality), label, labels, image.name, image.patient)
            found.append(judged(system, case, way, other=other))
        except OF_ALL:
            raise
        except HilumError as error:
            failed[image.name] = str(error)
    if not found:
        raise BadInput(f"none of {len(asked)} cases could be judged, as listed above.")
    return Faithfulness(found), failed


def _shown(prepared: Image, found: Float[np.ndarray, " *grid"]) -> Float[np.ndarray, "h w"]:
    """A map as its plane is shown."""
    return prepared.section().planes(found.reshape(prepared.volume().shape[1:]))[0]


def along(scored: Rescored, found: Float[np.ndarray, "h w"], label: int, way: Way) -> Curves:
    """A map's curves; equals come in random order."""
    picture = scored.plane.array
    smooth = blurred(picture)
    order = ranks(found, way.rng)
    leaving = scored.of(mixed(smooth, picture, order, way.steps))[:, label]
    coming = scored.of(mixed(picture, smooth, order, way.steps))[:, label]
    return Curves(leaving, coming)


def ranks(found: Float[np.ndarray, "h w"], rng: np.random.Generator) -> Int[np.ndarray, "h w"]:
    """The place of each pixel when the highest comes first."""
    flat = found.ravel()
    place = np.empty(flat.size, dtype=np.int64)
    place[np.lexsort((rng.random(flat.size), -flat))] = np.arange(flat.size)
    return place.reshape(found.shape)


def mixed(new: Picture, old: Picture, order: Int[np.ndarray, "h w"], steps: int) -> list[Picture]:
    """From the old picture to the new one in equal steps, pixels by their order."""
    counts = np.linspace(0, order.size, steps + 1).round().astype(int)
    return [np.where(order < count, new, old) for count in counts]


def area(scores: Float[np.ndarray, " steps"]) -> float:
    """The mean height of the curve (trapezoids)."""
    return float((scores[:-1] + scores[1:]).mean() / 2)


def centred(size: tuple[int, int]) -> Float[np.ndarray, "h w"]:
    """A Gaussian in the middle of the picture: what a map must beat that only knows how pictures are taken."""
    down, across = (((np.arange(length) + 0.5) / length - 0.5) / WIDE for length in size)
    return np.exp(-(down[:, None] ** 2 + across[None] ** 2) / 2)


def randomised(system: System, *, seed: int = 1) -> System:
    """The same network with random weights; what lies beside the weights (words of a tokenizer) stays."""
    fresh = type(system).seeded(system.config, seed)
    fresh.files = system.files
    return cast("System", fresh.placed(str(system.device), "torch"))


def agreement(system: System, other: System, cases: Sequence[Case]) -> float:
    """The mean rank correlation of two systems' maps: near 1, the map does not depend on what differs."""
    found = []
    for case in cases:
        look = system.look(case.image)
        maps = explain(look, (case.labels,), look.ask(case.labels)).maps
        found.append(_alike(maps[case.labels.names.index(case.label)], other, case))
    return float(np.mean(found))


def _alike(own: Float[np.ndarray, " *grid"], other: System, case: Case) -> float:
    """The rank correlation with the other system's map of the same label; NaN where one of them is flat."""
    from scipy.stats import spearmanr

    look = other.look(case.image)
    maps = explain(look, (case.labels,), look.ask(case.labels)).maps
    found = maps[case.labels.names.index(case.label)]
    if np.ptp(own) == 0 or np.ptp(found) == 0:
        return math.nan
    return float(spearmanr(own.ravel(), found.ravel()).statistic)
