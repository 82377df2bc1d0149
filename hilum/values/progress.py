"""Progress without a screen: floors below the app say what they do; whoever listens draws it. Silent by default."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Item = TypeVar("Item")
Listener = Callable[[str, int, int | None], None]  # (what, done, total); total None = a sentence, nothing to count


def _silent(what: str, done: int, total: int | None) -> None:
    return None


_listener: ContextVar[Listener] = ContextVar("hilum_progress", default=_silent)


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Within this block `listener` hears all progress of this context."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def say(sentence: str) -> None:
    """One thing worth knowing while waiting."""
    _listener.get()(sentence, 0, None)


def count(what: str, done: int, total: int) -> None:
    """`done` of `total` steps of `what`."""
    _listener.get()(what, done, total)


def track(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """The items, one by one, counted for whoever listens."""
    size = total if total is not None else (len(items) if isinstance(items, Sized) else 0)
    for done, item in enumerate(items):
        count(what, done, size)
        yield item
    count(what, size, size)
