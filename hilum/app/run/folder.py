"""The folder of a run: its own and nobody else's, and worked in by one run at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...io.atomic import LEFTOVER
from ...values.errors import BadInput, Failed

STATE, LOCK, TABLE, PAGE = "run.sqlite", "run.lock", "summary.csv", "summary.html"
OWN = (STATE, f"{STATE}-journal", LOCK, TABLE, PAGE)


def check(folder: Path) -> None:
    """Refuses a folder in which something else lies."""
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder} is a file: -o names a folder.")
    if not folder.is_dir() or (folder / STATE).is_file():
        return
    strange = sorted(path.name for path in folder.iterdir() if path.name != LOCK and not LEFTOVER.fullmatch(path.name))
    if strange:
        raise BadInput(f"{folder} holds other files, such as {strange[0]}: give a folder of its own.")


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """The folder, made where it is not there, for this process alone; a lock whose owner is gone is taken over.

    The lock names the process by number, start and machine, so that a number that was given out again is no owner.
    """
    from filelock import SoftFileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = SoftFileLock(folder / LOCK, timeout=0)
        lock.acquire()
    except Timeout as error:
        raise Failed(_owned(folder)) from error
    except OSError as error:
        raise BadInput(f"{folder} cannot be written: {(error.strerror or str(error)).lower()}.") from error
    try:
        _sweep(folder)
        yield
    finally:
        lock.release()


def _owned(folder: Path) -> str:
    """Who has the lock, as far as it says so."""
    try:
        words = (folder / LOCK).read_text(encoding="ascii").split()
    except (OSError, ValueError):
        words = []
    owner = f"process {words[0]} on {words[1]}" if len(words) > 1 else "another process"
    return (
        f"{folder} is being worked in by {owner}: wait for it, or give another folder. If that run is gone for good, "
        f"such as with its machine, delete {folder / LOCK}."
    )


def _sweep(folder: Path) -> None:
    """Removes what killed writes left; what is whole was renamed."""
    for path in folder.rglob(".*"):
        if LEFTOVER.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)
