"""The one `ask`: which capability answers is decided by the last prompt, from one table."""

from __future__ import annotations

from ..values.answers import Answer
from ..values.card import Card
from ..values.errors import BadInput, UnsupportedPrompt
from ..values.prompts import Prompt, kind
from . import embed, match, segment
from .look import Ask, Look

VERBS = {
    "points": "segment",
    "box": "segment",
    "mask": "segment",
    "scribble": "segment",
    "labels": "match",
    "question": "tell",
    "turns": "talk",
}
ANSWERS: dict[str, Ask] = {
    "segment": segment.segment,
    "embed": embed.embed,
    "match": match.match,
}  # verb -> what answers; tell and talk come with their first systems
AHEAD = {"segment": segment.look_ahead}  # what can be paid for before the first prompt


def answer(look: Look, prompts: tuple[Prompt, ...]) -> Answer:
    """The answer to the prompts on a look; refuses what the card does not take."""
    card = look.system.card
    for prompt in prompts:
        if kind(prompt) not in card.accepts:
            raise UnsupportedPrompt(card.name, type(prompt).__name__, card.accepts)
    verb = _verb(card, prompts)
    if verb not in ANSWERS:
        raise BadInput(f"{card.name} answers by {verb}, which this version of hilum does not know yet")
    return ANSWERS[verb](look, prompts)


def ahead(look: Look) -> None:
    """Pays now for what every prompt will need."""
    for verb in look.system.card.capabilities:
        if verb in AHEAD:
            AHEAD[verb](look)


def _verb(card: Card, prompts: tuple[Prompt, ...]) -> str:
    if not prompts:
        if card.default is None:
            raise BadInput(f"{card.name} wants a prompt: {', '.join(card.accepts)}")
        return card.default
    verb = VERBS[kind(prompts[-1])]
    return verb if verb in card.capabilities else "segment"
