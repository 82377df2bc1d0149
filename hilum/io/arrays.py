"""Numbers out as .npz, which numpy reads without pickle: embeddings with named axes, uncertainty with its affine."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hilum.values.answers import Embedding, Segmentation
from hilum.values.errors import BadInput


def write_uncertainty(answer: Segmentation, path: Path) -> None:
    """Nats per voxel, (objects, [z,] y, x), with the objects' names and the affine (voxel index -> LPS mm)."""
    if answer.uncertainty is None:
        raise BadInput("a segmentation's .npz holds its uncertainty, and this answer has none: write .nii.gz or .nrrd.")
    _write(path, uncertainty=answer.uncertainty, names=np.array(answer.names), affine=answer.image.affine)


def write_vectors(answer: Embedding, path: Path) -> None:
    """The vectors and the names of their axes."""
    _write(path, vectors=answer.vectors, axes=np.array(answer.axes))


def _write(path: Path, **arrays: np.ndarray) -> None:
    with path.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)
