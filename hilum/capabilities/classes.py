"""Which of the classes that a system knows by name labels mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from ..values.errors import BadInput
from ..values.prompts import Labels, Prompt


def chosen(
    prompts: tuple[Prompt, ...], known: tuple[str, ...], called: Callable[[str], tuple[str, ...]], name: str
) -> tuple[str, ...]:
    """The classes that were asked for, each once, in the system's own spelling; all of them where no label was given.

    `called` says what a label means: one class, several, or none.
    """
    for prompt in cast(tuple[Labels, ...], prompts):
        if prompt.templates or prompt.texts or prompt.opposites:
            raise BadInput(f"{name} knows its classes by name: it takes no templates and no texts of one's own")
    asked = [label for prompt in prompts for label in cast(Labels, prompt).names]
    strange = [label for label in asked if not called(label)]
    if strange:
        raise BadInput(f"{name} does not know {', '.join(strange)}; it knows {', '.join(known)}")
    return tuple(dict.fromkeys(each for label in asked for each in called(label))) or known
