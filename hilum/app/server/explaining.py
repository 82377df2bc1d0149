"""Explanations of a session: made of the look that is kept, stored as maps, shown on planes."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from ...values.errors import BadInput
from ...values.notice import NOTICE
from . import pictures, spoken
from .absent import Absent

if TYPE_CHECKING:
    from ...capabilities.look import Look
    from ...values.explanation import Explanation
    from ...values.image import Image
    from ...values.prompts import Prompt
    from .house import House
    from .jobs import Job
    from .runner import Listening
    from .sessions import Session


async def explain(house: House, job: Job, heard: Listening) -> None:
    """Where the answer comes from: of an object its prompts are shaken, of labels their maps are made."""
    session = house.sessions.get(job.spec["session"])
    image = await house.errand(house.images.get, session.image)
    prompts = _prompts(session, job.spec["object"], image)
    found = await house.with_look(session.system, session.image, lambda look: _explained(look, prompts), heard=heard)
    content, told = await house.errand(_packed, found)
    told |= {"session": session.id, "revision": session.revision, "notice": NOTICE}
    with house.ledger.writing():
        heard.check()
        house.ledger.run("DELETE FROM explanation WHERE session = ?", (session.id,))
        house.ledger.run("INSERT INTO explanation VALUES (?, ?, ?)", (session.id, json.dumps(told), content))
        house.jobs.finish(job.id, told)
    house.audit.note("explanation", session=session.id, system=session.system)


def picture(house: House, session: Session, number: int, axis: int, index: int) -> bytes:
    """Map `number` (from 0) of the last explanation on a plane, RGBA."""
    row = house.ledger.one("SELECT content FROM explanation WHERE session = ?", (session.id,))
    if row is None:
        raise Absent("explanation")
    with np.load(io.BytesIO(row["content"]), allow_pickle=False) as file:
        maps = file["maps"]
    if number >= len(maps):
        raise BadInput(f"the explanation has maps 0 to {len(maps) - 1}, got {number}.")
    image = house.images.get(session.image)
    return pictures.heat(image, np.maximum(maps[number], 0.0), axis, index)


def _prompts(session: Session, number: int | None, image: Image) -> tuple[Prompt, ...]:
    if number is not None:
        found = session.step.numbered(number)
        return spoken.prompts([spoken.ANY.validate_python(each) for each in found.said], image, found.name)
    if session.step.labels is None:
        raise BadInput("nothing was asked by labels in this session: name the object that is to be explained.")
    return spoken.prompts([spoken.ANY.validate_python(session.step.labels)], image)


def _explained(look: Look, prompts: tuple[Prompt, ...]) -> Explanation:
    from ...capabilities.explain import explain as explained

    return explained(look, prompts, look.ask(*prompts))


def _packed(found: Explanation) -> tuple[bytes, dict[str, Any]]:
    from ...io.report import explained

    stream = io.BytesIO()
    np.savez_compressed(stream, maps=found.maps)
    return stream.getvalue(), explained(found)
