"""Workers as processes of this machine. They end when the run does, however it ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from ...values import progress
from ...values.errors import HilumError
from .answering import Hand, Setting, hire
from .dispatch import Ended, Event
from .item import Item

READY, SAID, TOLD, REFUSED = "ready", "said", "told", "refused"
Hire = Callable[[Setting], Hand]
CONTEXT = multiprocessing.get_context("spawn")  # nothing of this process is copied, whatever it has loaded
PATIENCE = 5.0  # seconds that a worker is given to end


@dataclass(slots=True)
class Worker:
    """A process, our end of its pipe, whether it has begun, and why it will not."""

    process: SpawnProcess
    pipe: Connection
    ready: bool = False
    refusal: str = ""


class Processes:
    """A crew of processes; within the block they are there, after it they are not."""

    def __init__(self, setting: Setting, count: int, hiring: Hire = hire):
        self.count = count
        self._setting, self._hire = setting, hiring
        self._workers: dict[int, Worker] = {}
        self._said: set[str] = set()

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *raised: object) -> None:
        for worker in self._workers.values():
            worker.process.terminate()
            worker.pipe.close()
        for worker in self._workers.values():
            worker.process.join(PATIENCE)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()

    def give(self, worker: int, item: Item) -> None:
        """Starts the worker where there is none yet."""
        if worker not in self._workers:
            self.replace(worker)
        try:
            self._workers[worker].pipe.send(item)
        except OSError:  # it has ended, which `wait` is about to tell
            return

    def replace(self, worker: int) -> None:
        """A new process; what the old one left is cleared away."""
        ours, theirs = CONTEXT.Pipe()
        process = CONTEXT.Process(target=work, args=(theirs, self._setting, self._hire), name=f"worker {worker}")
        process.start()
        theirs.close()
        self._workers[worker] = Worker(process, ours)

    def wait(self) -> tuple[int, Event]:
        """What the first worker says that says anything; the end of its pipe is its own end."""
        while True:
            numbers = {each.pipe: number for number, each in self._workers.items() if not each.pipe.closed}
            for pipe in wait(list(numbers)):
                number = numbers[pipe]  # type: ignore[index]
                event = self._heard(self._workers[number])
                if event is not None:
                    return number, event

    def _heard(self, worker: Worker) -> Event | None:
        try:
            kind, content = worker.pipe.recv()
        except (EOFError, OSError):
            return self._ended(worker)
        if kind == READY:
            worker.ready = True
        elif kind == REFUSED:
            worker.refusal = content
        elif kind == SAID and content not in self._said:
            self._said.add(content)
            progress.say(content)
        return content if kind == TOLD else None

    def _ended(self, worker: Worker) -> Ended:
        worker.pipe.close()
        worker.process.join()
        return Ended(worker.refusal or reason(worker.process.exitcode or 0), worker.ready)


def reason(code: int) -> str:
    """Why a process ended, from its exit code."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def work(pipe: Connection, setting: Setting, hiring: Hire) -> None:
    """The life of a worker: it is hired, does items, and ends with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's; it ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        hand = hiring(setting)
    except HilumError as error:
        pipe.send((REFUSED, f"says: {str(error).rstrip('.')}"))
        return
    pipe.send((READY, None))
    with progress.heard_by(lambda what, done, total: _forward(pipe, what, total)):
        while True:
            try:
                item: Item = pipe.recv()
            except (EOFError, OSError):
                return
            pipe.send((TOLD, hand.do(item)))


def _forward(pipe: Connection, what: str, total: int | None) -> None:
    """Sentences are passed on; counts of a worker's own steps are not."""
    if total is None:
        pipe.send((SAID, what))


def _end_with_parent() -> None:
    parent: Any = multiprocessing.parent_process()
    wait([parent.sentinel])
    os._exit(1)
