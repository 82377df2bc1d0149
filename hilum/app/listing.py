"""`hilum list`: the systems, from their cards alone."""

import json
from dataclasses import asdict, dataclass
from typing import Annotated

import typer
from typer import Option

from ..values.card import CAPABILITIES, FAMILIES, PROMPTS, STATUS, Card
from ..values.errors import BadInput
from . import screen, table
from .command import Said

KNOWN = {"family": FAMILIES, "capability": CAPABILITIES, "accepts": PROMPTS, "status": STATUS}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """What a listed system must have; none of them asks for everything."""

    family: Annotated[str | None, Option(help="Family of the survey, or house.")] = None
    capability: Annotated[str | None, Option(help="embed, match, segment, tell, talk or act.")] = None
    accepts: Annotated[str | None, Option(help="points, box, mask, scribble, labels, question, turns, examples.")] = (
        None
    )
    modality: Annotated[str | None, Option(help="DICOM's code, such as CT, MR, US, DX, SM.")] = None
    organ: Annotated[str | None, Option(help="What it was made for, such as brain.")] = None
    task: Annotated[str | None, Option(help="Such as segmentation.")] = None
    algorithm: Annotated[str | None, Option(help="As its card says.")] = None
    status: Annotated[str | None, Option(help="open, gated, method or stand-in.")] = None
    json: Annotated[bool, Option("--json", help="As JSON, with whole cards.")] = False


def listing(given: ListOptions, said: Said) -> None:
    """List the systems: what they take, and whose weights are here."""
    from .. import registry
    from ..weights import store

    wanted = {facet: _word(facet, getattr(given, facet)) for facet in registry.FACETS}
    cards = [registry.card(name) for name in registry.names(**wanted)]
    if given.json:
        rows = [{**asdict(card), "weights_here": store.available(card)} for card in cards]
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    elif cards:
        body = [(card.name, card.family, takes(card), _here(store.available(card))) for card in cards]
        typer.echo(table.rows(("system", "family", "takes", "weights here"), body))
    else:
        screen.tell("no system has all of that; `hilum list` alone shows every one.")


def _word(facet: str, value: str | None) -> str | None:
    """The word as cards write it; one that no card can hold is refused, with those that they can."""
    if value is None or facet not in KNOWN:
        return value.upper() if value and facet == "modality" else value
    if value.lower() not in KNOWN[facet]:
        raise BadInput(f"--{facet} {value}: cards say {', '.join(KNOWN[facet])}.")
    return value.lower()


def takes(card: Card) -> str:
    """Prompts, and what it does without one."""
    alone = [] if card.default is None else [f"nothing ({card.default})"]
    return ", ".join([*card.accepts, *alone])


def _here(tags: tuple[str, ...]) -> str:
    return ", ".join(tags) or "-"
