"""An image as a folder: values as .npy, all else as JSON. It is read back without decoding anything twice."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from ...values.image import Display, Image, Source

VALUES, FACTS = "values.npy", "image.json"


def store(image: Image, folder: Path) -> None:
    """Writes the image; its source files are named relative to the folder where they lie in it."""
    np.save(folder / VALUES, image.array, allow_pickle=False)
    source, display = image.source, image.display
    facts = {
        "affine": image.affine.tolist(),
        "space": image.space,
        "display": [display.low, display.high, display.inverted],
        "source": {
            "format": source.format,
            "files": [_relative(file, folder) for file in source.files],
            "sha256": source.sha256,
            "modality": source.modality,
            "unit": source.unit,
            "notes": list(source.notes),
            "detail": _packed(source.detail),
        },
    }
    (folder / FACTS).write_text(json.dumps(facts, ensure_ascii=False), encoding="utf-8")


def load(folder: Path) -> Image:
    """The image that was stored."""
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    low, high, inverted = facts["display"]
    told = facts["source"]
    source = Source(
        format=told["format"],
        files=tuple(folder / file for file in told["files"]),  # an absolute one stays what it is
        sha256=told["sha256"],
        modality=told["modality"],
        unit=told["unit"],
        notes=tuple(told["notes"]),
        detail=MappingProxyType(_unpacked(told["detail"])),
    )
    array = np.load(folder / VALUES, allow_pickle=False)
    return Image(array, np.array(facts["affine"]), facts["space"], Display(low, high, inverted), source)


def _relative(file: Path, folder: Path) -> str:
    return str(file.relative_to(folder)) if file.is_relative_to(folder) else str(file.absolute())


def _packed(value: Any) -> Any:
    match value:
        case Mapping():
            return {key: _packed(content) for key, content in value.items()}
        case bytes():
            return {"base64": base64.b64encode(value).decode()}
        case tuple() | list():
            return [_packed(content) for content in value]
        case np.ndarray() | np.generic():
            return _packed(value.tolist())
        case _:
            return value


def _unpacked(value: Any) -> Any:
    match value:
        case {"base64": str(text)}:
            return base64.b64decode(text)
        case dict():
            return {key: _unpacked(content) for key, content in value.items()}
        case list():
            return tuple(_unpacked(content) for content in value)
        case _:
            return value
