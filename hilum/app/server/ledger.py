"""The ledger: one SQLite file that outlives a killed process. What belongs together is written in one transaction."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ...values.errors import BadInput

VERSION = 1
TABLES = """
CREATE TABLE image (
  id TEXT PRIMARY KEY, created REAL NOT NULL, used REAL NOT NULL, bytes INTEGER NOT NULL, kept INTEGER NOT NULL,
  facts TEXT NOT NULL);
CREATE TABLE session (
  id TEXT PRIMARY KEY, image TEXT NOT NULL, system TEXT NOT NULL, created REAL NOT NULL, used REAL NOT NULL,
  step INTEGER NOT NULL, revision INTEGER NOT NULL);
CREATE TABLE step (
  session TEXT NOT NULL, number INTEGER NOT NULL, content TEXT NOT NULL, PRIMARY KEY (session, number));
CREATE TABLE answer (id INTEGER PRIMARY KEY AUTOINCREMENT, session TEXT NOT NULL, content BLOB NOT NULL);
CREATE INDEX answer_session ON answer (session);
CREATE TABLE explanation (session TEXT PRIMARY KEY, told TEXT NOT NULL, content BLOB NOT NULL);
CREATE TABLE job (
  number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, lane TEXT NOT NULL, kind TEXT NOT NULL,
  spec TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, result TEXT, problem TEXT,
  key TEXT UNIQUE, created REAL NOT NULL, finished REAL);
CREATE INDEX job_state ON job (state);
"""


class Ledger:
    """The file, opened once per process and locked against a second one; safe to use from any thread."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock_file = _locked(folder / "lock")
        self._turn = threading.RLock()
        file = folder / "ledger.sqlite"
        self._connection = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        os.chmod(file, 0o600)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("PRAGMA secure_delete = ON")
        with self.writing():
            found = self.one("PRAGMA user_version")[0]
            if found == 0:
                for statement in TABLES.split(";"):
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version = {VERSION}")
            elif found != VERSION:
                raise BadInput(f"{folder} was written by another version of hilum: give another --state folder.")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A transaction: all that is written within is there afterwards, or nothing of it. Blocks may nest."""
        with self._turn:
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def run(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """One statement that writes."""
        with self._turn:
            return self._connection.execute(statement, values)

    def all(self, statement: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """The rows of a question."""
        with self._turn:
            return self._connection.execute(statement, values).fetchall()

    def one(self, statement: str, values: Sequence[Any] = ()) -> Any:
        """The first row of a question, or None."""
        with self._turn:
            return self._connection.execute(statement, values).fetchone()

    def close(self) -> None:
        """Ends the use of the file, and lets another process have it."""
        with self._turn:
            self._connection.close()
            self._lock_file.close()


def _locked(path: Path) -> IO[bytes]:
    handle = path.open("ab")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.close()
        raise BadInput(f"another hilum server uses {path.parent}: stop it, or give another --state folder.") from None
    return handle
