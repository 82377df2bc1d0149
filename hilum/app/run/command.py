"""`hilum run`: a table of images and prompts, answered line by line; what was done stays done."""

import json as jsons
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from ...values.errors import BadInput
from ...values.notice import SENTENCE
from .. import screen, table
from ..command import Said

if TYPE_CHECKING:
    from .cluster import Cluster
    from .item import Item, Outcome
    from .processes import Processes
    from .summary import Summary

TABLE = (
    "A CSV table: a column image, and columns named after the options of hilum ask (system, box, point, labels, ...)."
)
WORKERS = "How many lines are asked at once; without it one for each core, or fewer where memory would not do."
THREADS = "Threads of each worker. With another number the last bits of an answer may differ."
ON = "Where: by processes of this machine, or by Ray (the cluster of $RAY_ADDRESS, or one that is started here)."


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The table, the folder, and who works."""

    table: Annotated[Path, Argument(metavar="TABLE.csv", help=TABLE, show_default=False)]
    output: Annotated[Path, Option("-o", "--output", metavar="FOLDER", help="A folder of its own for all answers.")]
    system: Annotated[str | None, Option(metavar="SYSTEM", help="Of lines that name none.")] = None
    on: Annotated[str, Option(metavar="processes|ray", help=ON)] = "processes"
    workers: Annotated[int | None, Option(metavar="N", min=1, help=WORKERS)] = None
    threads: Annotated[int, Option(metavar="N", min=1, help=THREADS)] = 1
    dry_run: Annotated[bool, Option("--dry-run", help="Check the table and show what would be done; do nothing.")] = (
        False
    )
    anew: Annotated[bool, Option("--anew", help="Do again what was done before.")] = False
    json: Annotated[bool, Option("--json", help="The summary as JSON on stdout.")] = False
    device: Annotated[str | None, Option(metavar="auto|cpu|cuda", help="Where systems run, of lines without it.")] = (
        None
    )
    backend: Annotated[
        str | None, Option(metavar="auto|torch|openvino", help="What runs them, of lines without it.")
    ] = None


def run(given: RunOptions, said: Said) -> None:
    """Ask for each line of a table what hilum ask would be asked, several at once; stopped, it goes on where it was.

    hilum run jobs.csv -o answers/
    """
    from . import folder, record
    from .table import items

    if given.on not in ("processes", "ray"):
        raise BadInput(f"--on {given.on}: wanted processes or ray.")
    folder.check(given.output)
    standing = {"system": given.system or "", "device": given.device or "", "backend": given.backend or ""}
    with screen.shown():
        wanted = items(given.table, standing)
        there = {} if given.anew else record.whole(given.output, wanted, record.seen(given.output))
        if given.dry_run:
            typer.echo(_plan(wanted, there))
            return
        screen.tell(SENTENCE)
        with folder.held(given.output):
            summary = _worked(given, wanted)
    _tell(summary, given)


def _worked(given: RunOptions, wanted: "Sequence[Item]") -> "Summary":
    """All that was not done yet is done; the summary is written whether this ends or is stopped."""
    from importlib.metadata import version

    from ...values import progress
    from . import record, summary
    from .dispatch import outcomes

    with record.opened(given.output) as kept:
        if given.anew:
            kept.forget()
        found = record.whole(given.output, wanted, kept.outcomes())
        found = {key: outcome for key, outcome in found.items() if outcome.done}
        left = [item for item in wanted if item.key not in found]
        if len(left) < len(wanted):
            screen.tell(f"{len(wanted) - len(left)} of {len(wanted)} items are done already.")
        told = summary.Summary(given.table.name, version("hilum"), tuple(wanted), found)
        try:
            if left:
                with _crew(given, left) as crew:
                    for item, outcome in outcomes(left, crew):
                        kept.keep(item, outcome)
                        found[item.key] = outcome
                        if not outcome.done:
                            screen.tell(f"line {item.line}, {' | '.join(item.images)}: {outcome.why}")
                        progress.count("items", len(found), len(wanted))
        finally:
            summary.write(told, given.output)
    return told


def _crew(given: RunOptions, left: "Sequence[Item]") -> "AbstractContextManager[Processes | Cluster]":
    from .answering import Setting
    from .cluster import Cluster
    from .processes import Processes
    from .room import workers

    setting = Setting(str(given.output.absolute()), given.threads)
    if given.on == "ray":
        return Cluster(setting, given.workers)
    return Processes(setting, given.workers or workers(left, given.threads))


def _plan(wanted: "Sequence[Item]", there: "Mapping[str, Outcome]") -> str:
    """A line for each item: what would be done with it."""
    body = []
    for item in wanted:
        asked, outcome = item.asked(), there.get(item.key)
        state = "to do" if outcome is None else "done already" if outcome.done else "failed, to do again"
        who = asked.words.system or "the best that is here"
        body.append(
            (str(item.line), " | ".join(item.images), who, ", ".join(asked.kinds), item.output or item.report, state)
        )
    count = sum(row[-1] != "done already" for row in body)
    lines = table.rows(("line", "image", "system", "prompts", "file", "state"), body, right=frozenset({0}))
    return f"{lines}\n{count} of {len(body)} to do; nothing was done."


def _tell(summary: "Summary", given: RunOptions) -> None:
    """The counts, and where the rest stands; exit code 1 where something failed."""
    from .folder import PAGE

    if given.json:
        typer.echo(jsons.dumps(summary.facts(), indent=2, ensure_ascii=False))
    else:
        typer.echo(f"{given.output}: {summary.sentence()}; {given.output / PAGE}")
    if summary.failed():
        screen.tell(f"{len(summary.failed())} of {len(summary.items)} items failed, as listed above.")
        raise typer.Exit(1)
