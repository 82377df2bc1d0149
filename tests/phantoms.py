"""Made patients: small DICOM series with complete IODs and a known truth. Everything is seeded; names tell nothing.

The permanent fixtures are a gantry-tilted and an oblique CT: 10 slices of 32 rows x 40 columns, rows 0.7 mm and
columns 0.9 mm apart, slices 2.5 mm. All carry a canary instead of a patient, which no message may repeat.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    generate_uid,
)

ROWS, COLUMNS, SLICES = 32, 40, 10
ROW_STEP, COLUMN_STEP, SLICE_STEP = 0.7, 0.9, 2.5
ORIGIN = (-10.0, -20.0, 5.0)
CANARY = MappingProxyType(
    {
        "PatientName": "Canary^Yellow",
        "PatientID": "CANARY-0001",
        "PatientBirthDate": "19010203",
        "StudyDate": "20040506",
        "StudyTime": "070809",
        "AccessionNumber": "CANARY-ACC",
    }
)


def _turn(axis: int, degrees: float) -> np.ndarray:
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    matrix = np.eye(3)
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix[[first, first, second, second], [first, second, first, second]] = cos, -sin, sin, cos
    return matrix


def directions(kind: str) -> np.ndarray:
    """Unit columns: where i (along a row), j (down a column) and the step from slice to slice point, in LPS."""
    return {
        "axial": np.eye(3),
        "tilted": np.stack([(1, 0, 0), (0, np.cos(np.deg2rad(20)), np.sin(np.deg2rad(20))), (0, 0, 1)], axis=1),
        "oblique": _turn(2, 25) @ _turn(0, 20),
        "sagittal": np.array([(0.0, 0.0, -1.0), (1.0, 0.0, 0.0), (0.0, -1.0, 0.0)]),
    }[kind]


def ct_affine(kind: str) -> np.ndarray:
    """The truth: voxel (i, j, k) to LPS mm."""
    affine = np.eye(4)
    affine[:3, :3] = directions(kind) * (COLUMN_STEP, ROW_STEP, SLICE_STEP)
    affine[:3, 3] = ORIGIN
    return affine


def ellipsoid(affine: np.ndarray, grid: Sequence[int], radii: Sequence[float] = (8.0, 6.0, 7.0)) -> np.ndarray:
    """Bool (z, y, x): an ellipsoid of these radii (mm along L, P, S) in the middle of the grid."""
    z, y, x = np.indices(grid)
    points = np.stack([x, y, z], axis=-1) @ affine[:3, :3].T + affine[:3, 3]
    middle = affine[:3, :3] @ ((np.array(grid[::-1]) - 1) / 2) + affine[:3, 3]
    return (((points - middle) / radii) ** 2).sum(axis=-1) <= 1.0


def ct_values(kind: str, seed: int = 0) -> np.ndarray:
    """HU (z, y, x), int16: noisy soft tissue in air, with a bright ellipsoid inside."""
    grid = (SLICES, ROWS, COLUMNS)
    affine = ct_affine(kind)
    values = np.full(grid, -1000.0)
    values[ellipsoid(affine, grid, (16.0, 12.0, 14.0))] = 40.0
    values[ellipsoid(affine, grid)] = 300.0
    return np.rint(values + np.random.default_rng(seed).normal(0.0, 8.0, grid)).clip(-1024, 3071).astype(np.int16)


def ct_series(folder: Path, kind: str = "tilted", *, seed: int = 0, backwards: bool = False, **tags: Any) -> np.ndarray:
    """Writes one CT series of ten files and returns its true affine.

    File names are shuffled; instance numbers run against the geometry where `backwards`. `tags` replace or, where
    None, remove attributes of every file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = np.random.default_rng(seed).permutation(SLICES)
    for k, name in enumerate(names):
        number = SLICES - k if backwards else k + 1
        dataset = ct_slice(kind, k, number=number, seed=seed)
        put(dataset, tags)
        dataset.save_as(folder / f"IM{name:04d}.dcm", enforce_file_format=True)
    return ct_affine(kind)


def put(dataset: Dataset, tags: dict[str, Any]) -> None:
    """Sets attributes; those that are None are removed."""
    for keyword, value in tags.items():
        if value is None:
            dataset.pop(keyword, None)
        else:
            setattr(dataset, keyword, value)


def ct_slice(kind: str, k: int, *, number: int = 1, seed: int = 0) -> FileDataset:
    """Slice k of the series, as a complete CT Image."""
    dataset = _file(CTImageStorage, kind, seed, k)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.InstanceNumber = number
    dataset.AcquisitionNumber = 1
    dataset.KVP = "120"
    dataset.SliceThickness = SLICE_STEP
    place(dataset, ct_affine(kind), k)
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "-1024", "1", "HU"
    dataset.WindowCenter, dataset.WindowWidth = "50", "400"
    _pixels(dataset, (ct_values(kind, seed)[k] + 1024).astype(np.uint16))
    return dataset


def place(dataset: Dataset, affine: np.ndarray, k: int) -> None:
    """Puts a dataset where the affine has its slice k."""
    steps = np.linalg.norm(affine[:3, :2], axis=0)
    dataset.PixelSpacing = _decimals(steps[::-1])
    dataset.ImageOrientationPatient = _decimals((affine[:3, :2] / steps).T.ravel())
    dataset.ImagePositionPatient = _decimals(affine[:3, 2] * k + affine[:3, 3])


def secondary_capture(path: Path, stored: np.ndarray, **tags: Any) -> FileDataset:
    """Writes a picture, or a film of several, without a place in a patient; `tags` as for `ct_series`."""
    dataset = _file(SecondaryCaptureImageStorage, "picture", 0, 0)
    put(dataset, {"Modality": "OT", "ConversionType": "WSD", "InstanceNumber": 1, "PatientOrientation": ""})
    put(dataset, {"FrameOfReferenceUID": None, "PositionReferenceIndicator": None})
    frames = stored[..., 0] if "PlanarConfiguration" in tags else stored
    if frames.ndim == 3:
        dataset.NumberOfFrames = len(frames)
    _pixels(dataset, frames)
    bits = stored.dtype.itemsize * 8
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    dataset.PixelData = stored.tobytes() + bytes(stored.nbytes % 2)
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    put(dataset, tags)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return dataset


def enhanced_ct(path: Path, kind: str = "tilted", *, seed: int = 0, phases: int = 1) -> np.ndarray:
    """Writes one Enhanced CT of ten frames per phase, stored from the last to the first; returns its true affine.

    Phase p is brighter than the first by 100 p HU.
    """
    dataset = _file(EnhancedCTImageStorage, kind, seed, 0)
    _enhanced_modules(dataset)
    dataset.SharedFunctionalGroupsSequence = [_shared_groups(kind)]
    order = [(phase, k) for phase in range(phases) for k in reversed(range(SLICES))]
    dataset.PerFrameFunctionalGroupsSequence = [_frame_groups(kind, phase, k) for phase, k in order]
    values = ct_values(kind, seed)
    dataset.NumberOfFrames = len(order)
    _pixels(dataset, np.stack([values[k] + 1024 + 100 * phase for phase, k in order]).astype(np.uint16))
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return ct_affine(kind)


def _decimals(values: np.ndarray) -> list[str]:
    """Decimal strings of at most 16 letters, as close to the values as these allow."""
    return [f"{value:.13f}"[:16] for value in values]


def _group(**attributes: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def _code(value: str, meaning: str, scheme: str = "SCT") -> list[Dataset]:
    return [_group(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)]


def _file(sop_class: str, kind: str, seed: int, instance: int) -> FileDataset:
    """Patient, study, series, equipment and frame of reference: what all images share."""
    sources = ["phantom", sop_class, kind, str(seed)]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[*sources, str(instance)])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    put(dataset, dict(CANARY))
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=[*sources, "study"])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[*sources, "series"])
    dataset.FrameOfReferenceUID = generate_uid(entropy_srcs=[*sources, "frame of reference"])
    dataset.ContentDate, dataset.ContentTime = dataset.StudyDate, dataset.StudyTime
    dataset.AcquisitionDateTime = dataset.StudyDate + dataset.StudyTime
    dataset.PatientSex, dataset.ReferringPhysicianName, dataset.StudyID = "O", "", "1"
    dataset.Modality, dataset.SeriesNumber, dataset.PatientPosition = "CT", 3, "HFS"
    dataset.BodyPartExamined, dataset.PositionReferenceIndicator = "ABDOMEN", ""
    dataset.Manufacturer, dataset.ManufacturerModelName = "Phantom works", "Phantom"
    dataset.DeviceSerialNumber, dataset.SoftwareVersions = "1", "1"
    return dataset


def _pixels(dataset: Dataset, stored: np.ndarray) -> None:
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PixelData = stored.astype("<u2").tobytes()


def _enhanced_modules(dataset: Dataset) -> None:
    organization = generate_uid(entropy_srcs=[str(dataset.SOPInstanceUID), "dimensions"])
    dataset.ImageType = ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
    dataset.InstanceNumber = 1
    dataset.BurnedInAnnotation, dataset.LossyImageCompression = "NO", "00"
    dataset.PresentationLUTShape, dataset.ContentQualification = "IDENTITY", "RESEARCH"
    dataset.PixelPresentation, dataset.VolumetricProperties = "MONOCHROME", "VOLUME"
    dataset.VolumeBasedCalculationTechnique, dataset.MultienergyCTAcquisition = "NONE", "NO"
    dataset.AcquisitionContextSequence = []
    dataset.DimensionOrganizationSequence = [_group(DimensionOrganizationUID=organization)]
    pointers = {"StackID": 0x00209056, "InStackPositionNumber": 0x00209057, "TemporalPositionIndex": 0x00209128}
    dataset.DimensionIndexSequence = [
        _group(
            DimensionOrganizationUID=organization,
            DimensionIndexPointer=tag,
            FunctionalGroupPointer=0x00209111,
            DimensionDescriptionLabel=keyword,
        )
        for keyword, tag in pointers.items()
    ]


def _shared_groups(kind: str) -> Dataset:
    orientation = _decimals(directions(kind)[:, :2].T.ravel())
    region = _code("818983003", "Abdomen")
    return _group(
        PixelMeasuresSequence=[_group(PixelSpacing=[ROW_STEP, COLUMN_STEP], SliceThickness=SLICE_STEP)],
        PlaneOrientationSequence=[_group(ImageOrientationPatient=orientation)],
        PixelValueTransformationSequence=[_group(RescaleIntercept="-1024", RescaleSlope="1", RescaleType="HU")],
        FrameVOILUTSequence=[_group(WindowCenter="50", WindowWidth="400")],
        FrameAnatomySequence=[_group(FrameLaterality="U", AnatomicRegionSequence=region)],
        CTImageFrameTypeSequence=[
            _group(
                FrameType=["DERIVED", "PRIMARY", "VOLUME", "NONE"],
                PixelPresentation="MONOCHROME",
                VolumetricProperties="VOLUME",
                VolumeBasedCalculationTechnique="NONE",
            )
        ],
        IrradiationEventIdentificationSequence=[_group(IrradiationEventUID=generate_uid(entropy_srcs=[kind, "event"]))],
    )


def _frame_groups(kind: str, phase: int, k: int) -> Dataset:
    affine = ct_affine(kind)
    when = f"{CANARY['StudyDate']}{CANARY['StudyTime']}.{phase:06d}"
    content = _group(
        StackID="1",
        InStackPositionNumber=k + 1,
        TemporalPositionIndex=phase + 1,
        DimensionIndexValues=[1, k + 1, phase + 1],
        FrameAcquisitionNumber=1,
        FrameAcquisitionDateTime=when,
        FrameReferenceDateTime=when,
        FrameAcquisitionDuration=500.0,
    )
    position = _group(ImagePositionPatient=_decimals(affine[:3, 2] * k + affine[:3, 3]))
    return _group(FrameContentSequence=[content], PlanePositionSequence=[position])
