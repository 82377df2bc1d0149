"""One DICOM file, opened with care: sizes before contents, only the elements asked for, never a patient's."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import pydicom
from pydicom.dataset import FileDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from hilum.io import limits
from hilum.io.dicom_quiet import quiet
from hilum.values.errors import BadInput, HilumError

PLACE = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "FrameOfReferenceUID"),
    *("Modality", "Units", "ImagePositionPatient", "ImageOrientationPatient"),
    *("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
)
PICTURE = (
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "Rows", "Columns", "NumberOfFrames"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
)
PALETTE = tuple(
    f"{segmented}{colour}PaletteColorLookupTable{part}"
    for colour in ("Red", "Green", "Blue")
    for segmented, part in (("", "Descriptor"), ("", "Data"), ("Segmented", "Data"))
)
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths")


def looks_like_dicom(path: Path) -> bool:
    """Whether a file starts as DICOM does: the mark after the preamble, or a first element of group 2 or 8."""
    with path.open("rb") as file:
        start = file.read(132)
    if start[128:132] == b"DICM":
        return True
    group, element = start[:2], start[2:4]
    little = group in (b"\x02\x00", b"\x08\x00") and element[1:] == b"\x00"
    big = group == b"\x00\x08" and element[:1] == b"\x00"
    return len(start) >= 12 and (little or big)


def dataset_of(path: Path, keywords: Sequence[str] | None, *, pixels: bool) -> FileDataset:
    """The file's elements of these keywords (None: all), with or without the pixels; a broken file is a sentence."""
    limits.check_file(path)
    with quiet():
        try:
            if not looks_like_dicom(path):
                raise BadInput(f"{path.name} is not a DICOM file.")
            _check_deflated(path)
            wanted = None if keywords is None else list(keywords)
            dataset = pydicom.dcmread(path, stop_before_pixels=not pixels, specific_tags=wanted, force=True)
            _name_syntax(dataset)
        except HilumError:
            raise
        except OSError as error:
            raise BadInput(f"{path.name} cannot be read: {error.strerror or type(error).__name__}.") from error
        except Exception as error:  # pydicom raises whatever its parser met in a broken file
            raise broken(path, error) from error
    return dataset


def broken(path: Path, error: Exception) -> BadInput:
    """The sentence for a header that cannot be read; it repeats no value of the file."""
    return BadInput(f"{path.name} starts like a DICOM file, but its header is broken ({type(error).__name__}).")


def _check_deflated(path: Path) -> None:
    """A deflated file is inflated once in small pieces, to know its size before pydicom inflates it whole."""
    with path.open("rb") as file:
        if DeflatedExplicitVRLittleEndian.encode() not in file.read(1024):
            return
        meta = pydicom.filereader.read_file_meta_info(path)
        if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
            return
        file.seek(132 + 12 + int(meta.FileMetaInformationGroupLength))
        inflater, size, piece = zlib.decompressobj(-zlib.MAX_WBITS), 0, file.read(1 << 16)
        while piece and not inflater.eof:
            size += len(inflater.decompress(piece, 1 << 24))
            piece = inflater.unconsumed_tail or file.read(1 << 16)
            limits.check_bytes(size, path.name)


def _name_syntax(dataset: FileDataset) -> None:
    """Files without meta information say their encoding only by being readable."""
    if dataset.file_meta.get("TransferSyntaxUID") is None:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
