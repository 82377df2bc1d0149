"""Jobs: what was asked for and is to be done, in the ledger. A job ends once, whatever happens to the process."""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from dataclasses import dataclass
from typing import Any, Literal

from ...values.errors import BadInput
from .absent import Absent, Full
from .ledger import Ledger

State = Literal["queued", "running", "done", "failed", "cancelled"]
ENDED = ("done", "failed", "cancelled")
MOST_ATTEMPTS = 5  # of a job during which the process ended: it may be the job that ends it
KEPT = 10_000  # ended jobs that are remembered


@dataclass(frozen=True, slots=True)
class Job:
    """One thing to do. Jobs of one `lane` are done one after the other, in the order in which they came."""

    number: int
    id: str
    lane: str
    kind: str
    spec: dict[str, Any]
    state: State
    attempts: int
    result: dict[str, Any] | None
    problem: dict[str, Any] | None
    created: float
    finished: float | None

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in ENDED


class Jobs:
    """The table of jobs."""

    def __init__(self, ledger: Ledger, most_waiting: int):
        self.ledger, self.most_waiting = ledger, most_waiting

    def add(self, kind: str, lane: str, spec: dict[str, Any], key: str | None = None) -> Job:
        """A new job; with a `key` that was used before, the job that was made then."""
        if key is not None and (known := self._by_key(key)) is not None:
            if (known.kind, known.lane, known.spec) != (kind, lane, json.loads(json.dumps(spec))):
                raise BadInput("this Idempotency-Key was sent before with another request: send a new one.")
            return known
        waiting = self.ledger.one("SELECT COUNT(*) FROM job WHERE state IN ('queued', 'running')")[0]
        if waiting >= self.most_waiting:
            raise Full(f"{waiting} jobs are waiting and the server takes no more now: ask again in a moment.")
        id = secrets.token_hex(16)
        try:
            self.ledger.run(
                "INSERT INTO job (id, lane, kind, spec, state, key, created) VALUES (?, ?, ?, ?, 'queued', ?, ?)",
                (id, lane, kind, json.dumps(spec, ensure_ascii=False), key, time.time()),
            )
        except sqlite3.IntegrityError:  # the same key at the same moment
            return self.add(kind, lane, spec, key)
        return self.get(id)

    def get(self, id: str) -> Job:
        """A job as it stands."""
        row = self.ledger.one("SELECT * FROM job WHERE id = ?", (id,))
        if row is None:
            raise Absent("job")
        return _job(row)

    def waiting(self) -> list[Job]:
        """What is not done yet, in order; what a killed process was doing waits again."""
        with self.ledger.writing():
            self.ledger.run("UPDATE job SET state = 'queued' WHERE state = 'running'")
            rows = self.ledger.all("SELECT * FROM job WHERE state = 'queued' ORDER BY number")
        return [_job(row) for row in rows]

    def start(self, id: str) -> bool:
        """Marks a job as running; False if there is nothing to run any more."""
        moved = self.ledger.run(
            "UPDATE job SET state = 'running', attempts = attempts + 1 WHERE id = ? AND state = 'queued'", (id,)
        )
        return moved.rowcount == 1

    def finish(self, id: str, result: dict[str, Any]) -> None:
        """To be called in the transaction that writes what the job changed: both are there, or neither."""
        self._end(id, "done", "result", result)

    def fail(self, id: str, problem: dict[str, Any], state: State = "failed") -> None:
        """Ends a job that could not be done."""
        self._end(id, state, "problem", problem)

    def forget(self) -> None:
        """Lets go of the oldest ended jobs beyond those that are remembered."""
        self.ledger.run(
            "DELETE FROM job WHERE state IN ('done', 'failed', 'cancelled') AND number <= "
            "(SELECT COALESCE(MAX(number), 0) FROM job) - ?",
            (KEPT,),
        )

    def _end(self, id: str, state: State, column: str, content: dict[str, Any]) -> None:
        text = json.dumps(content, ensure_ascii=False)
        moved = self.ledger.run(
            f"UPDATE job SET state = ?, {column} = ?, finished = ? WHERE id = ? AND state IN ('queued', 'running')",
            (state, text, time.time(), id),
        )
        if moved.rowcount != 1:
            raise BadInput("the job has ended already.")

    def _by_key(self, key: str) -> Job | None:
        row = self.ledger.one("SELECT * FROM job WHERE key = ?", (key,))
        return None if row is None else _job(row)


def _job(row: Any) -> Job:
    def read(name: str) -> Any:
        return None if row[name] is None else json.loads(row[name])

    return Job(
        row["number"],
        row["id"],
        row["lane"],
        row["kind"],
        read("spec"),
        row["state"],
        row["attempts"],
        read("result"),
        read("problem"),
        row["created"],
        row["finished"],
    )
