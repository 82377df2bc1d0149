"""Who does what next. A worker that ends takes nothing with it: its item is taken again, but not a third time."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ...values import progress
from ...values.errors import Failed
from .item import Item, Outcome

DEATHS = 2  # of workers over one item, after which it has failed
AHEAD = 64  # items among which one about the same image is looked for


@dataclass(frozen=True, slots=True)
class Ended:
    """A worker that is no more, and why; before it was `ready` it could not do anything at all."""

    why: str
    ready: bool = True


Event = Outcome | Ended


class Crew(Protocol):
    """Workers, by number from 0."""

    count: int

    def give(self, worker: int, item: Item) -> None:
        """Hands an item to a worker that has none; one that has ended meanwhile says so by `wait`."""

    def wait(self) -> tuple[int, Event]:
        """The next thing that happens: a worker has done its item, or it has ended."""

    def replace(self, worker: int) -> None:
        """A new worker under the number of one that has ended."""


def outcomes(items: Sequence[Item], crew: Crew) -> Iterator[tuple[Item, Outcome]]:
    """Each item with what came of it, as they are done."""
    waiting, busy = deque(items), {}
    deaths: Counter[str] = Counter()
    last: dict[int, str] = {}

    def employ(worker: int) -> None:
        item = _next(waiting, last.get(worker))
        busy[worker], last[worker] = item, item.group
        crew.give(worker, item)

    for worker in range(min(crew.count, len(items))):
        employ(worker)
    while busy:
        worker, event = crew.wait()
        item = busy.pop(worker, None)
        if isinstance(event, Ended):
            _survivable(event)
            if item is not None:
                deaths[item.key] += 1
                if deaths[item.key] < DEATHS:
                    progress.say(f"the worker of line {item.line} {event.why}; the line is taken again.")
                    waiting.appendleft(item)
                else:
                    yield item, Outcome(why=_killed(event))
            if waiting:
                crew.replace(worker)
        elif item is not None:
            yield item, event
        if waiting:
            employ(worker)


def _next(waiting: deque[Item], group: str | None) -> Item:
    """The first one about what the worker has just looked at, else the first."""
    for place in range(min(len(waiting), AHEAD)):
        if waiting[place].group == group:
            item = waiting[place]
            del waiting[place]
            return item
    return waiting.popleft()


def _survivable(event: Ended) -> None:
    if not event.ready:
        raise Failed(f"no worker can be had: it {event.why}.")


def _killed(event: Ended) -> str:
    return f"twice a worker ended over it, the last one {event.why}; if memory is short, give fewer --workers."
