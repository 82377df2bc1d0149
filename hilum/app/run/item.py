"""An item: a line of the table as a command line of `hilum ask`, and what came of it. Both travel between machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import typer

from ...values.errors import BadInput
from ..ask_options import AskOptions
from ..command import Ordered, Said, taking

if TYPE_CHECKING:
    from ..asked import Asked

USAGE: Any = typer.BadParameter.__bases__[0]  # what the parser raises; typer has it from click, or brings its own
REPORTS = "reports"


@dataclass(frozen=True, slots=True)
class Item:
    """`words` are those of `hilum ask`; `key` names all that its answer depends on; `group` what is looked at for it.

    The files are names in the run's folder; `images` is what the table says, from its folder `base`.
    """

    line: int
    name: str
    images: tuple[str, ...]
    words: tuple[str, ...]
    output: str | None = None
    preview: str | None = None
    explain: str | None = None
    base: str = ""
    key: str = ""
    group: str = ""

    @property
    def report(self) -> str:
        """The file with the answer as JSON."""
        return f"{REPORTS}/{self.name}.json"

    @property
    def files(self) -> tuple[str, ...]:
        """All that it writes."""
        return tuple(name for name in (self.output, self.preview, self.explain, self.report) if name is not None)

    def asked(self) -> Asked:
        """What its words mean, as far as that is known without the image."""
        from ..asked import understood

        return understood(*parsed(self.words))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an item: the files with their sha256, who answered, the answer in a line; or `why` it failed."""

    files: dict[str, str] = field(default_factory=dict)
    system: str = ""
    answer: str = ""
    notes: tuple[str, ...] = ()
    why: str = ""

    @property
    def done(self) -> bool:
        """Whether it was answered."""
        return not self.why


def parsed(words: Sequence[str]) -> tuple[AskOptions, Said]:
    """The words as `hilum ask` would read them."""
    held: list[tuple[AskOptions, Said]] = []

    def hold(given: AskOptions, said: Said) -> None:
        held.append((given, said))

    app = typer.Typer(add_completion=False)
    app.command("ask", cls=Ordered)(taking(AskOptions)(hold))
    command: Any = typer.main.get_command(app)
    try:
        command.main(list(words), prog_name="hilum ask", standalone_mode=False)
    except USAGE as error:
        raise BadInput(f"{error.format_message().rstrip('.')}.") from error
    return held[0]
