"""The answer of a session as one value: the masks of all its objects on the image's grid, ready to be written."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np

from ...values.answers import Segmentation
from ...values.errors import BadInput
from ...values.provenance import Provenance
from .packed import unpack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...values.image import Image
    from .house import House
    from .sessions import Object, Session


def segmentation(house: House, session: Session, numbers: Sequence[int] | None = None) -> Segmentation:
    """All objects of a session, or those of these numbers, as one answer; its provenance is that of all of them."""
    chosen = [each for each in session.step.objects if numbers is None or each.number in numbers]
    drawn = [each for each in chosen if each.answer is not None]
    if not drawn:
        raise BadInput("there is no object in this session yet: say a box, a click or a scribble first.")
    image = house.images.get(session.image)
    packed = house.sessions.answers([cast(int, each.answer) for each in drawn])
    answers = {number: cast(Segmentation, unpack(content, image)) for number, content in packed.items()}
    return joined(drawn, answers, image)


def joined(objects: Sequence[Object], answers: dict[int, Segmentation], image: Image) -> Segmentation:
    """One answer of several, each object with its row of its own answer."""
    found = [(each, answers[cast(int, each.answer)]) for each in objects]
    unsure = [answer.uncertainty[each.row] for each, answer in found if answer.uncertainty is not None]
    return Segmentation(
        masks=np.stack([answer.masks[each.row] for each, answer in found]),
        names=tuple(each.name for each in objects),
        scores=tuple(answer.scores[each.row] for each, answer in found),
        image=image,
        provenance=_provenance([answer.provenance for answer in answers.values()]),
        uncertainty=np.stack(unsure) if len(unsure) == len(found) else None,
    )


def _provenance(made: list[Provenance]) -> Provenance:
    whole = replace(made[0], prompts=tuple(prompt for each in made for prompt in each.prompts))
    return whole.noted(*(note for each in made for note in each.notes))
