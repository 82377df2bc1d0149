"""The one way into the store: a folder made beside, filled, flushed to the disk, and renamed into place."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hilum.values.errors import BadInput, Failed
from hilum.weights.store import MODEL, RECORD, Record, folder, place, record

STAGE = ".staging-"
STALE = 24 * 3600.0  # seconds after which a killed import's leftovers are taken for dead
OCCUPIED = {errno.ENOTEMPTY, errno.EEXIST, errno.EACCES}
ATTEMPTS = 20


@contextmanager
def stage(needed: int) -> Iterator[Path]:
    """An empty folder beside the stored ones, on the same disk; it vanishes however the block ends."""
    here = folder()
    try:
        here.mkdir(parents=True, exist_ok=True)
        _sweep(here)
        free = shutil.disk_usage(here).free
        if free < needed:
            raise Failed(
                f"{here} has {free / 1e9:.1f} GB free, {needed / 1e9:.1f} GB are needed: $HILUM_WEIGHTS moves it."
            )
        stage = here / f"{STAGE}{secrets.token_hex(8)}"
        stage.mkdir()
    except OSError as error:
        raise BadInput(f"cannot write in {here}: {(error.strerror or '').lower()}; $HILUM_WEIGHTS moves it.") from error
    try:
        yield stage
    except OSError as error:
        raise Failed(
            f"storing in {here} failed: {(error.strerror or str(error)).lower()}. Nothing was stored."
        ) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def settle(staged: Path, kept: Record) -> Path:
    """Moves `staged` (with its model in it) to the place of the record's tag; returns the model's path there."""
    (staged / RECORD).write_text(kept.text(), encoding="utf-8")
    for path in (staged / MODEL, staged / RECORD, staged):
        _flush(path)
    target = place(kept.system, kept.tag)
    for _ in range(ATTEMPTS):
        try:
            os.rename(staged, target)
        except OSError as error:
            if error.errno not in OCCUPIED or not target.is_dir():
                raise
            there = record(kept.system, kept.tag)
            if there is not None and there.sha256 == kept.sha256 and _whole(target, there):
                return target / MODEL  # another process has just stored the same file
            _clear(target)
        else:
            _flush(target.parent)
            return target / MODEL
    raise Failed(f"{target} is being written by other processes without end; try again when they are done.")


def share(model: Path, target: Path) -> None:
    """The same model at another place, sharing its bytes on disk where the file system can."""
    try:
        os.link(model, target)
    except OSError:
        shutil.copyfile(model, target)


def _whole(target: Path, there: Record) -> bool:
    path = target / MODEL
    return path.is_file() and path.stat().st_size == there.size


def _clear(target: Path) -> None:
    aside = target.with_name(f"{STAGE}{secrets.token_hex(8)}")
    with suppress(FileNotFoundError):  # another process was quicker
        os.rename(target, aside)
    shutil.rmtree(aside, ignore_errors=True)


def _sweep(here: Path) -> None:
    for path in here.glob(f"{STAGE}*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > STALE:
                shutil.rmtree(path, ignore_errors=True)


def _flush(path: Path) -> None:
    if os.name != "posix":  # elsewhere a folder cannot be opened, nor a file flushed that is open for reading only
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
