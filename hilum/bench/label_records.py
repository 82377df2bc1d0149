"""What a system made of labelled images, kept line by line: with the same settings no image is looked at twice."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..adapt import scoring
from ..adapt.scoring import Scored
from ..capabilities.said import described
from ..capabilities.system import System
from ..io.vector_index import stamp
from ..train.labelled import LabelledImage
from ..values.answers import Scores
from ..values.errors import BadInput
from ..values.prompts import Labels

RECORDS, TABLE = "records.jsonl", "table.md"


@dataclass(frozen=True, slots=True)
class Record:
    """Of one image, by label: both scores and the texts that were compared. `stamp` tells that the file changed."""

    file: str
    stamp: str
    similarity: Mapping[str, float]
    softmax: Mapping[str, float]
    texts: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Settings:
    """All that must be the same for a record to be used again."""

    system: str
    weights_sha256: str | None
    labels: Mapping[str, Any]
    modality: str | None
    backend: str

    @classmethod
    def of(cls, system: System, labels: Labels, *, modality: str | None, backend: str) -> Settings:
        """Those of a system and of labels as they are asked for."""
        return cls(system.tag, system.weights_sha256, described(labels), modality, backend)


def kept(file: Path, settings: Settings) -> dict[tuple[str, str], Record]:
    """By name and stamp, what was found with these settings; a line that a kill cut short is no record."""
    found = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        try:
            told = json.loads(line)
            if told.pop("settings") == asdict(settings):
                record = Record(**told)
                found[record.file, record.stamp] = record
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return found


def append(file: Path, record: Record, settings: Settings) -> None:
    """One line, whole; it begins on a line of its own even after half a line."""
    line = json.dumps({**asdict(record), "settings": asdict(settings)}, ensure_ascii=False)
    with file.open("a", encoding="utf-8") as stream:
        stream.write(f"\n{line}\n")


def scored(
    system: System, images: Sequence[LabelledImage], labels: Labels, settings: Settings, file: Path | None
) -> tuple[Scored, dict[str, str]]:
    """The scores of all images, from the file or by looking now, and what failed."""
    there = {} if file is None else kept(file, settings)
    stamps = {image.name: stamp([image.file]) for image in images}
    found = {image.name: there[key] for image in images if (key := (image.name, stamps[image.name])) in there}
    failed = {}
    todo = [image for image in images if image.name not in found]
    for image, answer in scoring.answers(system, todo, labels, modality=settings.modality):
        if isinstance(answer, str):
            failed[image.name] = answer
            continue
        found[image.name] = _record(image.name, stamps[image.name], answer)
        if file is not None:
            append(file, found[image.name], settings)
    return _side_by_side(images, found, labels.names), failed


def _record(name: str, mark: str, answer: Scores) -> Record:
    similarity, softmax = (
        {label: float(value) for label, value in zip(answer.names, values, strict=True)}
        for values in (answer.similarity, answer.softmax)
    )
    texts = dict(zip(answer.names, answer.texts or ((),) * len(answer.names), strict=True))
    return Record(name, mark, similarity, softmax, texts)


def _side_by_side(images: Sequence[LabelledImage], found: Mapping[str, Record], names: Sequence[str]) -> Scored:
    if not found:
        raise BadInput(f"none of {len(images)} images could be scored, as listed above.")
    there = tuple(image for image in images if image.name in found)
    similarity, softmax = (
        np.array([[getattr(found[image.name], score)[name] for name in names] for image in there])
        for score in ("similarity", "softmax")
    )
    texts = found[there[0].name].texts
    return Scored(there, similarity, softmax, tuple(tuple(texts[name]) for name in names))
