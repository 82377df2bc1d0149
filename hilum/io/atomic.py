"""Atomic files: written beside the target, flushed to the disk, then renamed: old or new, never half."""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hilum.values.errors import BadInput, Failed

LEFTOVER = re.compile(r"\.(?:[0-9a-f]{16}\.part|tmp[A-Za-z0-9]{6})")  # of a killed write: ours, safetensors'
USERS_OWN = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ENOTDIR}  # what the user can mend


@contextmanager
def replacing(target: Path, *, force: bool = False) -> Iterator[Path]:
    """A path to write to instead of `target`; it becomes `target` when the block ends well, and vanishes otherwise."""
    place = Path(os.path.realpath(target))  # a symbolic link stays, what it points to is replaced
    _check(place, target, force)
    temporary = place.with_name(f".{secrets.token_hex(8)}.part")
    try:
        _create(temporary)
        yield temporary
        _flush(temporary, os.O_RDONLY)
        _check(place, target, force)  # a file may have come while we wrote
        os.replace(temporary, place)
        _flush(place.parent, os.O_RDONLY)
    except OSError as error:
        raise _sentence(target, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_target(target: Path, *, force: bool = False) -> None:
    """Refuses a target that could not be written, before any work is done for it."""
    _check(Path(os.path.realpath(target)), target, force)


def _check(place: Path, target: Path, force: bool) -> None:
    """Sentences name the target as it was given: the folders above it may be named after a patient."""
    if not place.parent.is_dir():
        raise BadInput(f"cannot write {target.name}: there is no folder {target.parent}. Create it first.")
    if place.is_dir():
        raise BadInput(f"cannot write {target}: it is a folder; give a file name in it.")
    if place.exists() and not place.is_file():
        raise BadInput(f"cannot write {target}: it is a device or pipe, and only files are written.")
    if place.exists() and not force:
        raise BadInput(f"{target} exists and is left as it is; give another name, or --force to replace it.")


def _create(temporary: Path) -> None:
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))  # the umask decides, as for any file


def _flush(path: Path, mode: int) -> None:
    if os.name != "posix":  # elsewhere a folder cannot be opened, nor a file flushed that is open for reading only
        return
    handle = os.open(path, mode)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sentence(target: Path, error: OSError) -> BadInput | Failed:
    reason = (error.strerror or str(error)).lower()
    kind = BadInput if error.errno in USERS_OWN else Failed
    return kind(f"could not write {target.name}: {reason}. Nothing half-written is left behind.")
