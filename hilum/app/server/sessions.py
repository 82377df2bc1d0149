"""Sessions: an image, a system, and the objects that prompts made. Each change is a step; steps are undone and redone.

All of it lies in the ledger, so that a session outlives the process; nothing here computes.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...io.ink import colour_of
from ...values.errors import BadInput
from .absent import Absent, Full
from .ledger import Ledger
from .settings import Settings


@dataclass(frozen=True, slots=True)
class Object:
    """A named object: what was said of it (as it travelled), the number of its answer, and what is told of its mask."""

    number: int
    name: str
    colour: str
    said: tuple[dict[str, Any], ...] = ()
    answer: int | None = None
    row: int = 0  # which mask of the answer it is
    told: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """All that stands at one moment: the objects, and the labels that were asked for with what came of them."""

    objects: tuple[Object, ...] = ()
    labels: dict[str, Any] | None = None
    scores: dict[str, Any] | None = None
    made: dict[str, Any] | None = None  # the provenance of the last answer

    def named(self, name: str) -> Object | None:
        """The object of this name."""
        return next((each for each in self.objects if each.name == name), None)

    def numbered(self, number: int) -> Object:
        """The object of this number."""
        found = next((each for each in self.objects if each.number == number), None)
        if found is None:
            raise Absent("object")
        return found

    def fresh(self, name: str) -> Object:
        """A new object of this name, with a number and a colour of its own."""
        number = 1 + max((each.number for each in self.objects), default=0)
        red, green, blue = colour_of(number - 1)
        return Object(number, name, f"#{red:02x}{green:02x}{blue:02x}")

    def put(self, changed: Object) -> Step:
        """The same with this object in its place, or as the last."""
        numbers = [each.number for each in self.objects]
        if changed.number not in numbers:
            return replace(self, objects=(*self.objects, changed))
        return replace(self, objects=tuple(changed if each.number == changed.number else each for each in self.objects))

    def without(self, number: int) -> Step:
        """The same without an object."""
        self.numbered(number)
        return replace(self, objects=tuple(each for each in self.objects if each.number != number))

    def text(self) -> str:
        """As it lies in the ledger."""
        objects = [{name: getattr(each, name) for name in Object.__slots__} for each in self.objects]
        whole = {"objects": objects, "labels": self.labels, "scores": self.scores, "made": self.made}
        return json.dumps(whole, ensure_ascii=False)

    @staticmethod
    def read(text: str) -> Step:
        """From the ledger."""
        whole = json.loads(text)
        objects = tuple(Object(**{**each, "said": tuple(each["said"])}) for each in whole["objects"])
        return Step(objects, whole["labels"], whole["scores"], whole["made"])


@dataclass(frozen=True, slots=True)
class Session:
    """A session where it stands now; `revision` counts every change, undone ones too."""

    id: str
    image: str
    system: str
    revision: int
    step: Step
    undo: int  # steps that can be undone
    redo: int
    expires: float


class Sessions:
    """The sessions in the ledger."""

    def __init__(self, ledger: Ledger, settings: Settings):
        self.ledger, self.settings = ledger, settings

    def begin(self, image: str, system: str, step: Step | None = None) -> Session:
        """A new session about a registered image."""
        if self.ledger.one("SELECT 1 FROM image WHERE id = ?", (image,)) is None:
            raise Absent("image")
        self._room()
        id, now = secrets.token_hex(16), time.time()
        with self.ledger.writing():
            self.ledger.run(
                "INSERT INTO session (id, image, system, created, used, step, revision) VALUES (?, ?, ?, ?, ?, 0, 0)",
                (id, image, system, now, now),
            )
            self.ledger.run("INSERT INTO step VALUES (?, 0, ?)", (id, (step or Step()).text()))
        return self.get(id)

    def get(self, id: str) -> Session:
        """A session as it stands; asking keeps it from expiring."""
        row = self.ledger.one("SELECT * FROM session WHERE id = ?", (id,))
        if row is None:
            raise Absent("session")
        now = time.time()
        self.ledger.run("UPDATE session SET used = ? WHERE id = ?", (now, id))
        numbers = [each["number"] for each in self.ledger.all("SELECT number FROM step WHERE session = ?", (id,))]
        text = self.ledger.one("SELECT content FROM step WHERE session = ? AND number = ?", (id, row["step"]))[0]
        before = sum(number < row["step"] for number in numbers)
        after = sum(number > row["step"] for number in numbers)
        expires = now + self.settings.keep
        return Session(id, row["image"], row["system"], row["revision"], Step.read(text), before, after, expires)

    def ids(self) -> list[str]:
        """All sessions, in the order in which they began."""
        return [row["id"] for row in self.ledger.all("SELECT id FROM session ORDER BY created")]

    def advance(self, id: str, step: Step) -> Session:
        """The session goes on to a new step; what had been undone is gone, and so is what lies too far back."""
        now = self.get(id)
        at = self.ledger.one("SELECT step FROM session WHERE id = ?", (id,))[0]
        with self.ledger.writing():
            self.ledger.run("DELETE FROM step WHERE session = ? AND number > ?", (id, at))
            self.ledger.run("DELETE FROM step WHERE session = ? AND number <= ?", (id, at - self.settings.caps.steps))
            self.ledger.run("INSERT INTO step VALUES (?, ?, ?)", (id, at + 1, step.text()))
            self.ledger.run("UPDATE session SET step = ?, revision = ? WHERE id = ?", (at + 1, now.revision + 1, id))
            self._forget_answers(id)
        return self.get(id)

    def move(self, id: str, by: int) -> Session:
        """Undo (-1) or redo (1)."""
        now = self.get(id)
        if (now.undo if by < 0 else now.redo) < 1:
            raise BadInput(f"there is nothing to {'undo' if by < 0 else 'redo'} in this session.")
        self.ledger.run(
            "UPDATE session SET step = step + ?, revision = revision + 1 WHERE id = ?", (1 if by > 0 else -1, id)
        )
        return self.get(id)

    def keep_answer(self, id: str, content: bytes) -> int:
        """Stores a packed answer; gives back its number."""
        number = self.ledger.run("INSERT INTO answer (session, content) VALUES (?, ?)", (id, content)).lastrowid
        assert number is not None
        return number

    def answers(self, numbers: Sequence[int]) -> dict[int, bytes]:
        """Packed answers by number."""
        marks = ", ".join("?" for _ in numbers)
        rows = self.ledger.all(f"SELECT id, content FROM answer WHERE id IN ({marks})", tuple(numbers))
        return {row["id"]: row["content"] for row in rows}

    def end(self, id: str) -> None:
        """Forgets a session; its image stays."""
        self.get(id)
        forget(self.ledger, id)

    def expire(self) -> list[str]:
        """Forgets the sessions that nobody used for as long as they are kept."""
        limit = time.time() - self.settings.keep
        gone = [row["id"] for row in self.ledger.all("SELECT id FROM session WHERE used < ?", (limit,))]
        for id in gone:
            forget(self.ledger, id)
        return gone

    def _room(self) -> None:
        for again in (False, True):
            count = self.ledger.one("SELECT COUNT(*) FROM session")[0]
            if count < self.settings.caps.sessions:
                return
            if not again:
                self.expire()
        raise Full(f"{count} sessions are open and the server takes no more: end some, or wait until they expire.")

    def _forget_answers(self, id: str) -> None:
        """Takes away answers that no step refers to any more."""
        rows = self.ledger.all("SELECT content FROM step WHERE session = ?", (id,))
        used = {each["answer"] for row in rows for each in json.loads(row["content"])["objects"]}
        for row in self.ledger.all("SELECT id FROM answer WHERE session = ?", (id,)):
            if row["id"] not in used:
                self.ledger.run("DELETE FROM answer WHERE id = ?", (row["id"],))


def forget(ledger: Ledger, id: str) -> None:
    """Takes away a session and all that belongs to it: steps, answers, an explanation, what its jobs said."""
    with ledger.writing():
        for table in ("step", "answer", "explanation"):
            ledger.run(f"DELETE FROM {table} WHERE session = ?", (id,))
        ledger.run("DELETE FROM job WHERE lane = ? AND state NOT IN ('queued', 'running')", (id,))
        ledger.run("DELETE FROM session WHERE id = ?", (id,))
