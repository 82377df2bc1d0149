"""Looks that are kept: one per system and image, shared by all who ask about it, asked by one at a time in order."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...capabilities.look import Look
    from .settings import Caps


@dataclass(slots=True, eq=False)
class Kept:
    """A look, made by whoever asks first. `turn` is fair: who came first is answered first."""

    system: str
    image: str
    look: Look | None = None
    bytes: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def idle(self) -> bool:
        """Whether nobody asks it now."""
        return not self.turn.locked()


class Looks:
    """The looks at hand; the least recently used idle ones go where there are too many, or too many bytes."""

    def __init__(self, caps: Caps):
        self.caps = caps
        self._kept: OrderedDict[tuple[str, str], Kept] = OrderedDict()

    def at(self, system: str, image: str) -> Kept:
        """The look of a system at an image, or the place for it."""
        kept = self._kept.setdefault((system, image), Kept(system, image))
        self._kept.move_to_end((system, image))
        return kept

    def settle(self, loaded: Collection[str]) -> None:
        """Lets go of what is too much, and of looks of systems that were let go of; one that is being asked stays."""
        for place, kept in list(self._kept.items()):
            if kept.idle and kept.look is not None and kept.system not in loaded:
                del self._kept[place]
        for place in list(self._kept):
            bytes_now = sum(kept.bytes for kept in self._kept.values())
            if len(self._kept) <= self.caps.looks and bytes_now <= self.caps.looks_memory:
                return
            if self._kept[place].idle and place != next(reversed(self._kept)):
                del self._kept[place]

    def forget(self, image: str) -> None:
        """Lets go of the looks at an image that is gone."""
        for place in [place for place in self._kept if place[1] == image]:
            del self._kept[place]

    def __len__(self) -> int:
        return len(self._kept)
