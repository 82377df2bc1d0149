"""How good a system's masks of samples are: Dice, asked through the door with the same prompts every time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from ..capabilities.segment import Semantic
from ..capabilities.system import System
from ..capabilities.trainable import Sample
from ..parts import interaction
from ..values import progress
from ..values.prompts import Box, Points, Spatial


def dice(truth: Bool[np.ndarray, " *grid"], mask: Bool[np.ndarray, " *grid"]) -> float:
    """2|A∩B| / (|A| + |B|); two empty masks agree (1)."""
    total = int(truth.sum()) + int(mask.sum())
    return 1.0 if total == 0 else 2.0 * int((truth & mask).sum()) / total


def scored(system: System, samples: Sequence[Sample], *, seed: int = 0) -> list[float]:
    """Mean Dice of the objects of each sample: by a box that is a little off, by a click, or unprompted."""
    found = []
    with progress.heard_by(lambda what, done, total: None):  # a look here is a step of something larger
        for number, sample in enumerate(samples):
            rng = np.random.default_rng([seed, number])
            found.append(float(np.mean([dice(truth, mask) for truth, mask in _answers(system, sample, rng)])))
    return found


def _answers(system: System, sample: Sample, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    look = system.look(sample.image)
    if isinstance(system, Semantic) and "box" not in system.card.accepts:
        answer = look.ask()
        masks = dict(zip(answer.names, answer.masks, strict=True))  # type: ignore[union-attr]
        nothing = np.zeros(sample.masks.shape[1:], dtype=bool)
        asked = zip(system.targets(), sample.masks, strict=True)
        return [(truth, masks.get(name, nothing)) for name, truth in asked if truth.any()]
    return [(truth, look.ask(_prompt(system, truth, rng)).masks[0]) for truth in sample.masks]  # type: ignore[union-attr]


def _prompt(system: System, truth: Bool[np.ndarray, "h w"], rng: np.random.Generator) -> Spatial:
    if "box" in system.card.accepts:
        return Box(*interaction.jittered_box(truth, rng, amount=0.05))
    return Points(np.array([interaction.first_click(truth).at]))
