"""The house: all that the routes of every protocol share. They ask it, it keeps, and the work is done off the loop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from fastapi import Request

from ...values import progress
from . import performing
from .audit import Audit
from .decoding import Decoding
from .images import Images
from .jobs import Jobs
from .ledger import Ledger
from .looks import Kept, Looks
from .runner import Runner
from .sessions import Sessions
from .settings import Settings
from .systems import Systems

if TYPE_CHECKING:
    from ...capabilities.look import Look
    from ...values.answers import Answer
    from ...values.prompts import Prompt

Given = ParamSpec("Given")
Made = TypeVar("Made")

SWEEP = 60.0  # seconds between two looks for what has expired


class House:
    """Images, systems, looks, sessions and jobs of one server."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.ledger = Ledger(settings.state)
        self.audit = Audit(settings.state / "audit.jsonl")
        self.decoding = Decoding(settings.caps)
        self.images = Images(self.ledger, settings, self.decoding)
        self.systems = Systems(settings)
        self.looks = Looks(settings.caps)
        self.sessions = Sessions(self.ledger, settings)
        self.jobs = Jobs(self.ledger, settings.caps.jobs)
        self.runner = Runner(self.jobs, performing.performers(self))
        self._asks = ThreadPoolExecutor(settings.threads, thread_name_prefix="ask")
        self._errands = ThreadPoolExecutor(4, thread_name_prefix="errand")
        self._sweeper: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Takes up what a former process left, and begins to sweep."""
        self.runner.start()
        await self.decoding.warm()
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep())

    async def close(self) -> None:
        """Ends; what is not done waits in the ledger."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        await self.runner.stop()
        await self.decoding.close()
        for pool in (self._asks, self._errands):
            await asyncio.get_running_loop().run_in_executor(
                None, functools.partial(pool.shutdown, cancel_futures=True)
            )
        self.ledger.close()
        self.audit.close()

    async def ask(self, system: str, image: str, *prompts: Prompt, heard: progress.Listener | None = None) -> Answer:
        """The answer of a system about a registered image; on a look that is kept, in the order of asking."""
        return await self.with_look(system, image, lambda look: look.ask(*prompts), heard=heard)

    async def with_look(
        self, system: str, image: str, use: Callable[[Look], Made], *, heard: progress.Listener | None = None
    ) -> Made:
        """What `use` makes of the look, in a thread, while nobody else asks it."""
        self.systems.card(system)
        self.images.touch(image)
        kept = self.looks.at(system, image)
        async with kept.turn:
            try:
                return await self._threaded(self._asks, self._used, kept, use, heard or _silent)
            finally:
                self.looks.settle(self.systems.loaded())

    async def errand(self, function: Callable[Given, Made], *given: Given.args, **named: Given.kwargs) -> Made:
        """Something short that would hold up the loop: reading, writing, drawing."""
        return await self._threaded(self._errands, function, *given, **named)

    def forget(self, image: str) -> None:
        """Takes away an image and all that was made of it."""
        self.images.delete(image)
        self.looks.forget(image)

    def _used(self, kept: Kept, use: Callable[[Look], Made], heard: progress.Listener) -> Made:
        with progress.heard_by(heard):
            if kept.look is None:
                image = self.images.get(kept.image)
                kept.look = self.systems.get(kept.system).look(image)
            made = use(kept.look)
            kept.bytes = kept.look.bytes + kept.look.images[0].array.nbytes
        return made

    async def _threaded(self, pool: ThreadPoolExecutor, function: Callable[..., Any], *given: Any, **named: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(pool, functools.partial(function, *given, **named))

    async def _sweep(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                await asyncio.sleep(SWEEP)
                self.expire()

    def expire(self) -> None:
        """Forgets what nobody used for long enough."""
        for id in self.sessions.expire():
            self.audit.note("session expired", session=id)
        for id in self.images.expire():
            self.looks.forget(id)
            self.audit.note("image expired", image=id)
        self.jobs.forget()


def _silent(what: str, done: int, total: int | None) -> None:
    return None


async def house_of(request: Request) -> House:
    """The house behind a request, for `Depends`; on the loop, so that requests keep their order."""
    found: House = request.app.state.house
    return found
