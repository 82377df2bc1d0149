"""What an agent is told: short, plain, with the sentence that says what an answer is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ...values.notice import NOTICE

if TYPE_CHECKING:
    from ...values.answers import Answer
    from ...values.card import Card
    from ...values.image import Image

Veil = Callable[[str], str]  # takes the names of files out of a sentence

LEFT_OUT = ("schema", "provenance", "image", "vectors")
FACTS = ("size", "channels", "spacing_mm", "orientation", "plane", "modality", "unit", "values", "window")
CARD = ("name", "title", "summary", "citation", "year", "status", "organs", "deviations", "notes")


def answer(found: Answer, veiled: Veil) -> dict[str, Any]:
    """Objects, scores or words, with who answered; vectors are saved, not told."""
    from ...io.report import report

    whole = report(found)
    made = whole["provenance"]
    told = {key: content for key, content in whole.items() if key not in LEFT_OUT}
    by = {key: made[key] for key in ("system", "weights", "backend", "precision")}
    return {**told, "answered_by": by, "notes": [veiled(note) for note in made["notes"]]}


def image(id: str, found: Image, veiled: Veil) -> dict[str, Any]:
    """What a registered image is; places are voxels counted from 0, x, y[, z] in the order of `size`."""
    from ..inspection import facts

    said = facts(found)
    notes = [veiled(note) for note in said["notes"]]
    return {"id": id, **{key: said[key] for key in FACTS if said[key] is not None}, "notes": notes}


def listed(card: Card) -> dict[str, Any]:
    """One line of the list of systems."""
    from ...weights import store

    return {
        "name": card.name,
        "title": card.title,
        "takes": [*card.accepts, *(["nothing"] if card.default else [])],
        "gives": list(card.returns),
        "modalities": list(card.modalities),
        "weights_here": list(store.available(card)),
    }


def described(card: Card) -> dict[str, Any]:
    """What its card says of a system."""
    from dataclasses import asdict

    whole: Mapping[str, Any] = asdict(card)
    weights = [{key: entry[key] for key in ("tag", "licence", "gated", "note")} for entry in whole["weights"]]
    return {**listed(card), **{key: whole[key] for key in CARD if whole[key]}, "weights": weights, "notice": NOTICE}
