"""What is not there (any more), not now, or not so: errors that only a server has, each with its HTTP status."""

from __future__ import annotations

from ...values.errors import BadInput, Failed


class Absent(BadInput):
    """No image, session, object or job has this id: it never was, was removed, or has expired."""

    def __init__(self, what: str):
        super().__init__(f"no such {what} here: it never was, was removed, or has expired.")


class Moved(BadInput):
    """The session is not where the client thinks it is."""


class Full(Failed):
    """A cap on what is kept or waits at a time is reached; later there may be room."""


class Cancelled(Failed):
    """The job was cancelled by its owner."""
