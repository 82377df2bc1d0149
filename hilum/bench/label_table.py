"""The measures of labels as a page: a table of all images, one for each way of grouping them, and the largest gaps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from ..adapt.calibrating import FEWEST
from ..adapt.scoring import Scored
from .label_measures import EXCLUSIVE, MEAN, MEASURES, Cases, Line, Measured

Groups = Mapping[str, Mapping[str, Measured]]  # column -> group -> its measures
NONE = "–"


@dataclass(frozen=True, slots=True)
class Gap:
    """The largest difference of a measure between two groups, of `among` that could be compared."""

    label: str
    measure: str
    low: tuple[str, float]
    high: tuple[str, float]
    among: int

    @property
    def apart(self) -> float:
        """The difference."""
        return self.high[1] - self.low[1]

    def sentence(self, by: str) -> str:
        """In words; the largest of many is larger than it will be found again."""
        return (
            f"Largest gap by {by}: {self.measure} of {self.label}, {self.low[0]} {self.low[1]:.3f} and {self.high[0]} "
            f"{self.high[1]:.3f}, {self.apart:.3f} apart; the largest of {self.among} differences, so expect less."
        )


def largest_gap(groups: Mapping[str, Measured]) -> Gap | None:
    """Among groups with ten images with a label and ten without; None where no two can be compared."""
    found: list[tuple[str, str, tuple[str, float], tuple[str, float]]] = []
    for label, measure, values in _comparable(groups):
        ordered = sorted(values.items(), key=lambda each: each[1])
        found += [(label, measure, low, high) for low, high in combinations(ordered, 2)]
    if not found:
        return None
    return Gap(*max(found, key=lambda each: each[3][1] - each[2][1]), among=len(found))


def _comparable(groups: Mapping[str, Measured]) -> list[tuple[str, str, dict[str, float]]]:
    """(label, measure, value by group) of what has enough images."""
    labels = [line.label for line in next(iter(groups.values())).lines if line.label != MEAN]
    found = []
    for place, label in enumerate(labels):
        lines = {name: each.lines[place] for name, each in groups.items()}
        enough = {name: each for name, each in lines.items() if min(each.with_it, each.images - each.with_it) >= FEWEST}
        found.append((label, MEASURES[0], {name: each.numbers[MEASURES[0]][0] for name, each in enough.items()}))
    chosen = {name: each.choice[EXCLUSIVE[0]][0] for name, each in groups.items() if each.choice}
    large = {
        name: value for name, value in chosen.items() if groups[name].images >= 2 * FEWEST and math.isfinite(value)
    }
    return [*found, ("the choice", EXCLUSIVE[0], large)]


def markdown(head: Sequence[str], whole: Measured, groups: Groups, notes: Sequence[str]) -> str:
    """Facts, the table of all images, a table for each way of grouping with its largest gap, and notes."""
    parts = [*head, "", *_table({"": whole}), *_choice({"": whole})]
    for by, each in groups.items():
        gap = largest_gap(each)
        few = f"By {by} no two groups have {FEWEST} images with a label and {FEWEST} without: no gap is told."
        parts += ["", f"**By {by}**", "", *_table(each), *_choice(each), "", gap.sentence(by) if gap else few]
    return "\n".join([*parts, "", *notes])


def facts(whole: Measured, groups: Groups) -> dict[str, Any]:
    """The same as plain types; what is not a number is None."""
    told: dict[str, Any] = {"all": asdict(whole), "by": {}}
    for by, each in groups.items():
        gap = largest_gap(each)
        named = {name: asdict(one) for name, one in each.items()}
        told["by"][by] = {"groups": named, "largest_gap": asdict(gap) if gap else None}
    return finite(told)


def finite(value: Any) -> Any:
    """Plain types without what is no number."""
    match value:
        case dict():
            return {key: finite(each) for key, each in value.items()}
        case list() | tuple():
            return [finite(each) for each in value]
        case float():
            return value if math.isfinite(value) else None
        case _:
            return value


def notes(scored: Scored, cases: Cases, score: str, draws: int) -> list[str]:
    """What the numbers are, and what does not fit them."""
    told = [
        f"Images are ranked by the {score}, the calibration error is that of the softmax; 95 % intervals by {draws} "
        f"draws of whole patients. AUROC of chance is 0.5, AUPRC of chance the share with the label. {NONE}: too few "
        "images with the label or without it."
    ]
    shared = scored.softmax.shape[1] > 1 and np.allclose(scored.softmax.sum(axis=1), 1.0, atol=1e-3)
    if shared and not cases.exclusive and score == "softmax":
        told.append(
            "The softmax of this system is shared by all labels asked, as fits labels that exclude each other: where "
            "several may be true of one image, --score similarity ranks by each label alone."
        )
    return told


def _table(groups: Mapping[str, Measured]) -> list[str]:
    """A line for each label of each group; a group without a name has no column."""
    named = any(groups)
    rows = [[*(["group"] if named else []), "label", "images", "with it", *MEASURES]]
    rows.append(["---"] * len(rows[0]))
    for name, each in groups.items():
        rows += [[*([name] if named else []), *_cells(line)] for line in each.lines]
    return ["| " + " | ".join(row) + " |" for row in rows]


def _cells(line: Line) -> list[str]:
    with_it = "" if line.label == MEAN else str(line.with_it)
    return [line.label, str(line.images), with_it, *(number(line.numbers[name]) for name in MEASURES)]


def _choice(groups: Mapping[str, Measured]) -> list[str]:
    """A sentence for each group whose labels exclude each other."""
    told = []
    for name, each in groups.items():
        if each.choice:
            start = f"{name}: by" if name else "By"
            chance = 1 / (len(each.lines) - 1)
            numbers = ", ".join(f"{what} {number(each.choice[what])}" for what in EXCLUSIVE)
            told += ["", f"{start} the greatest softmax {numbers}; chance {chance:.3f}."]
    return told


def number(told: tuple[float, float, float]) -> str:
    """A value with its interval; a dash for what could not be measured."""
    if not np.isfinite(told[0]):
        return NONE
    bounds = f"[{told[1]:.3f}, {told[2]:.3f}]" if np.isfinite(told[1:]).all() else f"[{NONE}]"
    return f"{told[0]:.3f} {bounds}"
