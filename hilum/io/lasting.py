"""A folder in the temporary place that lasts as long as a mapping that is kept with it, and no longer.

Images that were fetched are files there: the answer's SEG refers to them, so they stay while the image is there.
What a killed process left is swept by the next one: each folder is locked by its owner while that lives.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

PREFIX = "hilum-fetched-"
LOCK = ".lock"
SETTLED = 60.0  # seconds: a younger folder may not be locked yet


class Lasting(dict[str, Any]):
    """A mapping whose end is the end of a folder."""

    __slots__ = ("__weakref__",)


@contextmanager
def folder() -> Iterator[Path]:
    """A new folder that only this user may enter; it vanishes if the block fails, else `kept` says when it does."""
    sweep()
    place = Path(tempfile.mkdtemp(prefix=PREFIX))
    try:
        _lock(place)
        yield place
    except BaseException:
        _remove(place)
        raise


def kept(content: Mapping[str, Any], place: Path) -> Mapping[str, Any]:
    """The same content, read-only; when nobody holds it any more, or the process ends, the folder is removed."""
    lasting = Lasting(content)
    weakref.finalize(lasting, _remove, place)
    return MappingProxyType(lasting)


def sweep() -> None:
    """Removes this user's folders whose owners are gone."""
    if sys.platform == "win32":
        return
    import fcntl

    for place in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            state = place.lstat()
            if state.st_uid != os.getuid() or time.time() - state.st_mtime < SETTLED or place.is_symlink():
                continue
            with (place / LOCK).open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(place, ignore_errors=True)


_locks: dict[Path, int] = {}


def _lock(place: Path) -> None:
    if sys.platform == "win32":
        return
    import fcntl

    handle = os.open(place / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    _locks[place] = handle


def _remove(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    handle = _locks.pop(place, None)
    if handle is not None:
        os.close(handle)
