"""An answer as plain data, for JSON: what was found, where it came from, and what it is not."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np

from hilum.values.answers import Answer, Embedding, Findings, Reply, Scores, Segmentation
from hilum.values.explanation import Explanation
from hilum.values.image import Image
from hilum.values.notice import NOTICE

from .uncertainty import summary

SCHEMA = "hilum.answer/1"


def report(answer: Answer | Explanation) -> dict[str, Any]:
    """Plain types only; numbers that are not finite become null."""
    kind = type(answer).__name__.lower()
    whole = {"schema": SCHEMA, "kind": kind, "notice": NOTICE, **_content(answer)}
    return _plain({**whole, "provenance": answer.provenance.as_dict()})


def write_json(answer: Answer | Explanation, path: Path) -> None:
    """The report as a file."""
    path.write_text(json.dumps(report(answer), indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


@singledispatch
def _content(answer: Any) -> dict[str, Any]:
    raise TypeError(f"no report is written for a {type(answer).__name__}")


@_content.register
def _(answer: Segmentation) -> dict[str, Any]:
    image = answer.image
    volumes, voxels, boxes = answer.millilitres(), answer.voxels(), answer.boxes()
    area = pixel_mm2(image)
    objects = []
    for number, name in enumerate(answer.names):
        entry: dict[str, Any] = {"name": name, "score": answer.scores[number], "voxels": voxels[number]}
        if volumes is not None:
            entry["millilitres"] = volumes[number]
        if area is not None:
            entry["square_millimetres"] = voxels[number] * area
        box = boxes[number]
        entry["box"] = None if box is None else {"low": box[0], "high": box[1]}
        if answer.uncertainty is not None:
            entry["uncertainty"] = summary(answer, number).facts()
        objects.append(entry)
    return {"objects": objects, "overlaps": answer.overlaps(), "image": _grid(image)}


@_content.register
def _(answer: Scores) -> dict[str, Any]:
    labels = []
    for number, name in enumerate(answer.names):
        entry = {"name": name, "similarity": answer.similarity[number], "softmax": answer.softmax[number]}
        if answer.probability is not None:
            entry["probability"] = answer.probability[number]
        if answer.texts is not None:
            entry["texts"] = answer.texts[number]
        labels.append(entry)
    return {"labels": labels}


@_content.register
def _(answer: Reply) -> dict[str, Any]:
    return {"text": answer.text, "tokens": answer.tokens}


@_content.register
def _(answer: Embedding) -> dict[str, Any]:
    rows = {"items": answer.items, "planes": answer.planes}
    named = {name: values for name, values in rows.items() if values is not None}
    return {"axes": answer.axes, "shape": answer.vectors.shape, **named, "vectors": answer.vectors}


@_content.register
def _(answer: Findings) -> dict[str, Any]:
    return {"findings": answer.items}


@_content.register
def _(answer: Explanation) -> dict[str, Any]:
    maps = [
        {
            "name": name,
            "peak": answer.peak(number),
            "share_in_top_tenth": answer.share_in_top_tenth(number),
            "lowest": answer.maps[number].min(),
            "highest": answer.maps[number].max(),
        }
        for number, name in enumerate(answer.names)
    ]
    changed = [
        {"object": each.name, "prompt": each.prompt, "change": each.how, "dice": each.dice} for each in answer.ablations
    ]
    return {"unit": answer.unit, "method": answer.method, "maps": maps, **({"prompts": changed} if changed else {})}


def explained(explanation: Explanation) -> dict[str, Any]:
    """What stands of an explanation in the report of its answer."""
    return _plain(_content(explanation))


def pixel_mm2(image: Image) -> float | None:
    """Area of one pixel of a picture; None for volumes and where there are no millimetres."""
    if image.dimensions == 3 or image.space == "pixel":
        return None
    return float(np.linalg.norm(np.cross(image.affine[:3, 0], image.affine[:3, 1])))


def _grid(image: Image) -> dict[str, Any]:
    """Size and place of the image, axes x, y[, z]; `affine` is voxel index -> LPS mm where there is a patient."""
    said: dict[str, Any] = {"size": image.grid[::-1], "spacing_mm": image.spacing, "space": image.space}
    if image.space == "patient":
        said["affine_lps"] = image.affine
    return said


def _plain(value: Any) -> Any:
    match value:
        case Mapping():
            return {str(key): _plain(content) for key, content in value.items()}
        case np.ndarray() | np.generic():
            return _plain(value.tolist())
        case list() | tuple() | set() | frozenset():
            return [_plain(content) for content in value]
        case float():
            return value if math.isfinite(value) else None
        case None | bool() | int() | str():
            return value
        case _:
            return str(value)
