"""`hilum doctor`: what is here, what is missing, and the command that mends it."""

import json
from dataclasses import asdict, dataclass
from typing import Annotated

import typer
from typer import Option

from ..values.notice import SENTENCE
from . import table
from .command import Said

MARKS = {"ok": "ok", "absent": "--", "broken": "!!"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorOptions:
    """How it is shown."""

    json: Annotated[bool, Option("--json", help="As JSON.")] = False


def doctor(given: DoctorOptions, said: Said) -> None:
    """Show what is here, what is missing, and what mends it."""
    from .health import findings

    found = list(findings())
    if given.json:
        typer.echo(json.dumps([asdict(each) for each in found], indent=2, ensure_ascii=False))
    else:
        _show(found)
    if any(each.state == "broken" for each in found):
        raise typer.Exit(1)


def _show(found: list) -> None:
    body = [(MARKS[each.state], each.what, each.found) for each in found]
    typer.echo(table.rows(("", "", "found"), body))
    mends = dict.fromkeys(f"{each.what}: {each.mend}" for each in found if each.mend)
    if mends:
        typer.echo("\nto mend (!!) or to add (--):\n" + "\n".join(f"  {mend}" for mend in mends))
    typer.echo(f"\n{SENTENCE}")
