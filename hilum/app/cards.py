"""`hilum card`: all that a card says of a system; with `--here`, what a look costs on this machine."""

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from ..values.notice import SENTENCE
from . import screen, table
from .command import Said

if TYPE_CHECKING:
    from ..values.card import Card, WeightsEntry
    from .cost import Cost


@dataclass(frozen=True, slots=True, kw_only=True)
class CardOptions:
    """Whose card, and how it is shown."""

    name: Annotated[str, Argument(metavar="NAME", help="A system's name or tag.", show_default=False)]
    here: Annotated[bool, Option("--here", help="Also what a look costs on this machine.")] = False
    json: Annotated[bool, Option("--json", help="As JSON.")] = False


def card(given: CardOptions, said: Said) -> None:
    """Show what is true about a system, and what it costs here."""
    from .. import registry

    found = registry.card(given.name)
    costs = _here(given.name) if given.here else None
    if given.json:
        here = {} if costs is None else {"here": costs.facts()}
        typer.echo(json.dumps({**asdict(found), **here}, indent=2, ensure_ascii=False))
    else:
        here_lines = [] if costs is None else costs.lines()
        typer.echo(table.fields([*lines(found), *here_lines, ("", SENTENCE)]))


def _here(name: str) -> "Cost | None":
    from .cost import cost

    found = cost(name)
    if found is None:
        screen.tell(f"{name} names no size that could be weighed here.")
    return found


def _unasked(card: "Card") -> str:
    return f"without a prompt it will {card.default}" if card.default else ""


def lines(card: "Card") -> list[tuple[str, str]]:
    """The card's fields for a person; nothing for those it leaves open."""
    from ..weights import store

    there = store.available(card)
    return [
        ("name", f"{card.name}: {card.title}"),
        ("summary", card.summary),
        ("citation", card.citation),
        ("family", f"{card.family}, {card.algorithm} ({card.year})"),
        ("row", "" if card.row is None else f"{card.row} of the survey's forty"),
        ("status", card.status),
        ("can", ", ".join(card.capabilities)),
        ("takes", "; ".join(filter(None, (", ".join(card.accepts), _unasked(card))))),
        ("returns", ", ".join(card.returns)),
        ("modalities", ", ".join(card.modalities)),
        ("organs", ", ".join(card.organs)),
        ("tasks", ", ".join(card.tasks)),
        ("proven by", ", ".join(card.proof)),
        ("weights", "\n".join(_entry(entry, there) for entry in card.weights) or "none"),
        ("deviations", "\n".join(card.deviations)),
        ("notes", "\n".join(card.notes)),
        ("excuses", "\n".join(f"{test}: {reason}" for test, reason in (card.excuses or {}).items())),
    ]


def _entry(entry: "WeightsEntry", there: tuple[str, ...]) -> str:
    here = "here" if entry.tag in there else "not here"
    parts = [f"{entry.tag} ({here}): {entry.file}", entry.source, entry.licence]
    parts += ["on request only"] if entry.gated else []
    parts += [entry.note] if entry.note else []
    return ", ".join(parts)
