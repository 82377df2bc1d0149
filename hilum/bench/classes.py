"""How well classes are told apart: the measures of the RETFound study, from scores and true labels alone."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata

Scores = Float[np.ndarray, "n classes"]
Labels = Int[np.ndarray, " n"]


def auroc(scores: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"]) -> float:
    """Chance that a positive scores above a negative, ties half; not a number where one of them is missing."""
    yes, no = int(positive.sum()), int((~positive).sum())
    if not yes or not no:
        return float("nan")
    return float((rankdata(scores)[positive].sum() - yes * (yes + 1) / 2) / (yes * no))


def average_precision(scores: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"]) -> float:
    """Area under precision over recall, as a sum of steps at each score that occurs."""
    if not positive.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    hits, last = np.cumsum(positive[order]), np.append(np.diff(scores[order]) != 0, True)  # ends of ties
    precision, recall = hits[last] / (np.flatnonzero(last) + 1), hits[last] / positive.sum()
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def confusion(chosen: Labels, truth: Labels, classes: int) -> Int[np.ndarray, "truth chosen"]:
    """How often each true class (row) was called each class (column)."""
    table = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(table, (truth, chosen), 1)
    return table


def measures(scores: Scores, truth: Labels) -> dict[str, float]:
    """Macro one-vs-rest AUROC and AUPR, accuracy, macro F1, Cohen's kappa, Hamming loss, macro Jaccard; and `score`,
    by which the study chooses its models: the mean of F1, AUROC and kappa. Classes without a case are left out."""
    classes = scores.shape[1]
    table = confusion(scores.argmax(1), truth, classes)
    right, true, called = np.diag(table), table.sum(1), table.sum(0)
    there = np.flatnonzero(true + called)  # F1 and Jaccard count every class that is said or true
    total = len(truth)
    accuracy, chance = right.sum() / total, float((true * called).sum()) / total**2
    asked = [number for number in range(classes) if true[number]]
    found = {
        "auroc": float(np.mean([auroc(scores[:, number], truth == number) for number in asked])),
        "aupr": float(np.mean([average_precision(scores[:, number], truth == number) for number in asked])),
        "accuracy": float(accuracy),
        "f1": float((2 * right[there] / (true + called)[there]).mean()),
        "kappa": float((accuracy - chance) / (1 - chance)) if chance < 1 else float("nan"),
        "hamming": float(1 - accuracy),
        "jaccard": float((right[there] / (true + called - right)[there]).mean()),
    }
    return found | {"score": float(np.mean([found["f1"], found["auroc"], found["kappa"]]))}
