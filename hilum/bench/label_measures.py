"""How well scores tell labels, without training: areas under the curves, calibration error, and accuracy where labels
exclude each other; scikit-learn's measures, with intervals by whole patients, and by group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from ..adapt.scoring import Scored
from ..train.labelled import Labelled, LabelledImage, patients, truths
from ..values import progress
from ..values.errors import BadInput, MissingExtra
from .calibration import calibration_error
from .classes import auroc, average_precision
from .resample import interval, redrawn

MEASURES = ("AUROC", "AUPRC", "calibration error", "balanced accuracy at 0.5")
EXCLUSIVE = ("balanced accuracy", "calibration error of the choice")
MEAN = "mean of labels"

Numbers = Mapping[str, tuple[float, float, float]]  # measure -> value, and its 95 % interval
Values = Float[np.ndarray, "n labels"]
Area = Callable[[np.ndarray, np.ndarray], float]  # of scores and truth


@dataclass(frozen=True, slots=True, eq=False)
class Cases:
    """What is measured: the score that ranks, the system's softmax, the truth (NaN: not known), and the patients."""

    labels: tuple[str, ...]
    score: Values
    softmax: Values
    truth: Values
    patients: np.ndarray
    exclusive: bool = False

    def some(self, rows: np.ndarray) -> Cases:
        """These rows alone; a row may be there twice."""
        score, softmax, truth, patients = (each[rows] for each in (self.score, self.softmax, self.truth, self.patients))
        return Cases(self.labels, score, softmax, truth, patients, self.exclusive)


@dataclass(frozen=True, slots=True)
class Line:
    """A label with its measures; `with_it` of `images` have it, and it is known of so many."""

    label: str
    images: int
    with_it: int
    numbers: Numbers


@dataclass(frozen=True, slots=True)
class Measured:
    """The lines of some cases, their mean last; `choice` is what labels that exclude each other come to."""

    images: int
    lines: tuple[Line, ...]
    choice: Numbers


def metrics() -> Any:
    """scikit-learn's."""
    try:
        from sklearn import metrics as found
    except ImportError as error:
        raise MissingExtra("the areas under the curves", "scikit-learn", "bench") from error
    return found


def cases(scored: Scored, labels: tuple[str, ...], score: str, *, exclusive: bool = False) -> Cases:
    """What was scored, beside what is true; where one label alone can be true, what is not known is not."""
    known = truths(scored.images)
    ranked = scored.softmax if score == "softmax" else scored.similarity
    truth = np.nan_to_num(known) if exclusive else known
    return Cases(labels, ranked, scored.softmax, truth, patients(scored.images), exclusive)


def measured(cases: Cases, *, draws: int = 1000, seed: int = 0) -> Measured:
    """Every measure of every label, and their means over labels, with intervals.

    The values are scikit-learn's; of the draws they are the same measures by `bench.classes`, in a twentieth of the
    time.
    """
    found = metrics()
    exact: tuple[Area, Area] = (
        lambda score, truth: found.roc_auc_score(truth, score),
        lambda score, truth: found.average_precision_score(truth, score),
    )
    drawn = progress.track(redrawn(cases.patients, draws=draws, seed=seed), "draws", draws)
    again = [(_by_label(each, (auroc, average_precision)), _of_choice(each)) for each in map(cases.some, drawn)]
    labels, choice = (
        np.stack([value, *interval(np.array([each[at] for each in again]))], axis=-1)
        for at, value in enumerate((_by_label(cases, exact), _of_choice(cases)))
    )
    known, with_it = np.isfinite(cases.truth).sum(axis=0), np.nansum(cases.truth, axis=0)
    counts = [*zip(known, with_it, strict=True), (len(cases.truth), 0)]
    lines = tuple(
        Line(label, int(count), int(yes), _named(MEASURES, numbers))
        for label, (count, yes), numbers in zip((*cases.labels, MEAN), counts, labels, strict=True)
    )
    return Measured(len(cases.truth), lines, _named(EXCLUSIVE, choice) if cases.exclusive else {})


def by_group(
    cases: Cases, images: Sequence[LabelledImage], column: str, *, draws: int = 1000, seed: int = 0
) -> dict[str, Measured]:
    """The measures of each group that the images of this column belong to, by its name."""
    groups = np.array([image.groups[column] for image in images])
    names = sorted(set(groups), key=lambda name: (len(name), name) if column == "age" else (0, name))
    return {str(name): measured(cases.some(np.flatnonzero(groups == name)), draws=draws, seed=seed) for name in names}


def _named(names: Sequence[str], numbers: Float[np.ndarray, "measures 3"]) -> Numbers:
    return {
        name: (float(value), float(low), float(high)) for name, (value, low, high) in zip(names, numbers, strict=True)
    }


def _by_label(cases: Cases, areas: tuple[Area, Area]) -> Float[np.ndarray, "labels_and_mean measures"]:
    """Of each label and of all in the mean; not a number where a label has no image with it or without it."""
    rows = []
    for place in range(len(cases.labels)):
        known = np.isfinite(cases.truth[:, place])
        truth = cases.truth[known, place] == 1
        if truth.any() and not truth.all():
            error = calibration_error(cases.softmax[known, place], truth)
            called = cases.softmax[known, place] >= 0.5
            balanced = (called[truth].mean() + (~called[~truth]).mean()) / 2
            rows.append([*(area(cases.score[known, place], truth) for area in areas), error, balanced])
        else:
            rows.append([np.nan] * len(MEASURES))
    return np.array([*rows, np.mean(rows, axis=0)])


def mean_auroc(cases: Cases) -> float:
    """The mean of the labels' AUROC."""
    known = np.isfinite(cases.truth)
    pairs = zip(cases.score.T, cases.truth.T, known.T, strict=True)
    return float(np.mean([auroc(score[there], truth[there] == 1) for score, truth, there in pairs]))


def balanced_accuracy(cases: Cases) -> float:
    """Of the choice among labels that exclude each other; not a number where some label is true of no image."""
    return float(_of_choice(cases)[0])


def _of_choice(cases: Cases) -> Float[np.ndarray, " measures"]:
    """The label with the greatest softmax against the true one; not a number where some label is true of no image."""
    if not cases.exclusive or not cases.truth.any(axis=0).all():
        return np.full(len(EXCLUSIVE), np.nan)
    true, chosen = cases.truth.argmax(axis=1), cases.softmax.argmax(axis=1)
    right = true == chosen
    return np.array([metrics().balanced_accuracy_score(true, chosen), calibration_error(cases.softmax.max(1), right)])


def check_exclusive(table: Labelled) -> None:
    """Refuses a table with an image of which not exactly one label is true."""
    if len(table.labels) < 2:
        raise BadInput("--exclusive is a choice among labels: give at least two.")
    for image in table.images:
        count = sum(each is True for each in image.truth)
        if count != 1:
            wanted = f"with --exclusive exactly one of {', '.join(table.labels)} is wanted"
            raise BadInput(f"{table.path}, line {image.line}: {wanted}, and {count} are true.")
