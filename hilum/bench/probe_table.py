"""`hilum bench probe`: what frozen vectors know, beside the rivals on the same folds; measures, groups, records."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from ..adapt.data_check import difference_hash
from ..io.atomic import replacing
from ..train.labelled import LabelledImage
from . import label_table, probe, rivals
from .beside import Beside, within_markdown
from .beside import markdown as table
from .label_measures import Cases, Measured

NEAR = 6  # bits of the difference hash in which pictures of one group differ at most
OURS = ("linear probe", "5 nearest neighbours")
NOTE = (
    "The folds hold groups back from the probe and from the rivals, not from the encoder: where the system's weights "
    "were trained on these very pictures, its numbers are too good beside rivals that were not."
)
RIVALS = ("HOG + ridge", "1-nearest 8 × 8 thumbnail")


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """Images with their class, the group that stays together, their vectors and their middle squares."""

    images: tuple[LabelledImage, ...]
    names: tuple[str, ...]
    labels: Int[np.ndarray, " n"]
    groups: np.ndarray
    vectors: np.ndarray
    squares: Sequence[rivals.Square]


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """Scores of every image by each way, from folds that saw none of its group."""

    material: Material
    scores: Mapping[str, np.ndarray]

    def cases(self, way: str) -> Cases:
        """For the measures: exactly one class is true of each image."""
        truth = np.eye(len(self.material.names))[self.material.labels]
        score = self.scores[way]
        return Cases(self.material.names, score, score, truth, self.material.groups, exclusive=True)


def alike(squares: Sequence[rivals.Square], together: Sequence[str] = (), near: int = NEAR) -> list[str]:
    """Groups of pictures that look alike, joined through chains of at most `near` differing bits; what `together` calls
    by one name (a patient) is joined too."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    signs = np.stack([np.where(difference_hash(each / 255), 1, -1) for each in squares]).astype(np.float32)
    like = [np.flatnonzero(signs @ one >= len(one) - 2 * near) for one in signs]  # agreeing less differing
    rows, columns = np.repeat(np.arange(len(like)), [len(each) for each in like]), np.concatenate(like)
    names, place = np.unique(np.array(together, dtype=str), return_inverse=True)
    rows, columns = np.append(rows, np.arange(len(place))), np.append(columns, len(like) + place)  # each name is a node
    size = len(like) + len(names)
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(size, size))
    return [f"alike {number}" for number in connected_components(graph, directed=False)[1][: len(like)]]


def held_out(material: Material, *, folds: int, seed: int) -> Held:
    """Every way on the same folds."""
    gradients, thumbnails = rivals.gradients(material.squares), rivals.thumbnails(material.squares)
    ways: dict[str, tuple[probe.Probe, np.ndarray]] = {
        OURS[0]: (probe.linear, material.vectors),
        OURS[1]: (probe.neighbours, material.vectors),
        RIVALS[0]: (rivals.ridge, gradients),
        RIVALS[1]: (rivals.nearest, thumbnails),
    }
    groups = material.groups.tolist()
    scores = {
        name: probe.cross_validated(way, given, material.labels, groups, folds=folds, seed=seed).scores
        for name, (way, given) in ways.items()
    }
    return Held(material, scores)


def beside(held: Held, *, draws: int, seed: int) -> Beside:
    """Every way, the linear probe first."""
    return Beside({way: held.cases(way) for way in held.scores}, held.material.images, draws, seed)


def markdown(
    head: Sequence[str], given: Beside, found: Mapping[str, Measured], groups: Mapping[str, Mapping[str, Measured]]
) -> str:
    """A line for each way and what the linear probe gains over them; then by group, with its largest gap."""
    lines = [*head, "", *table(given, found)]
    for column, each in groups.items():
        gap = label_table.largest_gap(each)
        lines += ["", f"**{OURS[0]}, by {column}**", "", "| group | images | balanced accuracy |", "|---|---:|---|"]
        lines += [
            f"| {name} | {one.images} | {label_table.number(one.choice['balanced accuracy'])} |"
            for name, one in each.items()
        ]
        lines += ["", gap.sentence(column) if gap else f"By {column} no two groups are large enough: no gap is told."]
        lines += within_markdown(given, column)
    return "\n".join([*lines, "", NOTE])


def write_records(held: Held, path: Path) -> None:
    """A line of JSON for each image: its class, its group, and the probabilities of every way."""
    material, lines = held.material, []
    for place, image in enumerate(material.images):
        told = {
            way: dict(zip(material.names, map(float, score[place].round(6)), strict=True))
            for way, score in held.scores.items()
        }
        true = material.names[material.labels[place]]
        lines.append(json.dumps({"file": image.name, "class": true, "group": str(material.groups[place]), **told}))
    with replacing(path, force=True) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
