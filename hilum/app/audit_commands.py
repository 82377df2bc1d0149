"""`hilum audit …`: whether a server's log of what was asked is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..values.errors import BadInput

app = typer.Typer(help="The log of what a server answered: verify.", no_args_is_help=True)


@app.callback()
def audits() -> None:
    """The log of what a server answered."""


@app.command("verify")
def verify(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="The log; else your server's.")] = None,
) -> None:
    """Check that no line of the log was changed, taken out, put in or reordered."""
    from .serve import state_folder
    from .server import audit

    path = file or state_folder() / "audit.jsonl"
    if not path.is_file():
        raise BadInput(f"there is no audit log at {path}: name the one in the --state folder of your server.")
    count = audit.verify(path)
    typer.echo(f"{path}: {count} lines, each whole and in its place; the last seal is {audit.last(path)}.")
