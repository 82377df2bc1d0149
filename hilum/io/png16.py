"""16-bit colour PNG, of which Pillow keeps 8 bits.

PNG filters each byte from the bytes of the same place in the neighbouring pixels only. So byte n of every pixel,
with the rows' filter marks, is a grey 8-bit PNG of its own: we split the stream, and Pillow undoes the filters.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL.Image
from jaxtyping import UInt8, UInt16

from hilum.values.errors import BadInput

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {2: 3, 4: 2, 6: 4}  # by colour type: RGB, grey + alpha, RGBA


def colour_planes(path: Path) -> UInt16[np.ndarray, "h w c"]:
    """All channels of a 16-bit colour PNG, alpha included."""
    chunks = list(_chunks(path))
    width, height, depth, kind, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[0][1])
    if depth != 16 or kind not in CHANNELS or interlaced:
        raise BadInput(f"{path.name} is an interlaced 16-bit colour PNG: save it without interlacing.")
    pixel = 2 * CHANNELS[kind]
    count = height * (1 + width * pixel)
    stream = zlib.decompressobj().decompress(b"".join(body for mark, body in chunks if mark == b"IDAT"), count)
    if len(stream) < count:
        raise BadInput(f"{path.name} is cut off: {len(stream):,} of {count:,} bytes are there.")
    rows = np.frombuffer(stream, dtype=np.uint8).reshape(height, -1)
    octets = [_unfiltered(rows[:, :1], rows[:, 1 + place :: pixel]) for place in range(pixel)]
    return np.stack(
        [high.astype(np.uint16) << 8 | low for high, low in zip(octets[::2], octets[1::2], strict=True)], -1
    )


def _chunks(path: Path) -> Iterator[tuple[bytes, bytes]]:
    with path.open("rb") as file:
        if file.read(8) != SIGNATURE:
            raise BadInput(f"{path.name} is no PNG file.")
        mark = b""
        while mark != b"IEND":
            length, mark = struct.unpack(">I4s", file.read(8))
            body, check = file.read(length), file.read(4)
            if len(body) < length or check != struct.pack(">I", zlib.crc32(mark + body)):
                raise BadInput(f"{path.name} is damaged: a part of it fails its checksum.")
            yield mark, body


def _unfiltered(marks: UInt8[np.ndarray, "h 1"], octets: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    height, width = octets.shape
    grey = np.concatenate([marks, octets], axis=1).tobytes()
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(grey, 1)),
        (b"IEND", b""),
    )
    packed = [
        struct.pack(">I", len(body)) + mark + body + struct.pack(">I", zlib.crc32(mark + body)) for mark, body in parts
    ]
    with PIL.Image.open(BytesIO(SIGNATURE + b"".join(packed)), formats=("PNG",)) as picture:
        return np.array(picture)
