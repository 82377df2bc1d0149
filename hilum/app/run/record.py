"""What came of each item, in one SQLite file: an item is in it whole or not at all, whenever the process is killed."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path

from ...values.errors import BadInput
from .folder import STATE
from .item import Item, Outcome

VERSION = 1
TABLE = "CREATE TABLE outcome (key TEXT PRIMARY KEY, told TEXT NOT NULL)"


class Record:
    """The outcomes by the keys of their items; one process writes, the one that holds the folder."""

    def __init__(self, connection: sqlite3.Connection):
        self._connection = connection

    def keep(self, item: Item, outcome: Outcome) -> None:
        """Written and on the disk when this returns."""
        told = json.dumps(asdict(outcome), ensure_ascii=False)
        with self._connection:
            self._connection.execute("INSERT OR REPLACE INTO outcome VALUES (?, ?)", (item.key, told))

    def forget(self) -> None:
        """As if nothing had been done."""
        with self._connection:
            self._connection.execute("DELETE FROM outcome")

    def outcomes(self) -> dict[str, Outcome]:
        """All that were kept, by key."""
        return {key: _outcome(told) for key, told in self._connection.execute("SELECT key, told FROM outcome")}


@contextmanager
def opened(folder: Path) -> Iterator[Record]:
    """The record of a folder, made where there is none."""
    with _connected(folder / STATE, "rwc") as connection:
        if _version(connection, folder) == 0:
            with connection:
                connection.execute(TABLE)
                connection.execute(f"PRAGMA user_version = {VERSION}")
        yield Record(connection)


def seen(folder: Path) -> dict[str, Outcome]:
    """What is recorded, without writing anything; nothing where there is no record."""
    if not (folder / STATE).is_file():
        return {}
    with _connected(folder / STATE, "ro") as connection:
        return Record(connection).outcomes() if _version(connection, folder) else {}


@contextmanager
def _connected(file: Path, mode: str) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode={mode}", uri=True)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            yield connection
    except sqlite3.DatabaseError as error:
        raise BadInput(f"{file} cannot be used ({error}): give another folder, or delete it to begin anew.") from error


def _version(connection: sqlite3.Connection, folder: Path) -> int:
    found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if found not in (0, VERSION):
        raise BadInput(f"{folder} was written by another version of hilum: give another folder.")
    return found


def _outcome(told: str) -> Outcome:
    known = json.loads(told)
    return Outcome(**{**known, "notes": tuple(known["notes"])})


def whole(folder: Path, items: Iterable[Item], kept: dict[str, Outcome]) -> dict[str, Outcome]:
    """The outcomes of these items that still stand: what failed, and what was done if every file of it is as it was."""
    found = {item.key: kept[item.key] for item in items if item.key in kept}
    return {key: outcome for key, outcome in found.items() if not outcome.done or _there(folder, outcome)}


def _there(folder: Path, outcome: Outcome) -> bool:
    try:
        return all(digest(folder / name) == wanted for name, wanted in outcome.files.items())
    except OSError:
        return False


def digest(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
