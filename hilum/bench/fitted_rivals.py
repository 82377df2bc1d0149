"""The rivals, fitted on a table of training images, asked about the images that a system was asked about."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ..io.atomic import replacing
from ..io.read import read
from ..train.labelled import Labelled, LabelledImage, truths
from ..values import progress
from ..values.errors import BadInput, HilumError
from . import rivals
from .label_measures import Cases, check_exclusive
from .probe_table import RIVALS

RECORDS = "rivals.jsonl"
WAYS = {RIVALS[0]: (rivals.gradients, rivals.ridge), RIVALS[1]: (rivals.thumbnails, rivals.nearest)}


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """What each rival gives to each label of the images asked about; of the training, how many images, and how many of
    their patients are among those asked about."""

    scores: dict[str, Float[np.ndarray, "n labels"]]
    images: int
    shared: int

    def cases(self, own: Cases) -> dict[str, Cases]:
        """For the measures, beside the system's own."""
        return {name: replace(own, score=score, softmax=score) for name, score in self.scores.items()}

    def write(self, images: Sequence[LabelledImage], labels: Sequence[str], path: Path) -> None:
        """A line of JSON for each image: what each rival gives to each label."""
        lines = []
        for place, image in enumerate(images):
            told = {
                name: dict(zip(labels, map(float, score[place].round(6)), strict=True))
                for name, score in self.scores.items()
            }
            lines.append(json.dumps({"file": image.name, **told}, ensure_ascii=False))
        with replacing(path, force=True) as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def note(self, name: str) -> str:
        """What the rivals have seen."""
        seen = f"The rivals were fitted on {self.images} images of {name}"
        if not self.shared:
            return f"{seen}, of other patients than those asked about; what the system was trained on, its card says."
        return f"{seen}; {self.shared} patients are in both tables: the rivals have seen them, which flatters them."


def check(train: Labelled, asked: Labelled, *, exclusive: bool) -> None:
    """Refuses a training table that shares an image with the other one, or has nothing to tell a label by."""
    if exclusive:
        check_exclusive(train)
    both = {image.file.resolve() for image in train.images} & {image.file.resolve() for image in asked.images}
    if both:
        name = sorted(path.name for path in both)[0]
        raise BadInput(f"{train.path} and {asked.path} share {len(both)} images ({name}): rivals train on others.")
    known = truths(train.images)
    for place, label in enumerate(train.labels):
        if len(np.unique(known[np.isfinite(known[:, place]), place])) < 2:
            raise BadInput(f"{train.path}: wanted images with {label} and without it, to fit the rivals on.")


def fitted(
    train: Labelled, asked: Sequence[LabelledImage], *, exclusive: bool, modality: str | None = None
) -> tuple[Fitted, dict[str, str]]:
    """Both rivals' scores, and what could not be read of the training; every image asked about is known to be read."""
    there, squares, failed = [], [], dict[str, str]()
    for image in progress.track(train.images, "training images of the rivals"):
        try:
            squares.append(rivals.square(read(image.file, modality=modality)))
            there.append(image)
        except HilumError as error:
            failed[image.name] = str(error)
    others = [rivals.square(read(image.file, modality=modality)) for image in progress.track(asked, "images")]
    known = truths(there)
    scores = {}
    for name, (features, fit) in WAYS.items():
        own, theirs = features(squares), features(others)
        scores[name] = _chosen(fit, own, known, theirs) if exclusive else _each(fit, own, known, theirs)
    shared = {image.patient for image in there} & {image.patient for image in asked}
    return Fitted(scores, len(there), len(shared)), failed


def _chosen(fit: rivals.Fit, own: rivals.Features, known: np.ndarray, theirs: rivals.Features) -> np.ndarray:
    """Labels that exclude each other are the classes of one fit."""
    return fit(own, np.nan_to_num(known).argmax(axis=1), theirs, known.shape[1])


def _each(fit: rivals.Fit, own: rivals.Features, known: np.ndarray, theirs: rivals.Features) -> np.ndarray:
    """A fit for each label, on the images where it is known."""
    columns = []
    for truth in known.T:
        there = np.isfinite(truth)
        columns.append(fit(own[there], truth[there].astype(int), theirs, 2)[:, 1])
    return np.stack(columns, axis=1)
