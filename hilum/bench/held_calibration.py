"""A calibration with what it does on patients that it was not fitted to: error and loss, before and after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from ..adapt.calibrating import CalibratedLabel, fit, scaled
from ..adapt.scoring import Scored
from ..io.reliability import Reliability
from ..train.labelled import patients, truths
from .calibration import calibration_error, reliability
from .resample import interval, redrawn

Numbers = Float[np.ndarray, " n"]
Truth = Bool[np.ndarray, " n"]


@dataclass(frozen=True, slots=True)
class Plan:
    """How it is cross-validated and how intervals are drawn; patients stay whole in both."""

    folds: int = 5
    draws: int = 1000
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """Of one label: the truth of each image, the system's own softmax, and the probability by a fit on others."""

    truth: Truth
    before: Numbers
    after: Numbers
    patients: np.ndarray

    def facts(self, plan: Plan) -> dict[str, Any]:
        """Each measure before and after: the value, and its 95 % interval by whole patients."""
        drawn = list(redrawn(self.patients, draws=plan.draws, seed=plan.seed))
        found: dict[str, Any] = {}
        for name, measure in (("calibration_error", calibration_error), ("log_loss", log_loss)):
            for when, probability in (("before", self.before), ("after", self.after)):
                values = np.array([measure(probability[each], self.truth[each]) for each in drawn])
                told = [measure(probability, self.truth), *interval(values).tolist()]
                found.setdefault(name, {})[when] = [round(number, 6) for number in told]
        return found

    def picture(self, name: str, facts: dict[str, Any]) -> Reliability:
        """The bins of both probabilities, and the errors in words."""
        error = facts["calibration_error"]
        words = f"error {error['before'][0]:.3f} before, {error['after'][0]:.3f} after"
        return Reliability(name, words, reliability(self.before, self.truth), reliability(self.after, self.truth))


def log_loss(probability: Numbers, truth: Truth) -> float:
    """Mean of -log of what was given to the truth, in nats; no probability counts as less than 1e-7."""
    given = np.where(truth, probability, 1 - probability)
    return float(-np.log(np.clip(given, 1e-7, 1.0)).mean())


def calibrated(
    scored: Scored, names: tuple[str, ...], score: str, plan: Plan
) -> Iterator[tuple[CalibratedLabel, Reliability]]:
    """Of each label the two numbers by all images where it is known, with what such fits do on patients not seen."""
    scores = scaled(score, scored.similarity, scored.softmax)
    known, people = truths(scored.images), patients(scored.images)
    for place, name in enumerate(names):
        there = np.isfinite(known[:, place])
        truth, mine = known[there, place] == 1, people[there]
        held = held_out(scores[there, place], scored.softmax[there, place], (truth, mine), plan)
        facts = held.facts(plan)
        platt, counts = fit(scores[there, place], truth), (len(truth), int(truth.sum()), len(set(mine)))
        yield CalibratedLabel(name, scored.texts[place], platt, *counts, facts), held.picture(name, facts)


def held_out(scores: Numbers, softmax: Numbers, known: tuple[Truth, np.ndarray], plan: Plan) -> Held:
    """Every image scaled by a fit that saw none of its patient; `known` are the truth and the patient of each."""
    truth, people = known
    fold_of = dealt(people, truth, plan)
    after = np.zeros(len(truth))
    for fold in range(int(fold_of.max()) + 1):
        held = fold_of == fold
        after[held] = fit(scores[~held], truth[~held])(scores[held])
    return Held(truth, softmax.astype(np.float64), after, people)


def dealt(people: np.ndarray, truth: Truth, plan: Plan) -> Int[np.ndarray, " n"]:
    """The fold of each image: patients who have the label are dealt first, then the others, so that no fold has all."""
    names, place = np.unique(people, return_inverse=True)
    have = np.bincount(place, weights=truth) > 0
    order = np.random.default_rng(plan.seed).permutation(len(names))
    order = np.concatenate([order[have[order]], order[~have[order]]])
    fold = np.empty(len(names), dtype=int)
    fold[order] = np.arange(len(names)) % min(plan.folds, len(names))
    return fold[place]
