"""A written mask read back by another library: the same voxels at the same places, or a sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..io.dicom_quiet import quiet
from ..values import geometry
from ..values.answers import Segmentation
from ..values.errors import Failed

CLOSE = 1e-3  # mm


def confirmed(answer: Segmentation, path: Path) -> str:
    """How the file agreed with the answer: a sentence."""
    read = next(reader for suffix, reader in READERS.items() if path.name.endswith(suffix))
    masks, apart = read(answer, path)
    if masks.shape != answer.masks.shape or not np.array_equal(masks, answer.masks) or apart > CLOSE:
        raise Failed(f"{path.name} read back is not what was written: {apart:.4g} mm apart.")
    return "read back the same" + (f", in place to {CLOSE:g} mm" if np.isfinite(apart) else "")


def _nifti(answer: Segmentation, path: Path) -> tuple[np.ndarray, float]:
    """By nibabel, whose affines lead to RAS."""
    import nibabel

    found = nibabel.Nifti1Image.from_filename(path)
    labels = np.asarray(found.dataobj).T  # (i, j, k) -> (k, j, i)
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ found.affine
    masks = np.stack([labels == number for number in range(1, len(answer.names) + 1)])
    return masks.reshape(len(masks), *answer.image.grid), _apart(lps, answer)


def _seg(answer: Segmentation, path: Path) -> tuple[np.ndarray, float]:
    """By pydicom: frames laid out by the place and the object that each states."""
    import pydicom

    with quiet():
        found = pydicom.dcmread(path)
        pixels = found.pixel_array.reshape(-1, found.Rows, found.Columns).astype(bool)
        frames = [_Frame(each, found) for each in found.PerFrameFunctionalGroupsSequence]
        stated = [(frame.object(), frame.corners()) for frame in frames]
    masks = np.zeros((len(answer.names), *answer.image.volume().shape[1:]), dtype=bool)
    affine, apart = answer.image.affine, 0.0
    for plane, (number, corners) in zip(pixels, stated, strict=True):
        z = round(float(geometry.apply(geometry.inverse(affine), corners)[0, 2]))
        there = geometry.apply(affine, np.array([[0.0, 0.0, z], [found.Columns - 1.0, found.Rows - 1.0, z]]))
        apart = max(apart, float(np.abs(there - corners).max()))
        masks[number - 1, z] = plane
    return masks.reshape(answer.masks.shape), apart


@dataclass(frozen=True, slots=True)
class _Frame:
    """One frame's functional groups; what all frames have in common stands in the shared ones."""

    own: Any
    file: Any

    def group(self, keyword: str) -> Any:
        """The frame's own group of this name, else the shared one."""
        place = self.own if keyword in self.own else self.file.SharedFunctionalGroupsSequence[0]
        return place[keyword][0]

    def object(self) -> int:
        """The object's number, from 1."""
        return int(self.group("SegmentIdentificationSequence").ReferencedSegmentNumber)

    def corners(self) -> np.ndarray:
        """LPS mm of the centres of the first and the last pixel."""
        first = np.array(self.group("PlanePositionSequence").ImagePositionPatient, dtype=np.float64)
        along = np.array(self.group("PlaneOrientationSequence").ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
        down, across = map(float, self.group("PixelMeasuresSequence").PixelSpacing)
        last = first + along[0] * across * (self.file.Columns - 1) + along[1] * down * (self.file.Rows - 1)
        return np.stack([first, last])


def _png(answer: Segmentation, path: Path) -> tuple[np.ndarray, float]:
    """By Pillow: a picture has no place but its own pixels."""
    from PIL import Image

    with Image.open(path) as picture:
        labels = np.array(picture)
    shown = np.unique(labels[labels > 0])
    numbers = [number for number, mask in enumerate(answer.masks) if mask.any()]
    masks = np.zeros(answer.masks.shape, dtype=bool)
    for value, number in zip(shown, numbers, strict=False):
        masks[number] = labels == value
    return masks, float("nan")


def _apart(affine: np.ndarray, answer: Segmentation) -> float:
    """The largest distance between where two affines put the grid's far corners."""
    corners = np.array([[0, 0, 0], [side - 1 for side in answer.image.volume().shape[:0:-1]]], dtype=np.float64)
    return float(np.abs(geometry.apply(affine, corners) - geometry.apply(answer.image.affine, corners)).max())


READERS: dict[str, Callable[[Segmentation, Path], tuple[np.ndarray, float]]] = {
    ".nii.gz": _nifti,
    ".dcm": _seg,
    ".png": _png,
}
