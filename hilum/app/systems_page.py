"""The page of all systems, written from their cards: `python -m hilum.app.systems_page > docs/systems.md`."""

from __future__ import annotations

from .. import registry
from ..values.card import FAMILIES, Card
from .listing import takes

HEAD = """# The systems

Written from their cards by `python -m hilum.app.systems_page`; a test holds the page against them. *Proven by*: the
public file's layout (names and shapes), a kit (numbers of the upstream code at a tiny size), or the published file
itself (*real weights*). No published file could be fetched where hilum is built. *Research use only, not a medical
device.*
"""
STATUS = {
    "open": "weights are public",
    "gated": "weights after the publisher's form",
    "method": "a method; no public weights",
    "stand-in": "a named open model in the place of a closed one",
}


def page() -> str:
    """Markdown, family by family; plug-ins have pages of their own."""
    cards = [registry.card(name) for name in registry.names() if name not in registry.installed()]
    parts = [_family(family, [card for card in cards if card.family == family]) for family in FAMILIES]
    return "\n".join([HEAD, *filter(None, parts)])


def _family(family: str, cards: list[Card]) -> str:
    if not cards:
        return ""
    ordered = sorted(cards, key=lambda card: card.row or 0)
    return "\n".join([f"## {family}\n", *(_system(card) for card in ordered)])


def _system(card: Card) -> str:
    row = "" if card.row is None else f"Row {card.row} of the survey. "
    files = "; ".join(f"`{entry.tag}`: {entry.file}, {entry.licence}" for entry in card.weights) or "none"
    house = "its own table of measurements" if card.family == "house" else "tests of its properties alone"
    proof = ", ".join(card.proof) or house
    lines = [
        f"### {card.name}: {card.title} ({card.year})",
        f"{card.summary} *{card.citation}*",
        f"- {row}{card.algorithm[:1].upper()}{card.algorithm[1:]}. {STATUS[card.status].capitalize()}.",
        f"- Takes {takes(card)}; returns {', '.join(card.returns)}; proven by {proof}.",
        f"- Weights: {files}.",
        *(f"- Deviation: {sentence}" for sentence in card.deviations),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    import sys

    sys.stdout.write(page())
