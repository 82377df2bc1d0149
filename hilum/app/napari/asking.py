"""What the widget does when it is told to ask, without a window: who can answer, the kept look, the answer's layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...values.answers import Segmentation
from ...values.errors import HilumError
from .layers import LayerData, answer_layers

if TYPE_CHECKING:
    from ...capabilities.look import Look
    from ...values.answers import Answer
    from ...values.image import Image
    from ...values.prompts import Prompt

BEST = "the best that is here"


def choices() -> list[str]:
    """Systems that can be asked now: those whose weights are here."""
    from ... import registry
    from ...weights import store

    return [BEST, *(name for name in registry.names() if store.available(registry.card(name)))]


@dataclass(slots=True)
class Asking:
    """Remembers the last look, so that one more click is quick."""

    look: Look | None = None
    of: tuple[str, Image] | None = None

    def ask(self, image: Image, said: Sequence[Prompt], system: str) -> Answer:
        """The answer; what the system does not take is refused before it looks."""
        from ... import registry
        from ..choose import best, refuse
        from .said import kinds

        wanted = kinds(said)
        name = best(wanted, image.source.modality).name if system == BEST else system
        refuse(name, wanted)
        if self.look is None or self.of is None or self.of[0] != name or self.of[1] is not image:
            self.look, self.of = registry.load(name).look(image), (name, image)
        return self.look.ask(*said)

    def tried(self, image: Image, said: Sequence[Prompt], system: str) -> tuple[Answer | None, str]:
        """The answer, or the sentence that says why there is none: a thread has nobody to raise to."""
        try:
            return self.ask(image, said, system), ""
        except Exception as error:
            return None, worded(error)


def shown(answer: Answer) -> tuple[list[LayerData], str]:
    """The layers of an answer, and its words."""
    from rich.text import Text

    from ...values.notice import SENTENCE
    from ..results import text

    found = answer_layers(answer) if isinstance(answer, Segmentation) and answer.names else []
    notes = "".join(f"\nnote: {note}" for note in answer.provenance.notes)
    return found, f"{Text.from_ansi(text(answer)).plain}{notes}\n{SENTENCE}"


def worded(error: Exception) -> str:
    """One sentence about what went wrong."""
    from ..outcome import sentence, unexpected

    return sentence(error) if isinstance(error, HilumError) else unexpected(error)
