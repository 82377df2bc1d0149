"""Which system answers when none is named: the best one that is there for these prompts and this image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import registry
from ..values import progress
from ..values.contract import ANY
from ..values.errors import BadInput, Failed, UnsupportedPrompt
from ..weights import store

if TYPE_CHECKING:
    from ..values.card import Card

SPATIAL = {"points", "box", "mask", "scribble"}
HOUSE = "scout"  # asked first where a place in the image is meant


@dataclass(frozen=True, slots=True)
class Choice:
    """A system's name, and why it was taken."""

    name: str
    reason: str


def refuse(name: str, kinds: Sequence[str]) -> None:
    """Refuses, before anything is loaded, prompts that a system does not take, or none where it wants one."""
    card = registry.card(name)
    for kind in kinds:
        if kind not in card.accepts:
            raise UnsupportedPrompt(card.name, kind.capitalize(), card.accepts)
    if not kinds and card.default is None:
        raise BadInput(f"{card.name} wants a prompt: {', '.join(card.accepts)}.")


def best(kinds: tuple[str, ...], modality: str | None) -> Choice:
    """The system for prompts of these kinds on an image of this modality (None: not stated)."""
    cards = [registry.card(name) for name in registry.names()]
    able = [card for card in cards if takes(card, kinds)]
    fitting = [card for card in able if fits(card, modality)]
    there = [card for card in fitting if store.available(card)]
    if not there:
        raise _nobody(kinds, modality, fitting or able)
    chosen = _usable(sorted(there, key=lambda card: _order(card, kinds, modality)))
    asked = " and ".join(kinds) or "no prompt"
    tag = store.available(chosen)[0]
    place = "in the package" if tag in store.shipped(chosen) else "on this machine"
    meant = f", is meant for {modality}" if modality and modality in chosen.modalities else ""
    return Choice(chosen.name, f"it takes {asked}{meant}, and its weights ({tag}) are {place}")


def takes(card: Card, kinds: tuple[str, ...]) -> bool:
    """Whether a system takes all these prompts; without any, whether it answers unasked."""
    return set(kinds) <= set(card.accepts) if kinds else card.default is not None


def fits(card: Card, modality: str | None) -> bool:
    """Whether a card names the image's modality, or any; an image that does not say fits all."""
    return modality is None or ANY in card.modalities or modality in card.modalities


def _usable(cards: list[Card]) -> Card:
    """The first one, passing by plug-ins whose module is broken; the doctor says more about these."""
    for card in cards:
        entry = registry.find(card.name)
        try:
            if entry.package:
                entry.system_class()
            return card
        except Failed as error:
            progress.say(f"{card.name} is passed by: {error}.")
    raise Failed("no system that could answer can be used, as told above; hilum doctor says what mends them.")


def _order(card: Card, kinds: tuple[str, ...], modality: str | None) -> tuple[bool, bool, bool, bool, str]:
    """What comes first: the house's own for places in an image, then who names the modality, then shipped, then what
    is no plug-in, then A-Z."""
    own = card.name == HOUSE and bool(set(kinds) & SPATIAL)
    added = bool(registry.find(card.name).package)
    return not own, modality not in card.modalities, not store.shipped(card), added, card.name


def _nobody(kinds: tuple[str, ...], modality: str | None, able: list[Card]) -> BadInput | Failed:
    asked = " and ".join(kinds) or "no prompt"
    if not able:
        return BadInput(f"no system here takes {asked}; `hilum list` shows what each takes.")
    if not any(fits(card, modality) for card in able):
        names = ", ".join(f"{card.name} ({', '.join(card.modalities)})" for card in able)
        return BadInput(f"no system that takes {asked} is meant for {modality}: {names}.")
    tags = [f"{card.name}.{card.weights[0].tag}" for card in able if card.weights]
    pull = f": hilum weights pull {tags[0]}" if tags else ""
    return Failed(f"{', '.join(card.name for card in able)} would take {asked}, but no weights of them are here{pull}.")
