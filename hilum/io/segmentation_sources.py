"""The source slices of an answer, as a DICOM SEG refers to them: found again, checked against its grid, ordered."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from hilum.io.dicom_file import dataset_of
from hilum.io.dicom_header import Plane, read_header
from hilum.values import geometry
from hilum.values.errors import BadInput
from hilum.values.image import Image

OFF_GRID = 0.2  # of a voxel: how far the answer's grid may lie from where its source slices say that they are
PATIENT_AND_STUDY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Sources:
    """Headers whose frames are exactly the answer's slices, in its order; `frames` are their true numbers, from 1.

    Several files of one frame each, and then `frames` is None; or one file of which only these frames are kept.
    """

    datasets: tuple[Dataset, ...]
    frames: tuple[int, ...] | None


def check_dicom(image: Image) -> None:
    """Refuses an image that no DICOM SEG can refer to."""
    if image.source.format != "dicom" or not image.source.files:
        raise BadInput(
            f"a DICOM SEG refers to DICOM images, and this image is {image.source.format}: write .nii.gz instead."
        )


def sources_of(image: Image) -> Sources:
    """Reads the headers of the image's files again; to be used within `dicom_quiet.quiet`."""
    check_dicom(image)
    for file in image.source.files:
        if not file.is_file():
            raise BadInput(f"the source file {file.name} is gone: a DICOM SEG needs the images that it refers to.")
    planes = _planes(image)
    if image.space == "patient":
        for k, plane in enumerate(planes):
            _check_plane(image, k, plane)
    datasets = {file: _complete(dataset_of(file, None, pixels=False), image) for file in image.source.files}
    if planes[0].frame is not None:
        return Sources((_only(datasets[planes[0].path], planes),), tuple((plane.frame or 0) + 1 for plane in planes))
    ordered = tuple(datasets[plane.path] for plane in planes)
    for dataset in ordered:
        if "ImageOrientationPatient" in dataset:  # they differ by rounding at most, and must not differ at all
            dataset.ImageOrientationPatient = ordered[0].ImageOrientationPatient
    return Sources(ordered, None)


def _planes(image: Image) -> list[Plane]:
    """The planes behind each slice; refuses an answer that is no longer on the grid of its files."""
    headers = [read_header(file) for file in image.source.files]
    frames = image.source.detail["frames"]
    sizes = {(header.rows, header.columns) for header in headers}
    if len(frames) != image.volume().shape[1] or sizes != {image.grid[-2:]}:
        raise BadInput("the answer has not the grid of its source files: a DICOM SEG is written on the grid as read.")
    return [headers[file].planes[frame or 0] for file, frame in frames]


def _check_plane(image: Image, k: int, plane: Plane) -> None:
    """Both ends of a slice must lie where the answer's affine puts them, within a part of a voxel."""
    if plane.position is None or plane.orientation is None or plane.spacing is None:
        raise BadInput("the source slices have no position in the patient: a DICOM SEG cannot place its frames.")
    rows, columns = image.grid[-2:]
    row, column = np.array(plane.orientation).reshape(2, 3)
    first = np.array(plane.position)
    last = first + row * plane.spacing[0] * (columns - 1) + column * plane.spacing[1] * (rows - 1)
    expected = geometry.apply(image.affine, np.array([[0.0, 0.0, k], [columns - 1.0, rows - 1.0, k]]))
    off = np.linalg.norm(np.stack([first, last]) - expected, axis=1).max()
    if off > OFF_GRID * max(geometry.spacing(image.affine)):
        raise BadInput(
            f"slice {k} of the answer lies {off:.2f} mm away from its source {plane.path.name}: a DICOM SEG is "
            "written on the grid as read, without resampling."
        )


def _complete(dataset: Dataset, image: Image) -> Dataset:
    """What highdicom wants and a de-identified or old file may lack is put in: empty, or from the grid."""
    for keyword in PATIENT_AND_STUDY:
        if keyword not in dataset:
            setattr(dataset, keyword, None)
    if image.space == "patient" and not dataset.get("SliceThickness"):
        dataset.SliceThickness = f"{geometry.spacing(image.affine)[2]:.10f}"[:16]
    return dataset


def _only(dataset: Dataset, planes: list[Plane]) -> Dataset:
    """A multi-frame header of which only these frames are left; what they share stands in the shared groups."""
    kept = copy(dataset)
    groups = dataset.get("PerFrameFunctionalGroupsSequence")
    if not groups or planes[0].position is None:
        raise BadInput(
            "a DICOM SEG is written on single pictures and on frames with a position, not on a frame of a film: "
            "write .png or .json instead."
        )
    kept.NumberOfFrames = len(planes)
    own = [groups[plane.frame or 0] for plane in planes]
    shared = copy((dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0])
    for keyword in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
        if keyword not in shared and keyword in own[0]:
            setattr(shared, keyword, own[0][keyword].value)
    kept.SharedFunctionalGroupsSequence, kept.PerFrameFunctionalGroupsSequence = [shared], own
    return kept
