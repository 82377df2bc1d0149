"""What a command ends with: an exit code, and one sentence where something is wrong.

0 done · 1 something failed that the user did not cause · 2 the input, the prompt or the usage was wrong · 130 stopped.
"""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from ..values.errors import HilumError, UnsupportedPrompt

DEBUG = "--debug"
STOPPED = 130  # what a shell says of a program that Ctrl-C ended


class Told(TyperGroup):
    """A group of commands whose errors are told in one sentence on stderr; `--debug` may stand anywhere."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Takes `--debug` out wherever it stands before a `--`, so that every command knows it."""
        before = args.index("--") if "--" in args else len(args)
        ctx.meta[DEBUG] = DEBUG in args[:before]
        kept = [word for word in args[:before] if word != DEBUG]
        return super().parse_args(ctx, kept + args[before:])

    def invoke(self, ctx: Any) -> Any:
        """Runs the command; what it raises for the user to read becomes a sentence and an exit code."""
        try:
            return super().invoke(ctx)
        except HilumError as error:
            if ctx.meta[DEBUG]:
                raise
            typer.echo(sentence(error), err=True)
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            typer.echo("stopped; nothing half-written is left behind.", err=True)
            raise typer.Exit(STOPPED) from error


def sentence(error: HilumError) -> str:
    """The error's own sentence; where a system does not take a prompt, who does is added from the registry."""
    if isinstance(error, UnsupportedPrompt):
        return f"{error}{_who_takes(error.given.lower())}"
    return str(error)


def _who_takes(prompt: str) -> str:
    from .. import registry
    from ..values.card import PROMPTS

    if prompt not in PROMPTS:
        return ""
    able = registry.names(accepts=prompt)
    return f" Systems that take {prompt}: {', '.join(able)}." if able else f" No system here takes {prompt}."


def unexpected(error: BaseException) -> str:
    """A sentence for an error that nobody wrote for the user: its kind and place, never its text, which may quote
    the file it arose from (a patient's name, a date)."""
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    place = "" if where is None else f" ({_module(where.tb_frame.f_globals)}, line {where.tb_lineno})"
    return (
        f"hilum failed in a way that it should not: {type(error).__name__}{place}. "
        "Run the same command with --debug to see where; the full text may quote the file."
    )


def _module(names: dict[str, Any]) -> str:
    return str(names.get("__name__", "?"))
