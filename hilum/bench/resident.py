"""The most memory that this process held, since it began or since it was asked to count again (Linux counts both)."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from .speed_child import resident_peak as peak

__all__ = ["peak", "peak_again"]


def peak_again() -> None:
    """Forgets the peak; where the machine does not allow it, the peak since the beginning stays."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
