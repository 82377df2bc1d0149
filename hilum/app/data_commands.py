"""`hilum data …`: the user's own labelled cases."""

import json as jsons
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from . import screen

app = typer.Typer(help="Your own labelled cases.", no_args_is_help=True)


@app.callback()
def data() -> None:
    """Your own labelled cases: look at them before hours are spent on them."""


@app.command("check")
def check(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Labelled pairs, as for hilum adapt.")],
    held: Annotated[float, typer.Option(help="Share of patients that adapt would hold back.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Of that split.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Pairs, geometry, label values, unreadable files, near-duplicates and patients across a split.

    The exit code is 2 where something would stop or spoil a training.
    """
    from ..adapt.data_check import check as checked

    with screen.shown():
        found = checked(folder, held=held, seed=seed)
    labels = Counter(value for case in found.cases for value in case.labels)
    if json:
        facts = {"sound": found.sound, "cases": len(found.cases), "labels": dict(sorted(labels.items()))}
        rows = [{"grave": each.grave, "sentence": each.sentence} for each in found.findings]
        typer.echo(jsons.dumps({**facts, "findings": rows}, indent=2, ensure_ascii=False))
    else:
        typer.echo(_summary(found.cases, labels))
        for each in sorted(found.findings, key=lambda finding: not finding.grave):
            typer.echo(f"{'WRONG  ' if each.grave else 'warning'} {each.sentence}")
    if not found.sound:
        raise typer.Exit(2)


def _summary(cases: tuple, labels: Counter) -> str:
    patients, sources = {case.pair.patient for case in cases}, {case.pair.source for case in cases}
    volumes = sum(len(case.grid) == 3 for case in cases)
    values = ", ".join(f"{value} (in {count})" for value, count in sorted(labels.items())[:12])
    more = f" and {len(labels) - 12} more" if len(labels) > 12 else ""
    return (
        f"{len(cases)} cases ({volumes} volumes) of {len(patients)} patients in {len(sources)} sources; "
        f"label values: {values or 'none'}{more}"
    )
