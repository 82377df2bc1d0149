"""The server's log: one line for each request, with the address's pattern instead of what was filled in."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..outcome import unexpected

if TYPE_CHECKING:
    from starlette.types import Scope

LOG = logging.getLogger("hilum.server")


class Ours(logging.Formatter):
    """Our own lines; of other libraries' only who said something, for their text may quote a file."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        time = self.formatTime(record)
        said = record.getMessage() if record.name == LOG.name else f"{record.name.partition('.')[0]} said something"
        return f"{time} {record.levelname.lower()} {said}"


def begin(level: int) -> None:
    """From now on the log goes to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(Ours())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    LOG.setLevel(level)


def request(scope: Scope, status: int, seconds: float) -> None:
    """POST /api/sessions/{id}/prompts 200 31 ms: no id, no query, nothing that a client wrote."""
    route = scope.get("route")
    pattern = route.path if route is not None and route.path else "(another address)"
    LOG.info("%s %s %d %.0f ms", _method(scope), pattern, status, seconds * 1000)


def broken(error: BaseException) -> None:
    """An error that nobody foresaw: its kind and place, never its text."""
    LOG.error("%s", unexpected(error))


def _method(scope: Scope) -> str:
    known = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
    return scope["method"] if scope["method"] in known else "(another method)"
