"""`hilum check`: does a system answer as trained weights do, or did its file only load?"""

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from . import screen, table
from .command import Said

if TYPE_CHECKING:
    from ..bench.check import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """Who is checked, and where it runs."""

    name: Annotated[str, Argument(metavar="NAME", help="A system's name or tag.", show_default=False)]
    device: Annotated[str, Option(metavar="auto|cpu|cuda", help="Where it runs.")] = "auto"
    backend: Annotated[str, Option(metavar="auto|torch|openvino", help="What runs it.")] = "auto"
    json: Annotated[bool, Option("--json", help="As JSON.")] = False


def check(given: CheckOptions, said: Said) -> None:
    """Ask a system for structures that are known.

    It is held against its own class with random weights, and against the ellipse in the box, which does not look at the
    picture. The exit code is 1 where it answers like random weights.
    """
    from .. import registry
    from ..bench.check import check as held_against
    from .ask import device

    with screen.shown():
        system = registry.load(given.name, device=device(given.device), backend=given.backend)
        verdict = held_against(system)
    if given.json:
        found = {"sound": not verdict.like_random, "sentence": verdict.sentence(), **asdict(verdict)}
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        typer.echo(_table(verdict))
        typer.echo(verdict.sentence())
    if verdict.like_random:
        raise typer.Exit(1)


def _table(verdict: "Verdict") -> str:
    head = ("picture", "structure", "Dice", "random weights", "ellipse in its box")
    numbers = [(each.system, each.untrained, each.ellipse) for each in verdict.scores]
    names = [(each.picture, each.structure) for each in verdict.scores]
    body = [(*words, *(f"{value:.2f}" for value in row)) for words, row in zip(names, numbers, strict=True)]
    return table.rows(head, body, right=frozenset({2, 3, 4}))
