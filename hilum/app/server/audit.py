"""The audit log: one line of JSON for each thing that was done, each sealed with the hash of the line before.

Lines are only ever added. They tell what was asked of which bytes (by hash) and what came of it, but no name.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...values.errors import Failed

FIRST = "0" * 64
CUT = "cut"  # the event that stands after a line which a killed process left unfinished


class Audit:
    """The log of one server, opened to be added to."""

    def __init__(self, path: Path):
        self.path = path
        self._turn = threading.Lock()
        self._last = FIRST
        self._stream = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._resume()

    def note(self, event: str, **facts: Any) -> None:
        """Adds a line; it is on its way to the disk before this returns."""
        with self._turn:
            whole = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **facts}
            line = sealed(whole, self._last)
            os.write(self._stream, (json.dumps(line, ensure_ascii=False) + "\n").encode())
            self._last = line["hash"]

    def close(self) -> None:
        """Ends the use of the file."""
        os.close(self._stream)

    def _resume(self) -> None:
        content = self.path.read_bytes()
        *lines, rest = content.split(b"\n")
        if lines:
            whole = next((found for line in reversed(lines) if (found := _read(line)) is not None), None)
            self._last = FIRST if whole is None else str(whole["hash"])
        if rest:
            os.write(self._stream, b"\n")
            self.note(CUT)


def sealed(facts: dict[str, Any], previous: str) -> dict[str, Any]:
    """The facts with the hash of the line before and their own."""
    chained = {**facts, "previous": previous}
    return {**chained, "hash": _hash(chained)}


def verify(path: Path) -> int:
    """How many lines the log has, each of them whole and in its place; otherwise a sentence that says which is not."""
    previous, count, broken = FIRST, 0, 0
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        found = _read(line)
        if found is None:
            broken = number
            continue
        if broken and found["event"] != CUT:
            raise Failed(f"line {broken} of {path.name} is no line of an audit log: it was changed.")
        broken = 0
        told = {key: value for key, value in found.items() if key != "hash"}
        if found["previous"] != previous:
            raise Failed(f"before line {number} of {path.name} something was taken out, put in or reordered.")
        if found["hash"] != _hash(told):
            raise Failed(f"line {number} of {path.name} was changed after it was written.")
        previous, count = found["hash"], count + 1
    if broken:
        raise Failed(f"line {broken} of {path.name} is no line of an audit log: it was changed.")
    return count


def last(path: Path) -> str:
    """The seal of the last line: who keeps it elsewhere can tell later that nothing was cut off the end."""
    found = [each for line in path.read_bytes().split(b"\n") if (each := _read(line)) is not None]
    return str(found[-1]["hash"]) if found else FIRST


def _hash(chained: dict[str, Any]) -> str:
    text = json.dumps(chained, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _read(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and {"hash", "previous", "event"} <= set(found) else None
