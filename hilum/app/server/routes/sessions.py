"""Sessions: prompts in, masks out; undo, redo, names, colours; what stands, and the command line that would do it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Path, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from ....values.errors import UnsupportedPrompt
from .. import viewed
from ..house import House, house_of
from ..problems import RESPONSES, answered
from ..sessions import Object
from ..spoken import LabelsSaid, SpatialSaid
from .jobs import Wait
from .jobs import viewed as job_viewed

Here = Annotated[House, Depends(house_of)]
Id = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
Number = Annotated[int, Path(ge=1, le=10**6)]
Key = Annotated[str | None, Header(max_length=200, description="the same key twice is one request")]
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]
Colour = Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$")]
LATER: dict[int | str, dict[str, Any]] = {202: {"description": "not done within `wait`: the job"}, **RESPONSES}

if TYPE_CHECKING:
    from ....values.card import Card

router = APIRouter(prefix="/api/sessions", tags=["sessions"], responses=LATER)


class Asked(BaseModel):
    """Requests know no other fields than their own."""

    model_config = ConfigDict(extra="forbid")


class Begun(Asked):
    """Which system about which image; `like` takes over what was said in another session about the same image."""

    image: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    system: Annotated[str, Field(min_length=1, max_length=200)]
    like: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] | None = None


class Changing(Asked):
    """`revision` is the one that the client saw: if the session has moved on since, nothing is done (409)."""

    revision: Annotated[int, Field(ge=0)] | None = None


class Saying(Changing):
    """Prompts about one object, added to what was said of it, or (`replace`) instead of it."""

    object: Name = "object"
    prompts: Annotated[list[SpatialSaid], Field(min_length=1, max_length=1000)]
    mode: Literal["add", "replace"] = "add"


class Labelling(Changing):
    """Labels; none where the system answers unasked."""

    labels: LabelsSaid | None = None


class Explaining(Asked):
    """The number of the object whose prompts are explained; none for the labels."""

    object: Annotated[int, Field(ge=1, le=10**6)] | None = None


class Naming(Changing):
    """Another name or colour of an object."""

    name: Name | None = None
    colour: Colour | None = None


@router.post("", status_code=201)
async def begin(begun: Begun, house: Here) -> dict[str, Any]:
    """A session about an image. With `like`, each object is asked for anew, by this system."""
    card = house.systems.card(begun.system)
    like = None if begun.like is None else house.sessions.get(begun.like)
    session = house.sessions.begin(begun.image, begun.system)
    again = () if like is None or like.image != begun.image else like.step.objects
    jobs = [job for each in again if (job := _again(house, session.id, each, card)) is not None]
    return {**viewed.session(house.sessions.get(session.id)), "jobs": jobs}


def _again(house: House, session: str, said: Object, card: Card) -> str | None:
    """The job that asks anew for an object, with the prompts that this system takes; None if it takes none of them."""
    spatial = [each for each in said.said if each["kind"] != "labels" and each["kind"] in card.accepts]
    if not spatial:
        return None
    spec = {"session": session, "object": said.name, "prompts": spatial, "mode": "replace", "revision": None}
    return house.runner.add("say", session, spec).id


@router.get("")
async def sessions(house: Here) -> dict[str, Any]:
    """The ids of all sessions."""
    return {"sessions": house.sessions.ids()}


@router.get("/{id}")
async def session(id: Id, house: Here) -> dict[str, Any]:
    """A session where it stands."""
    return viewed.session(house.sessions.get(id))


@router.delete("/{id}", status_code=204)
async def end(id: Id, house: Here) -> Response:
    """Forgets a session; its image stays."""
    house.sessions.end(id)
    house.audit.note("session ended", session=id)
    return Response(status_code=204)


@router.post("/{id}/prompts")
async def say(id: Id, saying: Saying, house: Here, wait: Wait = 60.0, idempotency_key: Key = None) -> Response:
    """Says prompts and waits for the mask. Requests of one session are answered in the order in which they came."""
    session = house.sessions.get(id)
    card = house.systems.card(session.system)
    for prompt in saying.prompts:
        if prompt.kind not in card.accepts:
            raise UnsupportedPrompt(card.name, prompt.kind.capitalize(), card.accepts)
    spec = saying.model_dump(mode="json", exclude_defaults=True)
    spec |= {"object": saying.object, "mode": saying.mode, "revision": saying.revision}
    spec["prompts"] = [each.model_dump(mode="json", exclude_none=True) for each in saying.prompts]
    return await done(house, "say", id, spec, wait, idempotency_key)


@router.post("/{id}/labels")
async def label(id: Id, labelling: Labelling, house: Here, wait: Wait = 60.0, idempotency_key: Key = None) -> Response:
    """Asks for labels: scores of the image, or masks of what has these names; without any, for all the system gives."""
    session = house.sessions.get(id)
    card = house.systems.card(session.system)
    if labelling.labels is not None and "labels" not in card.accepts:
        raise UnsupportedPrompt(card.name, "Labels", card.accepts)
    said = None if labelling.labels is None else labelling.labels.model_dump(mode="json")
    return await done(house, "labels", id, {"labels": said, "revision": labelling.revision}, wait, idempotency_key)


@router.post("/{id}/undo")
async def undo(id: Id, house: Here, wait: Wait = 60.0, idempotency_key: Key = None) -> Response:
    """Goes one step back."""
    return await done(house, "undo", id, {}, wait, idempotency_key)


@router.post("/{id}/redo")
async def redo(id: Id, house: Here, wait: Wait = 60.0, idempotency_key: Key = None) -> Response:
    """Goes one step forward again."""
    return await done(house, "redo", id, {}, wait, idempotency_key)


@router.post("/{id}/explanation")
async def explain(
    id: Id, explaining: Explaining, house: Here, wait: Wait = 60.0, idempotency_key: Key = None
) -> Response:
    """Where an answer comes from: maps in the order of the names, to be had as layers of planes."""
    return await done(house, "explain", id, explaining.model_dump(), wait, idempotency_key)


@router.patch("/{id}/objects/{number}")
async def name(id: Id, number: Number, naming: Naming, house: Here, wait: Wait = 60.0) -> Response:
    """Gives an object another name or colour."""
    return await done(house, "name", id, {"number": number, **naming.model_dump()}, wait)


@router.delete("/{id}/objects/{number}")
async def drop(id: Id, number: Number, house: Here, wait: Wait = 60.0) -> Response:
    """Takes an object out; undo brings it back."""
    return await done(house, "drop", id, {"number": number}, wait)


async def done(
    house: House, kind: str, session: str, spec: dict[str, Any], wait: float, key: str | None = None
) -> Response:
    """The session after the job; the job itself (202) if it takes longer than `wait`; the problem if it failed."""
    house.sessions.get(session)
    job = house.runner.add(kind, session, {"session": session, **spec}, key)
    job = await house.runner.ended(job.id, wait)
    if job.problem is not None:
        return answered(job.problem)
    if job.state == "done":
        return JSONResponse({**(job.result or {}), "job": job.id})
    return JSONResponse(job_viewed(house, job), 202, headers={"Location": f"/api/jobs/{job.id}"})
