"""What the user sees while waiting: bars on a terminal, plain sentences elsewhere; always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import typer

from ..values import progress

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PAUSE = 10.0  # seconds between two plain sentences about the same kind of steps


def tell(sentence: str) -> None:
    """A sentence on stderr."""
    typer.echo(sentence, err=True)


@contextmanager
def shown() -> Iterator[None]:
    """Within this block all progress is shown."""
    if not sys.stderr.isatty():
        with progress.heard_by(Sentences()):
            yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars, progress.heard_by(Bars(bars)):
        yield


@dataclass(slots=True)
class Sentences:
    """A listener that writes a line for each sentence, and one for long counts now and then."""

    last: float = field(default_factory=time.monotonic)

    def __call__(self, what: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if total is None:
            tell(what)
        elif now - self.last > PAUSE and done < total:
            self.last = now
            tell(f"{what}: {done} of {total}")


@dataclass(slots=True)
class Bars:
    """A listener that draws a bar for each kind of steps."""

    bars: Progress
    tasks: dict[str, TaskID] = field(default_factory=dict)

    def __call__(self, what: str, done: int, total: int | None) -> None:
        if total is None:
            self.bars.console.print(what, markup=False, highlight=False)
            return
        if what not in self.tasks:
            self.tasks[what] = self.bars.add_task(what, total=total)
        self.bars.update(self.tasks[what], completed=done, total=total)
