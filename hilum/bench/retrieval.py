"""Retrieval: whose text belongs to an image, and whose image to a text, by the cosine of their vectors.

A text that several images share counts once among the texts, and any of its images is right for it. What is as near as
the right one stands before it, so a system that tells nothing apart finds nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, cast

import numpy as np
from jaxtyping import Float, Int
from scipy.special import gammaln

from ..adapt.calibrating import FEWEST
from ..adapt.scoring import OF_ALL
from ..capabilities.embed import embed
from ..capabilities.match import Worded
from ..capabilities.system import System
from ..io.read import read
from ..train.labelled import LabelledImage, patients
from ..values import progress
from ..values.errors import BadInput, HilumError
from .label_table import Gap, finite
from .resample import interval, redrawn

DEPTHS = (1, 5, 10)
COLUMNS = (*(f"recall@{depth}" for depth in DEPTHS), "median rank")
BLOCK = 1024  # rows of cosines at once
SMALL = 1e-12
NEAREST = 3  # texts that a record names

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
    images: int
    among: int
    numbers: Mapping[str, tuple[float, float, float]]
    chance: Mapping[str, float]


Both = tuple[Way, Way]  # image to text, text to image


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


def ways(given: Vectored, *, draws: int = 1000, seed: int = 0) -> Both:
    """Image to text and text to image; intervals by whole patients, among all that there are."""
    return Ranked.of(given).whole(draws=draws, seed=seed)


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """At which place each image's text is found, and its text's image; among all, whatever rows are then measured."""

    given: Vectored
    texts: Ranks
    pictures: Ranks

    @classmethod
    def of(cls, given: Vectored) -> Ranked:
        """Both ways once."""
        return cls(given, text_ranks(given), image_ranks(given))

    def whole(self, *, draws: int, seed: int) -> Both:
        """What all images come to."""
        return self.ways(np.arange(len(self.given.own)), draws=draws, seed=seed)

    def ways(self, rows: Ranks, *, draws: int, seed: int) -> Both:
        """What the images of these rows come to."""
        given = self.given
        drawn = [rows[each] for each in redrawn(patients(given.images)[rows], draws=draws, seed=seed)]
        shared = np.bincount(given.own)[given.own]  # images that are right for each image's text
        return (
            _way("image to text", self.texts, (rows, drawn), np.ones_like(given.own), len(given.texts)),
            _way("text to image", self.pictures, (rows, drawn), shared, len(given.images)),
        )

    def by_group(self, column: str, *, draws: int, seed: int) -> dict[str, Both]:
        """Of each group of a column the same, among all texts and images that there are."""
        groups = np.array([image.groups[column] for image in self.given.images])
        names = sorted(set(groups.tolist()), key=lambda name: (len(name), name) if column == "age" else (0, name))
        return {name: self.ways(np.flatnonzero(groups == name), draws=draws, seed=seed) for name in names}

    def records(self) -> list[dict[str, Any]]:
        """Of each image: its text, at which place both were found, and the texts that are nearest to it."""
        given, told = self.given, []
        for place, image in enumerate(given.images):
            cosines = given.words @ given.pictures[place]
            near = np.argsort(-cosines, kind="stable")[:NEAREST]
            own = given.own[place]
            told.append(
                {"file": image.name, "patient": image.patient, **image.groups, "text": given.texts[own]}
                | {"cosine": round(float(cosines[own]), 6), "text_rank": int(self.texts[place])}
                | {"image_rank": int(self.pictures[place]), "nearest": [given.texts[each] for each in near]}
            )
        return told


def _way(name: str, ranks: Ranks, chosen: tuple[Ranks, Sequence[Ranks]], right: Ranks, among: int) -> Way:
    rows, drawn = chosen
    value = _numbers(ranks[rows])
    low, high = interval(np.array([_numbers(ranks[each]) for each in drawn]))
    numbers = {column: (float(value[at]), float(low[at]), float(high[at])) for at, column in enumerate(COLUMNS)}
    return Way(name, len(rows), among, numbers, dict(zip(COLUMNS, _chance(right[rows], among), strict=True)))


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


def largest_gap(groups: Mapping[str, Both]) -> Gap | None:
    """The largest difference in recall between two groups with ten images or more; None where there are none."""
    found = []
    for at, depth in ((at, depth) for at in (0, 1) for depth in COLUMNS[:-1]):
        values = {name: both[at].numbers[depth][0] for name, both in groups.items() if both[at].images >= FEWEST}
        ordered = sorted(values.items(), key=lambda each: each[1])
        name = next(iter(groups.values()))[at].name
        found += [(name, depth, low, high) for low, high in combinations(ordered, 2)]
    if not found:
        return None
    return Gap(*max(found, key=lambda each: each[3][1] - each[2][1]), among=len(found))


def markdown(head: Sequence[str], found: Both, groups: Mapping[str, Mapping[str, Both]], draws: int) -> str:
    """Facts, both ways with chance under each; the same by group with the largest gap; notes."""
    lines = [*head, "", *_table({"": found})]
    for column, each in groups.items():
        gap = largest_gap(each)
        few = f"By {column} no two groups have {FEWEST} images: no gap is told."
        lines += ["", f"**By {column}**", "", *_table(each), "", gap.sentence(column) if gap else few]
    notes = (
        f"95 % intervals by {draws} draws of whole patients, among all texts and images that there are. A text that "
        "several images share counts once, and any of its images is right; what is as near as the right one stands "
        "before it."
    )
    return "\n".join([*lines, "", notes])


def _table(groups: Mapping[str, Both]) -> list[str]:
    """Two lines for each way of each group; a group without a name has no columns of its own."""
    named = any(groups)
    rows = [[*(["group", "images"] if named else []), "", "among", *COLUMNS]]
    rows.append(["---"] * len(rows[0]))
    for name, both in groups.items():
        for way in both:
            told = ["{:.3f} [{:.3f}, {:.3f}]".format(*way.numbers[column]) for column in COLUMNS[:-1]]
            median = "{:g} [{:g}, {:g}]".format(*way.numbers[COLUMNS[-1]])
            lead = [name, str(way.images)] if named else []
            rows.append([*lead, way.name, str(way.among), *told, median])
            chance = [f"{way.chance[column]:.3f}" for column in COLUMNS[:-1]]
            rows.append([*([name, ""] if named else []), "chance", "", *chance, f"{way.chance[COLUMNS[-1]]:g}"])
    return ["| " + " | ".join(row) + " |" for row in rows]


def facts(found: Both, groups: Mapping[str, Mapping[str, Both]]) -> dict[str, Any]:
    """The same as plain types."""
    told: dict[str, Any] = {"all": [asdict(way) for way in found], "by": {}}
    for column, each in groups.items():
        gap = largest_gap(each)
        named = {name: [asdict(way) for way in both] for name, both in each.items()}
        told["by"][column] = {"groups": named, "largest_gap": asdict(gap) if gap else None}
    return finite(told)
