"""Compressed frames looked at before they are decoded: the size they claim, and the JPEGs that pydicom leaves out."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from jaxtyping import UInt
from pydicom.uid import JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1

BEYOND_PILLOW = (JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1)
_FRAME_MARKERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # SOF0-15 of JPEG, SOF55 of JPEG-LS (T.81, T.87)
_BARE_MARKERS = {0x01, *range(0xD0, 0xD9)}  # no length follows


@dataclass(frozen=True, slots=True)
class Claim:
    """What a codestream says that it unpacks to."""

    rows: int
    columns: int
    components: int
    precision: int


def claim(frame: bytes) -> Claim | None:
    """The claim of a JPEG, JPEG-LS or JPEG 2000 frame; None where no header is found."""
    start = frame.find(b"\xff\x4f\xff\x51")  # SOC, SIZ (T.800); inside a JP2 file there are boxes before it
    try:
        if 0 <= start < 4096:
            return _jpeg2000(frame, start)
        return _jpeg(frame)
    except (struct.error, IndexError):
        return None


def can_decode() -> bool:
    """Whether imagecodecs is installed, which decodes lossless and 12-bit JPEG."""
    return find_spec("imagecodecs") is not None


def decode(frame: bytes) -> UInt[np.ndarray, " *any"]:
    """A lossless or 12-bit JPEG frame, (rows, columns) or (rows, columns, 3), colours as they are coded."""
    import imagecodecs

    return np.asarray(imagecodecs.jpeg8_decode(frame))


def _jpeg2000(frame: bytes, start: int) -> Claim:
    _, _, right, bottom, left, top = struct.unpack_from(">HHIIII", frame, start + 4)
    components, depth = struct.unpack_from(">HB", frame, start + 40)
    return Claim(bottom - top, right - left, components, (depth & 0x7F) + 1)


def _jpeg(frame: bytes) -> Claim | None:
    """Walks the marker segments up to the frame header."""
    if frame[:2] != b"\xff\xd8":
        return None
    place = 2
    while place + 4 <= len(frame):
        if frame[place] != 0xFF:
            return None
        marker = frame[place + 1]
        if marker == 0xFF or marker in _BARE_MARKERS:
            place += 1 if marker == 0xFF else 2
            continue
        if marker in _FRAME_MARKERS:
            precision, rows, columns, components = struct.unpack_from(">BHHB", frame, place + 4)
            return Claim(rows, columns, components, precision)
        place += 2 + struct.unpack_from(">H", frame, place + 2)[0]
    return None
