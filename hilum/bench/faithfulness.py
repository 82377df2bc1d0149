"""Whether a map of where a matcher looked is true: does the score fall soonest where the map is highest, sooner than by
chance and sooner than from the middle outwards, and is the map another one when the weights are?

Deletion and insertion: Petsiuk, Das, Saenko, RISE (BMVC 2018). Pixels are blurred away in the map's order, or brought
back into the blurred picture; what counts is the mean score on the way. Random weights: Adebayo et al., Sanity checks
for saliency maps (NeurIPS 2018).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from jaxtyping import Float, Int

from ..capabilities.explain import explain
from ..capabilities.occlusion import Picture, Rescored, blurred
from ..values.image import Image
from ..values.prompts import Labels
from .measure import interval

if TYPE_CHECKING:
    from ..capabilities.system import System

STEPS = 16  # of the way from the whole picture to the blurred one
WIDE = 0.25  # deviation of the centred Gaussian, as a share of the picture's sides
RIVALS = ("random", "centred")


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
class Case:
    """A picture, and the label whose map is judged there, among all that are asked."""

    image: Image
    label: str
    labels: Labels


@dataclass(frozen=True, slots=True, eq=False)
class Faithfulness:
    """Areas of the explanation and of its rivals, case by case."""

    areas: Mapping[str, Sequence[Areas]]

    def deletion(self, rival: str) -> tuple[float, float]:
        """95 % paired interval of how much lower the explanation's deletion area is; above zero it is better."""
        pairs = zip(self.areas["explanation"], self.areas[rival], strict=True)
        return _interval([other.deletion - own.deletion for own, other in pairs])

    def insertion(self, rival: str) -> tuple[float, float]:
        """95 % paired interval of how much higher the explanation's insertion area is; above zero it is better."""
        pairs = zip(self.areas["explanation"], self.areas[rival], strict=True)
        return _interval([own.insertion - other.insertion for own, other in pairs])


def _interval(differences: list[float]) -> tuple[float, float]:
    return interval(np.array(differences), np.arange(len(differences)))


def measured(system: System, cases: Sequence[Case], *, steps: int = STEPS, seed: int = 0) -> Faithfulness:
    """The system's own explanations beside a random map and a centred Gaussian, on the same pictures."""
    rng = np.random.default_rng(seed)
    areas: dict[str, list[Areas]] = {name: [] for name in ("explanation", *RIVALS)}
    for case in cases:
        look = system.look(case.image)
        place = case.labels.names.index(case.label)
        found = explain(look, (case.labels,), look.ask(case.labels)).maps[place]
        own = _shown(look.prepared(), found)
        maps = {"explanation": own, "random": rng.random(own.shape), "centred": centred(own.shape)}
        scored = Rescored(look, (case.labels,))
        for name, one in maps.items():
            areas[name].append(along(scored, one, place, Way(steps, rng)))
    return Faithfulness(areas)


def _shown(prepared: Image, found: Float[np.ndarray, " *grid"]) -> Float[np.ndarray, "h w"]:
    """A map as its plane is shown."""
    return prepared.section().planes(found.reshape(prepared.volume().shape[1:]))[0]


def along(scored: Rescored, found: Float[np.ndarray, "h w"], label: int, way: Way) -> Areas:
    """A map's areas; equals come in random order."""
    picture = scored.plane.array
    smooth = blurred(picture)
    order = ranks(found, way.rng)
    leaving = scored.of(mixed(smooth, picture, order, way.steps))[:, label]
    coming = scored.of(mixed(picture, smooth, order, way.steps))[:, label]
    return Areas(area(leaving), area(coming))


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
    from scipy.stats import spearmanr

    found = []
    for case in cases:
        place = case.labels.names.index(case.label)
        looks = [each.look(case.image) for each in (system, other)]
        maps = [explain(look, (case.labels,), look.ask(case.labels)).maps[place].ravel() for look in looks]
        found.append(float(spearmanr(*maps).statistic))
    return float(np.mean(found))
