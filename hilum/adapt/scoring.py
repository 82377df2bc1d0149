"""The scores of many labelled images by one system; what is wrong with one image is told, and the rest is done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from jaxtyping import Float

from ..capabilities.system import System
from ..io.read import read
from ..train.labelled import LabelledImage
from ..values import progress
from ..values.answers import Scores
from ..values.card import Card
from ..values.errors import BadInput, HilumError, MissingExtra, UnsupportedPrompt, WeightsUnavailable
from ..values.prompts import Labels

OF_ALL = (WeightsUnavailable, MissingExtra, UnsupportedPrompt)  # what is wrong with every image alike

Answered = tuple[LabelledImage, Scores | str]  # the answer, or the sentence that says why there is none


def check(card: Card) -> None:
    """Refuses a system that compares no pictures with labels."""
    if "labels" not in card.accepts:
        raise UnsupportedPrompt(card.name, "Labels", card.accepts)
    if "match" not in card.capabilities:
        raise BadInput(f"{card.name} answers labels with {', '.join(card.returns)}, not with scores of them.")


def answers(
    system: System, images: Sequence[LabelledImage], labels: Labels, *, modality: str | None = None
) -> Iterator[Answered]:
    """Each image by itself, in order."""
    for image in progress.track(images, "images"):
        try:
            scores = cast(Scores, system.ask(read(image.file, modality=modality), labels))
        except OF_ALL:
            raise
        except HilumError as error:
            yield image, str(error)
        else:
            yield image, scores


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """The images that were scored, and what the system makes of each label."""

    images: tuple[LabelledImage, ...]
    similarity: Float[np.ndarray, "n labels"]
    softmax: Float[np.ndarray, "n labels"]
    texts: tuple[tuple[str, ...], ...]


def gathered(found: Sequence[Answered]) -> Scored:
    """The answers side by side; those images are left out that have none."""
    there = [(image, answer) for image, answer in found if isinstance(answer, Scores)]
    if not there:
        raise BadInput(f"none of {len(found)} images could be scored, as listed above.")
    scores = [answer for _, answer in there]
    similarity, softmax = (np.stack([getattr(each, name) for each in scores]) for name in ("similarity", "softmax"))
    return Scored(tuple(image for image, _ in there), similarity, softmax, scores[0].texts or ())
