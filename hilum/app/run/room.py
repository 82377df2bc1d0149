"""How many workers this machine has room for: a core for each thread, and memory for what each of them loads."""

from __future__ import annotations

from collections.abc import Sequence

from .item import Item


def workers(items: Sequence[Item], threads: int) -> int:
    """As many as there are cores for, never more than items, fewer where their looks would not fit into memory."""
    from ...backends.machine import available_memory
    from ...backends.machine import threads as cores

    most = max(1, min(cores() // threads, len(items)))
    free, each = available_memory(), _peak(items)
    return most if free is None or not each else max(1, min(most, free // each))


def _peak(items: Sequence[Item]) -> int:
    """Bytes that a look of the largest of the named systems is predicted to take; 0 where none is known."""
    from ..cost import cost

    peaks = [0]
    for name in {(asked.options.over or asked.words.system) for asked in map(Item.asked, items)}:
        found = None if name is None else cost(name)
        if found is not None and found.look is not None:
            peaks.append(found.look.torch_peak_bytes)
    return max(peaks)
