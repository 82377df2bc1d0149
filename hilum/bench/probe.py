"""What vectors know without further training: a linear probe and nearest neighbours, cross-validated by group.

The linear probe is `adapt.probing`'s; the neighbours vote by cosine similarity (Wu et al. 2018, sec. 3.4).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import softmax

from ..adapt.probing import fit
from ..values.errors import BadInput
from .classes import Labels, Scores, measures

Vectors = Float[np.ndarray, "n dim"]
Probe = Callable[[Vectors, Labels, Vectors, int], Scores]  # known vectors, their labels, asked vectors, classes
TEMPERATURE = 0.07  # of the votes (Wu et al. 2018)


@dataclass(frozen=True, slots=True)
class Result:
    """Held-out scores of every case, and what they come to."""

    scores: Scores
    measures: dict[str, float]


def linear(known: Vectors, labels: Labels, asked: Vectors, classes: int, *, ridge: float = 1e-2) -> Scores:
    """Probabilities of the classes by logistic regression; `ridge` is per case, on standardised vectors."""
    return softmax(fit(known, labels, tuple(map(str, range(classes))), ridge=ridge).logits(asked), axis=1)


def neighbours(known: Vectors, labels: Labels, asked: Vectors, classes: int, *, count: int = 5) -> Scores:
    """Shares of the votes of the nearest `count` known vectors, each weighed by exp(cosine / temperature)."""
    unit_known, unit_asked = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (known, asked))
    likeness = unit_asked @ unit_known.T  # (asked, known)
    nearest = np.argsort(-likeness, axis=1, kind="stable")[:, :count]
    votes = softmax(np.take_along_axis(likeness, nearest, axis=1) / TEMPERATURE, axis=1)
    return np.einsum("nk,nkc->nc", votes, np.eye(classes)[labels[nearest]])


def cross_validated(
    probe: Probe, vectors: Vectors, labels: Labels, groups: Sequence[object], *, folds: int = 5, seed: int = 0
) -> Result:
    """Every case scored by a probe that saw none of its group (a patient); folds are drawn from the groups."""
    _check(vectors, labels, groups)
    classes = int(labels.max()) + 1
    fold_of = _folds(groups, folds, seed)
    scores = np.zeros((len(labels), classes))
    for fold in range(int(fold_of.max()) + 1):
        held = fold_of == fold
        scores[held] = probe(vectors[~held], labels[~held], vectors[held], classes)
    return Result(scores, measures(scores, labels))


def _folds(groups: Sequence[object], folds: int, seed: int) -> Int[np.ndarray, " n"]:
    """The fold of each case: groups shuffled, then dealt one by one."""
    names = sorted(set(groups), key=str)
    order = np.random.default_rng(seed).permutation(len(names))
    dealt = {names[number]: place % min(folds, len(names)) for place, number in enumerate(order)}
    return np.array([dealt[group] for group in groups])


def _check(vectors: Vectors, labels: Labels, groups: Sequence[object]) -> None:
    if not len(vectors) == len(labels) == len(groups):
        raise BadInput(f"{len(vectors)} vectors want as many labels and groups, got {len(labels)} and {len(groups)}.")
    if len(set(groups)) < 2 or len(np.unique(labels)) < 2:
        raise BadInput("a probe wants at least two classes, and at least two groups (patients) to hold one back.")
