"""Does a system answer as trained weights do? Its masks of the demo pairs, beside two that know nothing.

A file can have every right name and shape and still hold an untrained network, or another one. So the same class is
made anew with random weights and asked the same, and so is the ellipse in the box, which does not look at the picture.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

import torch

from ..capabilities.system import System
from ..values import progress
from ..values.answers import Segmentation
from ..values.errors import BadInput
from ..values.prompts import Box, Points
from .demo_pairs import Demo, Structure, demos
from .measure import dice, ellipse


@dataclass(frozen=True, slots=True)
class Score:
    """Dice of one structure: the system's, that of random weights, that of the ellipse in its box."""

    picture: str
    structure: str
    system: float
    untrained: float
    ellipse: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """All scores of a system, and what they say together."""

    tag: str
    prompt: str
    scores: tuple[Score, ...]

    @property
    def means(self) -> tuple[float, float, float]:
        """Mean Dice of the system, of random weights, of the ellipse."""
        columns = zip(*((each.system, each.untrained, each.ellipse) for each in self.scores), strict=True)
        system, untrained, floor = (fmean(column) for column in columns)
        return system, untrained, floor

    @property
    def like_random(self) -> bool:
        """Whether the system is nearer to random weights than to the ellipse, which is better than they are."""
        system, untrained, floor = self.means
        return system < (untrained + floor) / 2 if floor > untrained else system <= untrained

    def sentence(self) -> str:
        """The verdict with its three numbers."""
        system, untrained, floor = self.means
        numbers = f"Dice {system:.2f}; random weights {untrained:.2f}; the ellipse in the box {floor:.2f}"
        about = f"({numbers}; {len(self.scores)} structures by {self.prompt})"
        if self.like_random:
            return f"{self.tag} loads, but answers like random weights {about}."
        if system < floor:
            return (
                f"{self.tag} answers better than random weights, but worse than an ellipse that does not look {about}."
            )
        return f"{self.tag} answers as trained weights do {about}."


def check(system: System, pictures: Iterable[Demo] | None = None, *, seed: int = 0) -> Verdict:
    """Asks the system, and its own class with random weights from `seed`, for every structure of the pictures."""
    kind = prompt_of(system)
    untrained = random_weights(system, seed)
    scores: list[Score] = []
    for demo in pictures if pictures is not None else demos(system.card):
        progress.say(f"{system.tag}: {demo.title}, {len(demo.structures)} structures")
        found, blind = _masks(system, demo, kind), _masks(untrained, demo, kind)
        for each, mine, theirs in zip(demo.structures, found, blind, strict=True):
            floor = dice(each.truth, ellipse(*each.corners, each.truth.shape))
            scores.append(Score(demo.title, each.name, dice(each.truth, mine), dice(each.truth, theirs), floor))
    return Verdict(system.tag, kind, tuple(scores))


def prompt_of(system: System) -> str:
    """The prompt that is used: a box, or one click where the system takes no boxes."""
    card = system.card
    kind = next((each for each in ("box", "points") if each in card.accepts), None)
    if kind is None or "segment" not in card.capabilities or system.network is None:
        raise BadInput(f"{card.name} cannot be checked: the demo pairs are for networks that take a box or a click.")
    return kind


def random_weights(system: System, seed: int) -> System:
    """The same class at the same size, its weights as they are before any training."""
    return type(system).seeded(system.config, seed).placed(str(system.device), "torch")


def _masks(system: System, demo: Demo, kind: str) -> list:
    look = system.look(demo.image)
    with torch.inference_mode():
        answers = [look.ask(_prompt(each, kind)) for each in demo.structures]
    return [answer.masks[0] for answer in answers if isinstance(answer, Segmentation)]


def _prompt(structure: Structure, kind: str) -> Box | Points:
    return structure.box() if kind == "box" else structure.click()
