"""Numbers out as .npz, which numpy reads without pickle: embeddings with named axes, uncertainty with its affine."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from hilum.values.answers import Embedding, Segmentation
from hilum.values.errors import BadInput
from hilum.values.explanation import Explanation


def write_uncertainty(answer: Segmentation, path: Path) -> None:
    """Nats per voxel, (objects, [z,] y, x), with the objects' names and the affine (voxel index -> LPS mm)."""
    if answer.uncertainty is None:
        raise BadInput("a segmentation's .npz holds its uncertainty, and this answer has none: write .nii.gz or .nrrd.")
    _write(path, uncertainty=answer.uncertainty, names=np.array(answer.names), affine=answer.image.affine)


def write_maps(explanation: Explanation, path: Path) -> None:
    """Maps (labels or objects, [z,] y, x), their names, what they measure, and the affine (voxel index -> LPS mm)."""
    told = {"names": np.array(explanation.names), "unit": np.array(explanation.unit)}
    _write(path, maps=explanation.maps, **told, method=np.array(explanation.method), affine=explanation.image.affine)


def write_vectors(answer: Embedding, path: Path) -> None:
    """The vectors, the names of their axes, image and plane of each row where they are known, provenance as JSON."""
    rows: dict[str, np.ndarray] = {}
    if answer.items is not None:
        rows["items"] = np.array(answer.items)
    if answer.planes is not None:
        rows["planes"] = np.array(answer.planes, dtype=np.int64)
    provenance = np.array(json.dumps(answer.provenance.as_dict(), ensure_ascii=False))
    _write(path, vectors=answer.vectors, axes=np.array(answer.axes), **rows, provenance=provenance)


def _write(path: Path, **arrays: np.ndarray) -> None:
    with path.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)
