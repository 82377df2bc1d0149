"""The runner: takes jobs from their lanes, one at a time from each, and hands them to whoever can do them."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ...values.errors import BadInput, HilumError
from . import logged
from .absent import Cancelled
from .jobs import MOST_ATTEMPTS, Job, Jobs
from .problems import problem

Perform = Callable[[Job, "Listening"], Awaitable[None]]


@dataclass(slots=True, eq=False)
class Listening:
    """Hears how far a job is (from the thread that does it), and stops it there if it was cancelled."""

    what: str = ""
    done: int = 0
    total: int | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)

    def __call__(self, what: str, done: int, total: int | None) -> None:
        self.check()
        self.what, self.done, self.total = what, done, total

    def check(self) -> None:
        """Raises if the job was cancelled."""
        if self.cancelled.is_set():
            raise Cancelled("the job was cancelled.")

    def told(self) -> dict[str, Any]:
        """Plain types."""
        return {"what": self.what, "done": self.done, "total": self.total}


@dataclass(slots=True, eq=False)
class _Followed:
    """A job in this process: what is heard of it, and the moment at which it ends."""

    listening: Listening = field(default_factory=Listening)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Runner:
    """Lanes of jobs. Each lane is a task that lives as long as it has something to do."""

    def __init__(self, jobs: Jobs, performers: dict[str, Perform]):
        self.jobs, self.performers = jobs, performers
        self._lanes: dict[str, deque[str]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._followed: dict[str, _Followed] = {}

    def start(self) -> None:
        """Takes up what a former process left."""
        for job in self.jobs.waiting():
            self._follow(job)

    def add(self, kind: str, lane: str, spec: dict[str, Any], key: str | None = None) -> Job:
        """A new job at the end of its lane."""
        job = self.jobs.add(kind, lane, spec, key)
        if not job.ended and job.id not in self._followed:
            self._follow(job)
        return job

    async def ended(self, id: str, seconds: float) -> Job:
        """The job once it has ended, or as it stands after so many seconds."""
        followed = self._followed.get(id)
        if followed is not None and seconds > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(followed.ended.wait(), seconds)
        return self.jobs.get(id)

    def progress(self, id: str) -> dict[str, Any] | None:
        """How far a running job is; None where there is nothing to say."""
        followed = self._followed.get(id)
        return followed.listening.told() if followed is not None and followed.listening.what else None

    def cancel(self, id: str) -> Job:
        """Ends a job that waits now, and one that runs where it next says how far it is."""
        job = self.jobs.get(id)
        if job.ended:
            raise BadInput(f"the job has ended already: {job.state}.")
        followed = self._followed[id]
        followed.listening.cancelled.set()
        if job.state == "queued":
            self.jobs.fail(id, problem(Cancelled("the job was cancelled.")), "cancelled")
            followed.ended.set()
        return self.jobs.get(id)

    async def stop(self) -> None:
        """Lets running jobs stop where they next say how far they are; they wait for the next process."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _follow(self, job: Job) -> None:
        self._followed[job.id] = _Followed()
        self._lanes.setdefault(job.lane, deque()).append(job.id)
        if job.lane not in self._tasks:
            self._tasks[job.lane] = asyncio.get_running_loop().create_task(self._work(job.lane))

    async def _work(self, lane: str) -> None:
        queue = self._lanes[lane]
        try:
            while queue:
                id = queue.popleft()
                followed = self._followed[id]
                try:
                    if self.jobs.start(id):
                        await self._perform(self.jobs.get(id), followed.listening)
                except sqlite3.Error as error:  # a full disk: the job waits in the ledger, the lane goes on
                    logged.broken(error)
                finally:
                    followed.ended.set()
                    del self._followed[id]
        finally:
            del self._tasks[lane], self._lanes[lane]

    async def _perform(self, job: Job, listening: Listening) -> None:
        try:
            if job.attempts > MOST_ATTEMPTS:
                raise BadInput(f"the server ended {MOST_ATTEMPTS} times while it did this job, and does not try again.")
            await self.performers[job.kind](job, listening)
        except asyncio.CancelledError:
            listening.cancelled.set()
            raise
        except HilumError as error:
            self._failed(job, error)
        except Exception as error:  # a job may fail in any way; the lane goes on
            self._failed(job, error)

    def _failed(self, job: Job, error: Exception) -> None:
        if not self.jobs.get(job.id).ended:
            self.jobs.fail(job.id, problem(error), "cancelled" if isinstance(error, Cancelled) else "failed")
