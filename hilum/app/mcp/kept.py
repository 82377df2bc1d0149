"""What is kept in memory: the things used last, as many bytes of them as there is room for, and always the newest."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Thing = TypeVar("Thing")


class Kept(Generic[Thing]):
    """Things by name; those that were not used for longest go first."""

    def __init__(self, room: int, size: Callable[[Thing], int]):
        self.room, self.size = room, size
        self._things: OrderedDict[str, Thing] = OrderedDict()

    def get(self, name: str) -> Thing | None:
        """The thing of this name, if it is still here; it becomes the last used."""
        if name not in self._things:
            return None
        self._things.move_to_end(name)
        return self._things[name]

    def put(self, name: str, thing: Thing) -> None:
        """Keeps a thing; what there is no room for goes."""
        self._things[name] = thing
        self._things.move_to_end(name)
        self.settle()

    def settle(self) -> None:
        """Lets go of what there is no room for; things may have grown."""
        while len(self._things) > 1 and sum(map(self.size, self._things.values())) > self.room:
            self._things.popitem(last=False)
