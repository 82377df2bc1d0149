"""Does an adapter give away which cases it learned from? The loss-threshold attack (Yeom et al. 2018, sec. 3.2):
whoever has a case and its label guesses "was trained on" where the Dice is high. An AUROC of 0.5 is a coin's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..capabilities.system import System
from ..train.loop import Material
from ..train.score import scored

MOST = 60  # cases; more would cost minutes and narrow the interval little


@dataclass(frozen=True, slots=True, eq=False)
class ByCase:
    """Mean Dice of each case, of those learned from and of those held back, by name."""

    train: dict[str, float]
    held: dict[str, float]

    def means(self) -> dict[str, float]:
        """Both means."""
        return {
            "train": round(float(np.mean(list(self.train.values()))), 4),
            "held": round(float(np.mean(list(self.held.values()))), 4),
        }


def by_case(system: System, material: Material) -> ByCase:
    """The cases through the door, with the same prompts every time; at most MOST of either part."""
    system.network.eval()  # type: ignore[union-attr]
    train, held = (
        {case.name: float(np.mean(scored(system, case.samples[:4]))) for case in cases[:MOST]}
        for cases in (material.train, material.held)
    )
    return ByCase(train, held)


def attack(found: ByCase, *, draws: int = 2000, seed: int = 0) -> dict[str, float]:
    """AUROC of telling learned from held cases by their Dice, with its 95 % bootstrap interval over cases."""
    members, others = (np.array(list(each.values())) for each in (found.train, found.held))
    rng = np.random.default_rng(seed)
    drawn = [
        auroc(rng.choice(members, len(members)), rng.choice(others, len(others))) for _ in range(draws)
    ]  # cases with replacement on either side
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"auroc": round(auroc(members, others), 3), "low": round(float(low), 3), "high": round(float(high), 3)}


def auroc(positive: np.ndarray, negative: np.ndarray) -> float:
    """The chance that a positive lies above a negative; ties count one half (Mann and Whitney 1947)."""
    above = positive[:, None] - negative[None]
    return float((above > 0).mean() + 0.5 * (above == 0).mean())
