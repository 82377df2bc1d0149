"""What `hilum ask` says at the end: a small table, or one line about the file that was written."""

from __future__ import annotations

import math
from functools import singledispatch
from pathlib import Path
from typing import Any

from ..io.uncertainty import summary
from ..io.words import confidence_words, dice_words, size_words
from ..values.answers import Embedding, Findings, Reply, Scores, Segmentation
from ..values.explanation import Explanation
from . import table


@singledispatch
def text(answer: Any) -> str:
    """An answer for a person to read."""
    raise TypeError(f"no text is written for a {type(answer).__name__}")


@text.register
def _(answer: Segmentation) -> str:
    if not answer.names:
        return "no object was found"
    head = ["object", "confidence", "voxels" if answer.image.dimensions == 3 else "pixels", "size", "box"]
    confidences = [f"{score:.2f}" if math.isfinite(score) else "none" for score in answer.scores]
    columns = [answer.names, confidences, map(str, answer.voxels()), size_words(answer), map(_box, answer.boxes())]
    if answer.uncertainty is not None:
        head.append("nats inside, at edge")
        columns.append([_unsure(answer, number) for number in range(len(answer.names))])
    return table.rows(head, list(zip(*columns, strict=True)), right=frozenset({1, 2, 3}))


def _unsure(answer: Segmentation, number: int) -> str:
    found = summary(answer, number)
    means = found.mean_in_mask, found.mean_along_boundary
    return ", ".join(f"{mean:.2f}" if math.isfinite(mean) else "none" for mean in means)


@text.register
def _(answer: Scores) -> str:
    columns = {"similarity": answer.similarity, "softmax": answer.softmax}
    columns |= {} if answer.probability is None else {"probability": answer.probability}
    body = [(name, *(f"{values[at]:.3f}" for values in columns.values())) for at, name in enumerate(answer.names)]
    return table.rows(("label", *columns), body, right=frozenset({1, 2, 3}))


@text.register
def _(answer: Reply) -> str:
    return answer.text


@text.register
def _(answer: Embedding) -> str:
    axes = " × ".join(f"{length} {axis}" for axis, length in zip(answer.axes, answer.vectors.shape, strict=True))
    return f"an embedding, {axes}; write it with -o FILE.npz, or show it with --json"


@text.register
def _(answer: Findings) -> str:
    if not answer.items:
        return "nothing was found"
    return "\n".join("; ".join(f"{key}: {value}" for key, value in item.items()) for item in answer.items)


@text.register
def _(answer: Explanation) -> str:
    if answer.ablations:
        body = [(each.name, each.prompt, each.how, dice_words(each)) for each in answer.ablations]
        return table.rows(("object", "prompt", "change", "answer"), body)
    return table.rows(("label", "peak", "in the top tenth"), [_map(answer, at) for at in range(len(answer.names))])


def _map(answer: Explanation, number: int) -> tuple[str, str, str]:
    peak, share = answer.peak(number), answer.share_in_top_tenth(number)
    words = "nothing speaks for it" if peak is None else ",".join(map(str, peak))
    return answer.names[number], words, "none" if share is None else f"{share:.0%}"


def line(answer: Any, path: Path) -> str:
    """One line about a file: "mask.nii.gz: liver 1502 ml, confidence 0.91; spleen 180 ml, confidence 0.88"."""
    if not isinstance(answer, Segmentation):
        return f"{path}: {text(answer).splitlines()[0]}"
    objects = [
        f"{name} {size}, {confidence_words(score)}"
        for name, size, score in zip(answer.names, size_words(answer), answer.scores, strict=True)
    ]
    return f"{path}: {'; '.join(objects) or 'no object was found'}"


def _box(box: tuple[tuple[int, ...], tuple[int, ...]] | None) -> str:
    return "empty" if box is None else ":".join(",".join(map(str, corner)) for corner in box)
