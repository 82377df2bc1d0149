"""Retrieval: whose text belongs to an image, and whose image to a text, by the cosine of their vectors.

A text that several images share counts once among the texts, and any of its images is right for it. What is as near as
the right one stands before it, so a system that tells nothing apart finds nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from jaxtyping import Float, Int
from scipy.special import gammaln

from ..adapt.scoring import OF_ALL
from ..capabilities.embed import embed
from ..capabilities.match import Worded
from ..capabilities.system import System
from ..io.read import read
from ..train.labelled import LabelledImage, patients
from ..values import progress
from ..values.errors import BadInput, HilumError
from .resample import interval, redrawn

DEPTHS = (1, 5, 10)
COLUMNS = (*(f"recall@{depth}" for depth in DEPTHS), "median rank")
BLOCK = 1024  # rows of cosines at once
SMALL = 1e-12

Vectors = Float[np.ndarray, "n dim"]
Ranks = Int[np.ndarray, " n"]


@dataclass(frozen=True, slots=True, eq=False)
class Vectored:
    """Images with vectors, the texts that there are, and which of them each image has."""

    images: tuple[LabelledImage, ...]
    pictures: Vectors
    texts: tuple[str, ...]
    words: Vectors
    own: Int[np.ndarray, " n"]


@dataclass(frozen=True, slots=True)
class Way:
    """One direction: recall at each depth and the median rank, each with its 95 % interval; and those of chance."""

    name: str
    among: int
    numbers: Mapping[str, tuple[float, float, float]]
    chance: Mapping[str, float]


def vectored(
    system: System, images: Sequence[LabelledImage], *, modality: str | None = None
) -> tuple[Vectored, dict[str, str]]:
    """The vectors of all images and texts, and what failed. Texts are read one by one: none is padded by another."""
    there, pictures, failed = [], [], {}
    for image in progress.track(images, "images"):
        try:
            vectors = embed(system.look(read(image.file, modality=modality)), ()).vectors
            if len(vectors) != 1:
                raise BadInput(f"a volume of {len(vectors)} planes has no one vector; give a picture")
        except OF_ALL:
            raise
        except HilumError as error:
            failed[image.name] = str(error)
        else:
            there.append(image)
            pictures.append(vectors[0])
    texts = tuple(dict.fromkeys(image.text for image in there))
    if len(texts) < 2:
        raise BadInput(f"{len(texts)} different texts among {len(there)} images that could be read: too few to tell.")
    words = [cast(Worded, system).worded([text])[0] for text in progress.track(texts, "texts")]
    place = {text: number for number, text in enumerate(texts)}
    own = np.array([place[image.text] for image in there])
    return Vectored(tuple(there), _units(pictures), texts, _units(words), own), failed


def _units(vectors: Sequence[np.ndarray]) -> Vectors:
    found = np.stack(vectors).astype(np.float32)
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), SMALL)


def text_ranks(given: Vectored) -> Ranks:
    """Of each image, at which place its text is found; 1 is the first."""
    parts = []
    for start in range(0, len(given.pictures), BLOCK):
        cosines, own = given.pictures[start : start + BLOCK] @ given.words.T, given.own[start : start + BLOCK]
        parts.append((cosines >= np.take_along_axis(cosines, own[:, None], axis=1)).sum(axis=1))
    return np.concatenate(parts)


def image_ranks(given: Vectored) -> Ranks:
    """Of each image's text, at which place the first image that has it is found."""
    by_text = []
    for start in range(0, len(given.words), BLOCK):
        cosines = given.words[start : start + BLOCK] @ given.pictures.T
        right = given.own[None] == np.arange(start, start + len(cosines))[:, None]
        best = np.where(right, cosines, -np.inf).max(axis=1, keepdims=True)
        by_text.append(1 + ((cosines >= best) & ~right).sum(axis=1))
    return np.concatenate(by_text)[given.own]


def ways(given: Vectored, *, draws: int = 1000, seed: int = 0) -> tuple[Way, Way]:
    """Image to text and text to image; intervals by whole patients, among all that there are."""
    drawn = list(redrawn(patients(given.images), draws=draws, seed=seed))
    shared = np.bincount(given.own)[given.own]  # images that are right for each image's text
    return (
        _way("image to text", text_ranks(given), np.ones_like(given.own), len(given.texts), drawn),
        _way("text to image", image_ranks(given), shared, len(given.images), drawn),
    )


def _way(name: str, ranks: Ranks, right: Ranks, among: int, drawn: Sequence[np.ndarray]) -> Way:
    value = _numbers(ranks)
    low, high = interval(np.array([_numbers(ranks[rows]) for rows in drawn]))
    numbers = {column: (float(value[at]), float(low[at]), float(high[at])) for at, column in enumerate(COLUMNS)}
    return Way(name, among, numbers, dict(zip(COLUMNS, _chance(right, among), strict=True)))


def _numbers(ranks: Ranks) -> Float[np.ndarray, " measures"]:
    return np.array([*((ranks <= depth).mean() for depth in DEPTHS), np.median(ranks)])


def _chance(right: Ranks, among: int) -> list[float]:
    """What one finds who draws: recall at each depth, and the depth at which half is found."""
    counts, cases = np.unique(right, return_counts=True)
    wrong = among - counts

    def recall(depth: int) -> float:
        """1 less the chance that all of so many draws are wrong ones."""
        left = np.maximum(wrong - depth, 0)
        logs = gammaln(wrong + 1) - gammaln(left + 1) + gammaln(among - depth + 1) - gammaln(among + 1)
        return float(1 - np.average(np.where(wrong >= depth, np.exp(logs), 0.0), weights=cases))

    half = bisect_left(range(1, among + 1), True, key=lambda depth: recall(depth) >= 0.5 - 1e-9)
    return [*(recall(min(depth, among)) for depth in DEPTHS), float(1 + half)]


def markdown(head: Sequence[str], found: Sequence[Way], draws: int) -> str:
    """Facts, both ways with chance under each, and notes."""
    rows = [["", "among", *COLUMNS], ["---"] * (2 + len(COLUMNS))]
    for way in found:
        told = ["{:.3f} [{:.3f}, {:.3f}]".format(*way.numbers[column]) for column in COLUMNS[:-1]]
        median = "{:g} [{:g}, {:g}]".format(*way.numbers[COLUMNS[-1]])
        rows.append([way.name, str(way.among), *told, median])
        chance = [f"{way.chance[column]:.3f}" for column in COLUMNS[:-1]]
        rows.append(["chance", "", *chance, f"{way.chance[COLUMNS[-1]]:g}"])
    notes = (
        f"95 % intervals by {draws} draws of whole patients, among all texts and images that there are. A text that "
        "several images share counts once, and any of its images is right; what is as near as the right one stands "
        "before it."
    )
    return "\n".join([*head, "", *("| " + " | ".join(row) + " |" for row in rows), "", notes])
