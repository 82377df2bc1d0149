"""Workers on a cluster, by Ray: one actor for each; $RAY_ADDRESS names the cluster, without it Ray is started here.

Every machine must see the images and the run's folder under the same paths; the workers say if they do not.
"""

from __future__ import annotations

import os
from typing import Any

from ...values import progress
from ...values.errors import Failed, HilumError, MissingExtra
from .answering import Hand, Setting, hire
from .dispatch import Ended, Event
from .item import Item, Outcome
from .processes import Hire

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}  # no reports; GPUs as they are


def library() -> Any:
    """Ray, where it is installed."""
    os.environ.update(QUIET)
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("--on ray", "ray", "scale") from error
    return ray


class Actor:
    """One worker of the cluster."""

    def __init__(self, setting: Setting, hiring: Hire):
        self._setting, self._hire = setting, hiring
        self._hand: Hand | None = None

    def ready(self) -> str:
        """Nothing once it can do items; else the sentence that says why it cannot."""
        try:
            self._hand = self._hire(self._setting)
        except HilumError as error:
            return str(error)
        return ""

    def do(self, item: Item) -> Outcome:
        """What came of it."""
        assert self._hand is not None
        return self._hand.do(item)


class Cluster:
    """A crew of actors; within the block they are there, after it they are not."""

    def __init__(self, setting: Setting, count: int | None = None, hiring: Hire = hire):
        self._setting, self._hire, self._wanted = setting, hiring, count
        self._ray = library()
        self._actors: dict[int, Any] = {}
        self._starting: dict[Any, int] = {}
        self._next: dict[int, Item] = {}  # what waits for an actor that is starting
        self._doing: dict[Any, int] = {}
        self.count = count or 1

    def __enter__(self) -> Cluster:
        cores = {"num_cpus": (self._wanted or 1) * self._setting.threads} if self._wanted else {}
        started = {} if os.environ.get("RAY_ADDRESS") else {"include_dashboard": False, "address": "local", **cores}
        try:
            self._ray.init(log_to_driver=False, configure_logging=False, ignore_reinit_error=True, **started)
        except Exception as error:  # Ray raises it bare where a machine is too busy to start in time
            raise Failed(f"Ray cannot be reached or started ({type(error).__name__}): {_first(error)}") from error
        room = max(1, int(self._ray.cluster_resources().get("CPU", 1)) // self._setting.threads)
        self.count = min(self._wanted or room, room)
        if self.count < (self._wanted or 0):  # those beyond would wait for ever
            progress.say(f"the cluster has room for {room} workers of {self._setting.threads} threads, so {room} work.")
        return self

    def __exit__(self, *raised: object) -> None:
        for actor in self._actors.values():
            self._ray.kill(actor)
        self._ray.shutdown()

    def give(self, worker: int, item: Item) -> None:
        """Starts the actor where there is none yet."""
        if worker not in self._actors:
            self.replace(worker)
        if worker in self._starting.values():  # given to it once it is ready: then its end is over the item
            self._next[worker] = item
        else:
            self._doing[self._actors[worker].do.remote(item)] = worker

    def replace(self, worker: int) -> None:
        """A new actor, which gets ready while others are waited for."""
        remote = self._ray.remote(num_cpus=self._setting.threads, max_restarts=0)(Actor)
        self._actors[worker] = remote.remote(self._setting, self._hire)
        self._starting[self._actors[worker].ready.remote()] = worker

    def wait(self) -> tuple[int, Event]:
        """What the first actor has done that has done anything."""
        while True:
            [done], _ = self._ray.wait([*self._starting, *self._doing], num_returns=1)
            starting = done in self._starting
            worker = self._starting.pop(done) if starting else self._doing.pop(done)
            try:
                told = self._ray.get(done)
            except self._ray.exceptions.RayError as error:
                return worker, self._ended(worker, "was lost" if not starting else f"ended: {_first(error)}", starting)
            if not starting:
                return worker, told
            if told:
                return worker, self._ended(worker, f"says: {told.rstrip('.')}", starting)
            if worker in self._next:
                self.give(worker, self._next.pop(worker))

    def _ended(self, worker: int, why: str, starting: bool) -> Ended:
        """The actor is cleared away."""
        self._ray.kill(self._actors.pop(worker))
        return Ended(why, ready=not starting)


def _first(error: BaseException) -> str:
    """The first line of what Ray says, which may be long."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
