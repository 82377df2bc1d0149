"""Passes of several threads run as one batch: each thread reads, prepares and asks for its own picture alone.

A batch has always the same size; where fewer rows come, zeros fill it. A row's result depends neither on its place nor
on its neighbours (a test holds this), so it is the same however a folder was cut into runs. Whoever completes a batch
runs it; the others go on when it is done. With more threads than rows, files are read while a batch is computed.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from hilum.backends.choose import Backend

Given, Made = TypeVar("Given"), TypeVar("Made")
Run = Callable[[Tensor], Tensor]
Row = tuple[Tensor, "Future[Tensor]"]


@dataclass(slots=True)
class Stages:
    """Seconds of each stage: in which the encoder worked, and of all threads together before and after it."""

    encoding: float = 0.0
    around: dict[str, float] = field(default_factory=dict)
    batches: int = 0
    rows: int = 0


@dataclass(slots=True, eq=False)
class Gathered:
    """A backend around another one, for `size` rows at a time."""

    inner: Backend
    size: int
    stages: Stages = field(default_factory=Stages)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _turn: threading.Lock = field(default_factory=threading.Lock)  # one batch at a time: each takes all cores
    _waiting: dict[tuple[int, ...], list[Row]] = field(default_factory=dict)
    _runs: dict[tuple[int, ...], Run] = field(default_factory=dict)
    _crew: int = 0  # threads that may still bring a row

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def precision(self) -> str:
        return self.inner.precision

    @property
    def notes(self) -> tuple[str, ...]:
        return self.inner.notes

    def compile(self, module: nn.Module, shape: tuple[int, ...], *, key: str) -> Run:
        """A pass over one row that waits for others; batches of another size are run as they are."""
        if shape[0] != 1:
            return self.inner.compile(module, shape, key=key)
        with self._lock:
            if shape not in self._runs:
                self._runs[shape] = self.inner.compile(module, (self.size, *shape[1:]), key=key)
                self._waiting[shape] = []
        return lambda row: self._pass(shape, row)

    def each(self, make: Callable[[Given], Made], items: Sequence[Given], threads: int = 0) -> Iterator[Made]:
        """What `make` makes of each item, in order, made by several threads, which run ahead by their own number."""
        count = threads or 2 * self.size
        with ThreadPoolExecutor(count, thread_name_prefix="hilum-embed") as pool:
            running: list[Future[Made]] = []
            try:
                for place in range(len(items) + count):
                    if place < len(items):
                        context = contextvars.copy_context()  # progress is heard through it
                        with self._lock:
                            self._crew += 1  # before it starts: a batch waits for it
                        running.append(pool.submit(context.run, self._one, make, items[place]))
                    if place >= count - 1 and running:
                        yield running.pop(0).result()
            finally:
                for future in running:
                    if future.cancel():
                        self._left()

    def alone(self, make: Callable[[Given], Made], items: Sequence[Given]) -> list[Made]:
        """The same from inside one of its threads, for an item of many parts: that thread waits for theirs."""
        with self._lock:
            self._crew -= 1
        try:
            return list(self.each(make, items, self.size))
        finally:
            with self._lock:
                self._crew += 1

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Adds the seconds of a block to a stage."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self.stages.around[stage] = self.stages.around.get(stage, 0.0) + time.perf_counter() - begun

    def _one(self, make: Callable[[Given], Made], item: Given) -> Made:
        try:
            return make(item)
        finally:
            self._left()

    def _left(self) -> None:
        """One thread less that could bring a row: those that wait may be all there are."""
        with self._lock:
            self._crew -= 1
            full = self._full()
        self._run(full)

    def _pass(self, shape: tuple[int, ...], row: Tensor) -> Tensor:
        """This row's part of the batch that it becomes part of."""
        mine: Future[Tensor] = Future()
        with self._lock:
            self._waiting[shape].append((row, mine))
            full = self._full()
        self._run(full)
        return mine.result()

    def _full(self) -> list[tuple[tuple[int, ...], list[Row]]]:
        """The batches that are to be run now, taken from those that wait."""
        every = sum(map(len, self._waiting.values())) >= self._crew
        chosen = []
        for shape, rows in self._waiting.items():
            while rows and (every or len(rows) >= self.size):
                chosen.append((shape, rows[: self.size]))
                del rows[: self.size]
        return chosen

    def _run(self, batches: list[tuple[tuple[int, ...], list[Row]]]) -> None:
        for shape, rows in batches:
            try:
                found = self._computed(shape, torch.cat([row for row, _ in rows]))
            except BaseException as error:  # whoever waits for a row must hear of it
                for _, future in rows:
                    future.set_exception(error)
                continue
            for number, (_, future) in enumerate(rows):
                future.set_result(found[number : number + 1].clone())

    def _computed(self, shape: tuple[int, ...], rows: Tensor) -> Tensor:
        """All rows, with zeros up to the size."""
        filled = torch.cat([rows, rows.new_zeros(self.size - len(rows), *rows.shape[1:])])
        with self._turn:
            begun = time.perf_counter()
            found = self._runs[shape](filled)
            self.stages.encoding += time.perf_counter() - begun
            self.stages.batches += 1
            self.stages.rows += len(rows)
        return found
