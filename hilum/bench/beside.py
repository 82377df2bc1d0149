"""Several ways to score the same images, the first held against the others: measures of each, gains pair by pair, and
every group by itself, since a shortcut that only tells groups apart is worth nothing within them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from ..train.labelled import LabelledImage
from .label_measures import EXCLUSIVE, MEASURES, Cases, Measured, balanced_accuracy, mean_auroc, measured
from .label_table import finite, number
from .resample import interval, redrawn

Estimate = tuple[float, float, float]  # a value with its 95 % interval
Rows = Int[np.ndarray, " _"]
AREA, CHOICE = "AUROC", EXCLUSIVE[0]
WITHIN = "mean of groups"
GAINED: Mapping[str, Callable[[Cases], float]] = {AREA: mean_auroc, CHOICE: balanced_accuracy}


@dataclass(frozen=True, slots=True, eq=False)
class Beside:
    """Ways by name, the system's own first, on the same images; and how intervals are drawn."""

    ways: Mapping[str, Cases]
    images: Sequence[LabelledImage]
    draws: int = 1000
    seed: int = 0

    @property
    def own(self) -> str:
        """The name of the first."""
        return next(iter(self.ways))

    def measures(self) -> dict[str, Measured]:
        """All measures of each way."""
        return {name: measured(cases, draws=self.draws, seed=self.seed) for name, cases in self.ways.items()}

    def gains(self) -> dict[str, dict[str, Estimate]]:
        """By how much the first is better than each other, on the same draws of whole patients."""
        own, found = self.ways[self.own], dict[str, dict[str, Estimate]]()
        wanted = [what for what in GAINED if own.exclusive or what == AREA]
        for name in list(self.ways)[1:]:
            other = self.ways[name]
            found[name] = {what: self._estimate(_gain(GAINED[what], own, other)) for what in wanted}
        return found

    def within(self, column: str) -> dict[str, dict[str, Estimate]]:
        """Of each way the AUROC (mean of labels) of each group by itself, and last their mean over groups."""
        groups = np.array([image.groups[column] for image in self.images])
        names = sorted(set(groups.tolist()), key=lambda name: (len(name), name) if column == "age" else (0, name))
        members = {name: np.flatnonzero(groups == name) for name in names}
        told = {name: rows for name, rows in members.items() if np.isfinite(mean_auroc(self._first(rows)))}
        return {way: self._by_group(cases, told, groups) for way, cases in self.ways.items()} if told else {}

    def area(self, way: str) -> Estimate:
        """The AUROC (mean of labels) of a way over all images."""
        return self._estimate(lambda rows: mean_auroc(self.ways[way].some(rows)))

    def _first(self, rows: Rows) -> Cases:
        return self.ways[self.own].some(rows)

    def _by_group(self, cases: Cases, members: Mapping[str, Rows], groups: np.ndarray) -> dict[str, Estimate]:
        """A draw takes whole patients of all groups; its rows are then parted by group."""

        def measure(rows: Rows) -> list[float]:
            found = [mean_auroc(cases.some(rows[groups[rows] == name])) for name in members]
            return [*found, float(np.mean(found))]

        value, low, high = self._estimates(measure)
        return {name: (value[at], low[at], high[at]) for at, name in enumerate([*members, WITHIN])}

    def _estimate(self, measure: Callable[[Rows], float]) -> Estimate:
        value, low, high = self._estimates(lambda rows: [measure(rows)])
        return value[0], low[0], high[0]

    def _estimates(self, measure: Callable[[Rows], Sequence[float]]) -> tuple[list[float], ...]:
        own = self.ways[self.own]
        drawn = np.array([measure(rows) for rows in redrawn(own.patients, draws=self.draws, seed=self.seed)])
        bounds = interval(drawn).tolist()
        return [float(each) for each in measure(np.arange(len(self.images)))], *bounds


def _gain(measure: Callable[[Cases], float], own: Cases, other: Cases) -> Callable[[Rows], float]:
    return lambda rows: measure(own.some(rows)) - measure(other.some(rows))


def markdown(given: Beside, measures: Mapping[str, Measured]) -> list[str]:
    """A line for each way, and by how much the first is better than the others; nothing where nothing was measured."""
    if not measures:
        return []
    choice = (CHOICE,) if given.ways[given.own].exclusive else ()
    columns = (*choice, *(name for name in MEASURES if not choice or name != MEASURES[-1]))
    lines = ["| by | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for way, one in measures.items():
        numbers = {**one.choice, **one.lines[-1].numbers}
        lines.append(f"| {way} | " + " | ".join(number(numbers[name]) for name in columns) + " |")
    for name, gains in given.gains().items():
        told = ", ".join(f"{what} {_signed(gain)}" for what, gain in gains.items())
        lines += ["", f"{given.own} less {name}: {told}; on the same draws."]
    return lines


def within_markdown(given: Beside, column: str) -> list[str]:
    """The AUROC of every way in each group by itself, beside that over all images."""
    found = given.within(column)
    if not found:
        return []
    groups = list(next(iter(found.values())))
    head = ["by", "all together", *groups]
    lines = ["", f"AUROC within each {column} by itself:", "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for way, each in found.items():
        lines.append(f"| {way} | " + " | ".join(map(number, (given.area(way), *each.values()))) + " |")
    return lines


def facts(given: Beside, columns: Sequence[str]) -> dict[str, Any]:
    """Gains and groups as plain types."""
    return finite({"gains": given.gains(), "within": {column: given.within(column) for column in columns}})


def _signed(told: Estimate) -> str:
    return f"{told[0]:+.3f} [{told[1]:+.3f}, {told[2]:+.3f}]"
