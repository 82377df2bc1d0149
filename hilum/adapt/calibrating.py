"""Calibration: a system's score of a label becomes a probability, by Platt scaling on images whose labels are known
(Platt 1999): p = 1 / (1 + exp(-(slope * score + intercept))), two numbers for each label.

It holds for one system, one weights file and the texts it was fitted with, and is refused for others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit, log_expit, logit

from ..io.atomic import replacing
from ..train.labelled import LabelledImage, patients, truths
from ..values.answers import Scores
from ..values.errors import BadInput

CONFIG, PICTURE = "calibration.json", "reliability.png"
SCHEMA = "hilum.calibration/1"
SCORES = ("similarity", "softmax")
FEWEST = 10  # images with a label, and without it, that two numbers are fitted to
SHOWN = 3  # texts that a sentence repeats


@dataclass(frozen=True, slots=True)
class Platt:
    """Two numbers, and the least and greatest score that they were fitted to."""

    slope: float
    intercept: float
    low: float
    high: float

    def __call__(self, scores: Float[np.ndarray, " *n"]) -> Float[np.ndarray, " *n"]:
        """Probabilities."""
        return expit(self.slope * np.asarray(scores, np.float64) + self.intercept)


def fit(scores: Float[np.ndarray, " n"], truth: Bool[np.ndarray, " n"]) -> Platt:
    """The likeliest two numbers for Platt's targets, which are a little inside 0 and 1 so that they stay finite."""
    from scipy.optimize import minimize

    scores, yes = scores.astype(np.float64), int(truth.sum())
    mean, deviation = scores.mean(), max(float(scores.std()), 1e-12)
    known = (scores - mean) / deviation
    target = np.where(truth, (yes + 1) / (yes + 2), 1 / (len(truth) - yes + 2))  # (Platt 1999, eq. 7)

    def objective(numbers: Float[np.ndarray, " 2"]) -> tuple[float, Float[np.ndarray, " 2"]]:
        logits = numbers[0] * known + numbers[1]
        loss = -(target * log_expit(logits) + (1 - target) * log_expit(-logits)).mean()
        error = (expit(logits) - target) / len(known)
        return float(loss), np.array([error @ known, error.sum()])

    slope, intercept = minimize(objective, np.zeros(2), jac=True, method="L-BFGS-B").x
    steep = slope / deviation
    return Platt(float(steep), float(intercept - steep * mean), float(scores.min()), float(scores.max()))


@dataclass(frozen=True, slots=True)
class CalibratedLabel:
    """A label: the texts it was compared with, its two numbers, and what they were fitted to; `held` are measures on
    patients that a fit did not see."""

    name: str
    texts: tuple[str, ...]
    platt: Platt
    cases: int
    positives: int
    patients: int
    held: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a calibration's folder says; `score` is what was scaled, `asked` the labels as they were asked for."""

    system: str
    weights_sha256: str | None
    score: str
    labels: tuple[CalibratedLabel, ...]
    asked: Mapping[str, Any]
    data: str
    data_sha256: str
    images: int
    version: str = ""

    def refuse(self, tag: str, sha256: str | None, names: Sequence[str], pictures: int = 1) -> None:
        """Refuses, before anything is looked at, a system, weights or labels that it was not fitted for."""
        if tag != self.system:
            raise BadInput(f"the calibration is that of {self.system}, and {tag} is asked: calibrate {tag} too.")
        if sha256 != self.weights_sha256:
            kept, here = (str(each)[:16] for each in (self.weights_sha256, sha256))
            raise BadInput(f"the calibration is for {tag} with sha256 {kept}…, and the weights here have {here}….")
        known = [label.name for label in self.labels]
        strange = [name for name in names if name not in known]
        if strange:
            raise BadInput(f"the calibration has no label {strange[0]!r}; it has {', '.join(known)}.")
        if self.score == "softmax" and set(names) != set(known):
            raise BadInput(f"the calibration is of a softmax over {', '.join(known)}: ask for all of these labels.")
        if pictures != 1:
            raise BadInput(f"the calibration is for one picture at a time, and {pictures} are asked about together.")

    def applied(self, scores: Scores) -> Scores:
        """The scores with probabilities, and notes that say on what they rest; other texts are refused."""
        known = {label.name: label for label in self.labels}
        chosen = [known[name] for name in scores.names]
        for label, texts in zip(chosen, scores.texts or ((),) * len(chosen), strict=True):
            if label.texts != texts:
                raise BadInput(
                    f"{label.name} was calibrated with the texts {_told(label.texts)}, and is compared with "
                    f"{_told(texts)} here: give the same labels and templates, or calibrate again."
                )
        values = scaled(self.score, scores.similarity, scores.softmax)
        probability = np.array([label.platt(value) for label, value in zip(chosen, values, strict=True)])
        notes = [
            f"probability by Platt scaling of the {self.score}, fitted on {self.data} "
            f"(sha256 {self.data_sha256[:16]}…, {self.images} images): it holds for images like those"
        ]
        for label, value in zip(chosen, values, strict=True):
            if not label.platt.low <= value <= label.platt.high:
                notes.append(f"{label.name}: the {self.score} lies outside what the calibration has seen")
        return replace(scores, probability=probability, provenance=scores.provenance.noted(*notes))

    def text(self) -> str:
        """The file as it is written."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1, ensure_ascii=False) + "\n"


def scaled(score: str, similarity: Float[np.ndarray, " *n"], softmax: Float[np.ndarray, " *n"]) -> np.ndarray:
    """What is scaled: the similarity, or the log-odds of the softmax (0 and 1 taken a little inside)."""
    return similarity if score == "similarity" else logit(np.clip(np.asarray(softmax, np.float64), 1e-7, 1 - 1e-7))


def _told(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return " | ".join(map(repr, texts[:SHOWN])) + more


def enough(labels: Sequence[str], images: Sequence[LabelledImage]) -> None:
    """Refuses labels with too few images, or with images of too few patients, to fit anything and to hold some back."""
    known, people = truths(images), patients(images)
    for place, label in enumerate(labels):
        for word, value in (("with", 1.0), ("without", 0.0)):
            there = known[:, place] == value
            count, persons = int(there.sum()), len(set(people[there]))
            if count < FEWEST:
                raise BadInput(f"{count} images {word} {label}: at least {FEWEST} are wanted to calibrate it.")
            if persons < 2:
                raise BadInput(f"all {count} images {word} {label} are of one patient: at least 2 patients are wanted.")


def read(folder: Path) -> Calibration:
    """What the folder says; what is no calibration, or a later hilum's, is refused in a sentence."""
    try:
        told = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if told.pop("schema") != SCHEMA:
            raise BadInput(f"{folder} was written by another hilum; this one reads {SCHEMA}: calibrate again.")
        labels = tuple(
            CalibratedLabel(**{**each, "texts": tuple(each["texts"]), "platt": Platt(**each["platt"])})
            for each in told.pop("labels")
        )
        return Calibration(labels=labels, **told)
    except BadInput:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadInput(
            f"{folder} is no calibration: make one with hilum calibrate SYSTEM --data table.csv --labels A -o {folder}/"
        ) from error


def check_target(folder: Path, *, force: bool) -> None:
    """Refuses, before any work is done, a folder that the calibration could not be written to."""
    if folder.is_file():
        raise BadInput(f"{folder} is a file: -o names a folder")
    if not force and any((folder / name).exists() for name in (CONFIG, PICTURE)):
        raise BadInput(f"{folder} holds a calibration already: give another folder, or --force")


def write(calibration: Calibration, folder: Path) -> None:
    """The file that `read` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / CONFIG, force=True) as temporary:
        temporary.write_text(calibration.text(), encoding="utf-8")
