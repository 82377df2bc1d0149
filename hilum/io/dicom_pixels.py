"""Stored values of one DICOM file's frames, decoded after their size was checked; colours arrive as RGB."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Num, Shaped
from pydicom.dataset import FileDataset
from pydicom.encaps import get_frame
from pydicom.pixels import convert_color_space, get_decoder
from pydicom.pixels.decoders.base import Decoder
from pydicom.uid import (
    UID,
    JPEG2000TransferSyntaxes,
    JPEGExtended12Bit,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from hilum.io import dicom_codestream, limits
from hilum.io.dicom_file import PIXELS
from hilum.io.dicom_header import Header
from hilum.values.errors import BadInput, Failed, HilumError

READY = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB")
BECOMES_RGB = ("YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")
WITH_CODESTREAM = (*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes, *JPEG2000TransferSyntaxes)  # they say their size
Frame = Num[np.ndarray, "rows columns *rgb"]


def check_pixels(header: Header) -> None:
    """Refuses, before any pixel is read, sizes over the caps, colours and encodings that are not understood."""
    name = header.path.name
    bits = max(header.bits, 8)
    limits.check_voxels((len(header.planes), header.rows, header.columns, header.samples), bits // 8, name)
    if header.bits not in (1, 8, 16, 32, 64) or not 0 < header.bits_stored <= header.bits:
        raise BadInput(f"{name} says {header.bits_stored} bits stored in {header.bits}: that cannot be.")
    if header.high_bit + 1 < header.bits_stored or header.high_bit >= header.bits:
        raise BadInput(f"{name} says that the highest of its {header.bits_stored} bits is number {header.high_bit}.")
    if header.photometric not in (*READY, *BECOMES_RGB):
        raise BadInput(f"{name} has a photometric interpretation that is not read; read are {', '.join(READY)}, YBR.")
    if header.samples not in (1, 3) or (header.samples == 3) != (header.photometric in ("RGB", *BECOMES_RGB)):
        raise BadInput(f"{name} has {header.samples} samples per pixel, which does not fit its colours.")
    _decoder(header)


def frames(dataset: FileDataset, header: Header, numbers: Sequence[int]) -> Iterator[Frame]:
    """The frames of these numbers, (rows, columns) or (rows, columns, 3) in RGB; a broken one is a sentence.

    To be used within `dicom_quiet.quiet`, like all that lets pydicom parse values.
    """
    if not any(keyword in dataset for keyword in PIXELS[:3]):
        raise BadInput(f"{header.path.name} holds no pixel data.")
    for number in numbers:
        try:
            frame = _frame(dataset, header, number)
        except HilumError:
            raise
        except Exception as error:  # each codec raises its own
            raise _undecodable(header, error) from error
        if frame.shape[:2] != (header.rows, header.columns):
            raise BadInput(f"{header.path.name} unpacks to another size than it claims.")
        yield frame


def _frame(dataset: FileDataset, header: Header, number: int) -> Frame:
    syntax = UID(header.syntax)
    if syntax in WITH_CODESTREAM:
        encoded = get_frame(dataset.PixelData, number, number_of_frames=len(header.planes))
        precision = _check_codestream(encoded, header)
        if syntax in dicom_codestream.BEYOND_PILLOW and (syntax != JPEGExtended12Bit or precision > 8):
            return _beyond_pillow(encoded, header, dataset, number)
    return _by_pydicom(dataset, header, number)


def _by_pydicom(dataset: FileDataset, header: Header, number: int) -> Frame:
    decoder = get_decoder(UID(header.syntax))
    plugin = "pylibjpeg" if "pylibjpeg" in decoder.available_plugins else ""  # Pillow's J2K scales odd bit depths
    index = number if len(header.planes) > 1 else None
    options: dict[str, Any] = {"index": index, "decoding_plugin": plugin, "correct_unused_bits": False}
    array, said = decoder.as_array(dataset, **options)
    if said["photometric_interpretation"] not in READY:
        raise BadInput(f"{header.path.name}: its colours cannot be turned into RGB.")
    return unpacked(array, header)


def _beyond_pillow(encoded: bytes, header: Header, dataset: FileDataset, number: int) -> Frame:
    """Lossless and 12-bit JPEG: by imagecodecs; lossless ones else by gdcm, which has no 12-bit one."""
    if dicom_codestream.can_decode():
        array = dicom_codestream.decode(encoded)
        if header.photometric in ("YBR_FULL", "YBR_FULL_422"):
            array = convert_color_space(array, header.photometric, "RGB")
        return unpacked(array, header)
    if header.syntax != JPEGExtended12Bit and "gdcm" in get_decoder(UID(header.syntax)).available_plugins:
        return _by_pydicom(dataset, header, number)
    raise _missing(header)


def unpacked(array: Shaped[np.ndarray, " *any"], header: Header) -> Shaped[np.ndarray, " *any"]:
    """Stored values from the bits that hold them: native order, shifted down, sign extended."""
    array = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False))
    if array.dtype.kind not in "ui" or header.samples > 1 or header.bits == 1:
        return array
    width = array.dtype.itemsize * 8
    native = not UID(header.syntax).is_encapsulated or header.syntax == RLELossless
    top = width - (header.high_bit + 1 if native else header.bits_stored)
    kind = np.dtype(f"{'i' if header.signed else 'u'}{array.dtype.itemsize}")
    if (not native and not header.signed) or width < header.bits_stored:
        return array
    lifted = array.view(kind) << kind.type(top) if top else array.view(kind)
    down = width - header.bits_stored
    return lifted >> kind.type(down) if down else lifted


def _check_codestream(encoded: bytes, header: Header) -> int:
    claim = dicom_codestream.claim(encoded)
    if claim is None:
        raise BadInput(f"{header.path.name}: its pixels are not the {UID(header.syntax).name} that it announces.")
    if (claim.rows, claim.columns) != (header.rows, header.columns) or claim.components not in (header.samples, 1):
        raise BadInput(
            f"{header.path.name} claims {header.columns} x {header.rows} pixels in its header and "
            f"{claim.columns} x {claim.rows} in its compressed data."
        )
    return claim.precision


def _decoder(header: Header) -> None:
    """Makes sure that there is a decoder; 12-bit JPEG shows only later."""
    syntax = UID(header.syntax)
    try:
        decoder: Decoder = get_decoder(syntax)
    except NotImplementedError as error:
        name = "an encoding not in the standard" if syntax.name == str(syntax) else syntax.name
        raise Failed(f"{header.path.name} is compressed as {name}, for which there is no decoder here.") from error
    reached = decoder.is_available or (syntax in dicom_codestream.BEYOND_PILLOW and dicom_codestream.can_decode())
    if not reached:
        raise _missing(header)


def _missing(header: Header) -> Failed:
    name = UID(header.syntax).name
    return Failed(
        f"{header.path.name} is compressed as {name}, which needs a decoder that is not installed: "
        "pip install imagecodecs."
    )


def _undecodable(header: Header, error: Exception) -> BadInput:
    """A sentence without the library's, which may hold bytes of the file."""
    if not UID(header.syntax).is_encapsulated:
        return BadInput(f"{header.path.name} is truncated or lies: it has fewer pixels than it claims.")
    how = f"{UID(header.syntax).name}, {type(error).__name__}"
    return BadInput(f"{header.path.name}: its compressed pixels are damaged ({how}).")
