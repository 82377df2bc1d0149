"""The header of one DICOM file as plain values: what it holds and where its planes lie. No patient data is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset

from hilum.io.dicom_file import PICTURE, PLACE, broken, dataset_of
from hilum.io.dicom_kinds import excuse
from hilum.io.dicom_quiet import quiet
from hilum.values.errors import BadInput, HilumError

MARKS = (  # what may tell apart pictures of one place, in the order in which it is looked for
    "StackID",
    "TemporalPositionIndex",
    "TemporalPositionIdentifier",
    "DiffusionBValue",
    "EffectiveEchoTime",
    "EchoTime",
    "EchoNumbers",
    "TriggerTime",
    "AcquisitionNumber",
    "FrameAcquisitionNumber",
    "ImageType",
    "FrameType",
)


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """One picture of a file: `frame` counts from 0 and is None in single-frame files. Lengths in mm, LPS.

    `orientation` holds the directions along a row and down a column; `spacing` the steps along x and y; `window` the
    modality values shown black and white; `marks` what may tell apart pictures of one place.
    """

    path: Path
    frame: int | None
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    thickness: float | None
    slope: float
    intercept: float
    window: tuple[float, float] | None
    marks: tuple[object, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Header:
    """What a file says of itself.

    `detector_spacing` is measured at the detector of a radiograph, not in the patient;
    `excuse` says why it is no image, and then there are no planes.
    """

    path: Path
    sop_class: str
    sop_instance: str
    syntax: str
    series: str
    series_number: int
    frame_of_reference: str
    modality: str | None
    unit: str | None
    rows: int
    columns: int
    samples: int
    photometric: str
    bits: int
    bits_stored: int
    high_bit: int
    signed: bool
    has_lut: bool
    padding: tuple[float, float] | None
    detector_spacing: tuple[float, ...] | None
    excuse: str | None
    planes: tuple[Plane, ...]

    @property
    def multiframe(self) -> bool:
        """Whether its planes are numbered."""
        return len(self.planes) > 0 and self.planes[0].frame is not None


class NonsenseError(ValueError):
    """A value that makes no sense; the text has the element's name and never its value."""


def read_header(path: Path) -> Header:
    """The header of one file; values that make no sense are a sentence."""
    dataset = dataset_of(path, (*PLACE, *PICTURE, *MARKS), pixels=False)
    with quiet():
        try:
            return _header(path, dataset)
        except HilumError:
            raise
        except NonsenseError as error:
            raise BadInput(f"{path.name}: the DICOM element {error}") from error
        except Exception as error:  # each element is parsed when it is first asked for
            raise broken(path, error) from error


def _header(path: Path, dataset: FileDataset) -> Header:
    bits = _integer(dataset, "BitsAllocated", 0)
    bits_stored = _integer(dataset, "BitsStored", bits)
    modality = str(dataset.get("Modality") or "") or None
    rows, columns = _integer(dataset, "Rows", 0), _integer(dataset, "Columns", 0)
    sop_class = str(dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID") or "")
    reason = excuse(sop_class, pictures=rows > 0 and columns > 0)
    return Header(
        path=path,
        sop_class=sop_class,
        sop_instance=str(dataset.get("SOPInstanceUID") or ""),
        syntax=str(dataset.file_meta.TransferSyntaxUID),
        series=str(dataset.get("SeriesInstanceUID") or ""),
        series_number=_integer(dataset, "SeriesNumber", 0),
        frame_of_reference=str(dataset.get("FrameOfReferenceUID") or ""),
        modality=modality,
        unit=_unit(dataset, modality),
        rows=rows,
        columns=columns,
        samples=_integer(dataset, "SamplesPerPixel", 1),
        photometric=str(dataset.get("PhotometricInterpretation") or "MONOCHROME2"),
        bits=bits,
        bits_stored=bits_stored,
        high_bit=_integer(dataset, "HighBit", bits_stored - 1) if bits_stored else 0,
        signed=_integer(dataset, "PixelRepresentation", 0) == 1,
        has_lut=bool(dataset.get("ModalityLUTSequence")),
        padding=_padding(dataset),
        detector_spacing=_pair(dataset, "ImagerPixelSpacing"),
        excuse=reason,
        planes=() if reason else _planes(path, dataset),
    )


def _planes(path: Path, dataset: Dataset) -> tuple[Plane, ...]:
    count = _integer(dataset, "NumberOfFrames", 1)
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    if groups and len(groups) != count:
        raise BadInput(f"{path.name} claims {count} frames but describes {len(groups)}.")
    if not 0 < count <= path.stat().st_size:
        raise BadInput(f"{path.name} claims {count} frames, more than it has bytes for.")
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    if count == 1 and not groups:
        return (_plane(path, None, [*_items(shared), dataset]),)
    if not groups:
        return _alike(path, [*_items(shared), dataset], count)
    return tuple(_plane(path, index, [*_items(group), *_items(shared), dataset]) for index, group in enumerate(groups))


def _alike(path: Path, places: list[Dataset], count: int) -> tuple[Plane, ...]:
    """Frames without groups of their own are pictures, not slices: one place, if any, cannot be that of all."""
    one = _plane(path, 0, places)
    return tuple(
        Plane(path, frame, None, None, one.spacing, None, one.slope, one.intercept, one.window, ())
        for frame in range(count)
    )


def _items(group: Dataset) -> list[Dataset]:
    """The first item of each macro of a functional group."""
    return [element.value[0] for element in group if element.VR == "SQ" and element.value]


def _plane(path: Path, frame: int | None, places: list[Dataset]) -> Plane:
    """A plane from the first of `places` that says each thing: the frame's own, the shared groups, the file."""

    def said(keyword: str) -> Dataset:
        return next((place for place in places if place.get(keyword) not in (None, "")), places[-1])

    spacing = _pair(said("PixelSpacing"), "PixelSpacing")
    if spacing is None and frame is None:
        spacing = _pair(places[-1], "NominalScannedPixelSpacing")
    slope = _numbers(said("RescaleSlope"), "RescaleSlope", 1) or (1.0,)
    intercept = _numbers(said("RescaleIntercept"), "RescaleIntercept", 1) or (0.0,)
    thickness = _numbers(said("SpacingBetweenSlices"), "SpacingBetweenSlices", 1)
    thickness = thickness or _numbers(said("SliceThickness"), "SliceThickness", 1)
    return Plane(
        path=path,
        frame=frame,
        position=_numbers(said("ImagePositionPatient"), "ImagePositionPatient", 3),
        orientation=_numbers(said("ImageOrientationPatient"), "ImageOrientationPatient", 6),
        spacing=spacing,
        thickness=abs(thickness[0]) if thickness and thickness[0] else None,
        slope=slope[0],
        intercept=intercept[0],
        window=_window(said("WindowWidth")) or _lut_range(said("VOILUTSequence")),
        marks=tuple(_mark(said(keyword), keyword) for keyword in MARKS),
    )


def _mark(dataset: Dataset, keyword: str) -> object:
    value = dataset.get(keyword)
    return None if value is None else str(value)


def _integer(dataset: Dataset, keyword: str, default: int) -> int:
    value = dataset.get(keyword)
    if value is None or value == "":
        return default
    number = int(value)
    if number < 0:
        raise NonsenseError(f"{keyword} is negative.")
    return number


def _numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """`count` finite numbers, or None where the element is absent or empty."""
    value = dataset.get(keyword)
    if value is None or value == "" or (value != 0 and not value):
        return None
    numbers = np.atleast_1d(np.asarray(value, dtype=np.float64))
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise NonsenseError(f"{keyword} wants {count} finite numbers.")
    return tuple(numbers.tolist())


def _pair(dataset: Dataset, keyword: str) -> tuple[float, ...] | None:
    """Steps along x and y; DICOM says the step from row to row first."""
    pair = _numbers(dataset, keyword, 2)
    if pair is None or min(pair) <= 0:
        return None
    return pair[::-1]


def _window(dataset: Dataset) -> tuple[float, float] | None:
    """Black and white of the first window (PS3.3 C.11.2.1.2): LINEAR is a half and a one off, the others are not."""
    centers, widths = (np.atleast_1d(dataset.get(keyword) or []) for keyword in ("WindowCenter", "WindowWidth"))
    if not len(centers) or not len(widths):
        return None
    center, width = float(centers[0]), float(widths[0])
    if str(dataset.get("VOILUTFunction") or "LINEAR") == "LINEAR":
        center, width = center - 0.5, width - 1.0
    if not (np.isfinite([center, width]).all() and width > 0):
        return None
    return center - width / 2, center + width / 2


def _lut_range(dataset: Dataset) -> tuple[float, float] | None:
    """The values that a VOI LUT maps one by one; beyond them it is flat."""
    sequence = dataset.get("VOILUTSequence")
    if not sequence:
        return None
    entries, first, _ = (int(value) for value in sequence[0].LUTDescriptor)
    return (float(first), float(first + (entries or 65536) - 1)) if entries != 1 else None


def _padding(dataset: Dataset) -> tuple[float, float] | None:
    """Stored values that stand for no tissue, low to high."""
    value = dataset.get("PixelPaddingValue")
    if not isinstance(value, int):
        return None
    limit = dataset.get("PixelPaddingRangeLimit", value)
    return float(min(value, limit)), float(max(value, limit))


def _unit(dataset: Dataset, modality: str | None) -> str | None:
    """HU for CT with a rescale, the stated one for PET."""
    if modality == "CT":
        groups = dataset.get("SharedFunctionalGroupsSequence") or dataset.get("PerFrameFunctionalGroupsSequence")
        scaled = dataset.get("RescaleSlope") is not None or groups
        return "HU" if scaled and str(dataset.get("RescaleType") or "HU") == "HU" else None
    return str(dataset.get("Units") or "") or None
