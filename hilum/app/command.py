"""A command whose options are one value: the fields of a dataclass are its options, so nothing is said twice."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand

Options = TypeVar("Options")
Said = tuple[tuple[str, str], ...]  # (option, text) of the prompts, in the order in which they were said

SAID = "said"
PROMPT_OPTIONS = ("--box", "--point", "--point-out", "--mask", "--scribble", "--labels")


class Ordered(TyperCommand):
    """A command that remembers in which order its prompts were said: a click refines the box before it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Notes the order, which is lost when every option gathers its own values."""
        ctx.meta[SAID] = tuple(spoken(args))
        return super().parse_args(ctx, args)


def spoken(args: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The prompts among the words of a command line."""
    words = iter(args)
    for word in words:
        option, equals, text = word.partition("=")
        if word == "--":
            return
        if option in PROMPT_OPTIONS:
            yield option, text if equals else next(words, "")


def taking(kind: type[Options]) -> Callable[[Callable[[Options, Said], None]], Callable[..., None]]:
    """Makes `function(options, said)` a function that typer can read: one parameter for each field of `kind`."""

    def readable(function: Callable[[Options, Said], None]) -> Callable[..., None]:
        def run(ctx: typer.Context, **given: Any) -> None:
            function(kind(**given), ctx.meta.get(SAID, ()))

        context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        fields = (
            field.replace(kind=inspect.Parameter.KEYWORD_ONLY) for field in inspect.signature(kind).parameters.values()
        )
        run.__signature__ = inspect.Signature([context, *fields])  # type: ignore[attr-defined]
        run.__name__, run.__doc__ = function.__name__, function.__doc__
        return run

    return readable
