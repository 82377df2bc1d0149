"""The values of a file, read with bounds: never more than was asked for, whatever the header or the archive claims."""

from __future__ import annotations

import bz2
import errno
import gzip
import hashlib
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from hilum.values.errors import BadInput, Failed

from . import limits

CHUNK = 1 << 20
TAIL = 1 << 16  # bytes read past the values, so that a stream's own checksum is reached
STREAM_ERRORS = (zlib.error, EOFError, gzip.BadGzipFile)
DEFLATE_RATIO = 1032  # no deflate stream grows by more than this factor


class Stream(Protocol):
    """What can be read forward."""

    def read(self, count: int, /) -> bytes:
        """Up to `count` bytes; fewer only at the end."""


class _Zlib:
    """A zlib stream (as MetaImage has it) read forward."""

    def __init__(self, stream: BinaryIO):
        self.stream, self.inflate = stream, zlib.decompressobj()

    def read(self, count: int) -> bytes:
        """Up to `count` bytes; fewer only at the end."""
        parts, missing = [], count
        while missing and not self.inflate.eof:
            fed = self.inflate.unconsumed_tail or self.stream.read(CHUNK)
            part = self.inflate.decompress(fed, missing)
            if not fed and not part:
                raise EOFError("the stream ends early")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)


OPENERS: dict[str, Callable[[BinaryIO], Stream]] = {
    "raw": lambda stream: stream,
    "gzip": lambda stream: gzip.GzipFile(fileobj=stream),
    "bzip2": lambda stream: bz2.BZ2File(stream),
    "zlib": _Zlib,
}


@dataclass(frozen=True, slots=True)
class Payload:
    """Where values lie: `offset` bytes into the file a stream of `packing` begins, the values `skip` into that."""

    path: Path
    packing: str = "raw"
    offset: int = 0
    skip: int = 0

    def read(self, count: int) -> bytearray:
        """Exactly `count` bytes of values; a file that holds fewer is refused with both numbers."""
        self._plausible(count)
        try:
            with self.path.open("rb") as file:
                ahead = self.skip if self.packing == "raw" else 0
                file.seek(self.offset + ahead)
                stream = OPENERS[self.packing](file)
                skipped = ahead + _passed(stream, self.skip - ahead)
                values = bytearray()
                for part in _parts(stream, count):
                    values += part
                if len(values) == count:
                    _passed(stream, 0 if self.packing == "raw" else TAIL)
        except STREAM_ERRORS as error:
            raise _damaged(self.path, self.packing) from error
        except OSError as error:
            raise unreadable(self.path, error) from error
        if len(values) < count:
            raise BadInput(
                f"{self.path.name} is cut off: its header promises {self.skip + count:,} bytes of values, "
                f"it holds {skipped + len(values):,}."
            )
        return values

    def _plausible(self, count: int) -> None:
        size = limits.check_file(self.path)
        most = max(0, size - self.offset) * (1 if self.packing == "raw" else DEFLATE_RATIO)
        if self.packing != "bzip2" and self.skip + count > most:
            raise BadInput(
                f"{self.path.name} is cut off: its header promises {self.skip + count:,} bytes of values, "
                f"{size:,} bytes on disk cannot hold them."
            )


def _passed(stream: Stream, count: int) -> int:
    return sum(len(part) for part in _parts(stream, count))


def _parts(stream: Stream, count: int) -> Iterable[bytes]:
    while count > 0:
        part = stream.read(min(CHUNK, count))
        if not part:
            return
        count -= len(part)
        yield part


def _damaged(path: Path, packing: str) -> BadInput:
    return BadInput(f"{path.name} is damaged: its {packing} stream breaks off or is garbled.")


def unreadable(path: Path, error: OSError) -> BadInput | Failed:
    """The sentence for a file that the system would not give us."""
    if error.errno in (None, errno.EINVAL):  # a decoder's word for garbled data, or a place before the file's start
        return BadInput(f"{path.name} is damaged: {' '.join(str(error).split())[:200]}.")
    reason = (error.strerror or str(error)).lower()
    if isinstance(error, PermissionError | FileNotFoundError | IsADirectoryError):
        return BadInput(f"cannot read {path.name}: {reason}.")
    return Failed(f"cannot read {path.name}: {reason}.")


def opening(path: Path, count: int, packing: str = "raw") -> bytes:
    """The first bytes of a file (or of what it unpacks to): at most `count`."""
    try:
        with path.open("rb") as file:
            return OPENERS[packing](file).read(count)
    except STREAM_ERRORS as error:
        raise _damaged(path, packing) from error
    except OSError as error:
        raise unreadable(path, error) from error


def beside(header: Path, name: str) -> Path:
    """The data file that a header names; only one in the header's own folder is taken."""
    plain = name.removeprefix("./")
    target = header.parent / plain
    if not plain or "/" in plain or "\\" in plain or "\0" in plain or plain in {".", ".."}:
        raise BadInput(f"{header.name} keeps its values in {name!r}: only a file in the same folder is read.")
    if target.is_symlink() and target.resolve().parent != header.parent.resolve():
        raise BadInput(f"{header.name} keeps its values in {name!r}, a link out of the folder, which is not followed.")
    if not target.is_file():
        raise BadInput(f"{header.name} keeps its values in {plain}, which is not there.")
    return target


def sha256(*paths: Path) -> str:
    """Hash over the bytes of the files, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            for part in iter(lambda: file.read(CHUNK), b""):
                digest.update(part)
    return digest.hexdigest()
