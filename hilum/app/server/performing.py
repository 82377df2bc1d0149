"""How each kind of job is done: what it computes, and the one transaction that writes its effect and its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...values.errors import BadInput
from . import spoken, viewed
from .absent import Moved
from .explaining import explain
from .jobs import Job
from .packed import pack
from .runner import Listening, Perform
from .sessions import Object, Session, Step

if TYPE_CHECKING:
    from ...values.answers import Answer, Segmentation
    from .house import House

Change = Callable[[Session], Step | None]


def performers(house: House) -> dict[str, Perform]:
    """What does a job of each kind."""

    def bound(function: Callable[[House, Job, Listening], Any]) -> Perform:
        return lambda job, heard: function(house, job, heard)

    kinds = {"say": _say, "labels": _labels, "all": _labels, "undo": _undo, "redo": _redo, "explain": explain}
    return {kind: bound(function) for kind, function in {**kinds, "drop": _drop, "name": _name, "look": _look}.items()}


async def _say(house: House, job: Job, heard: Listening) -> None:
    """Prompts about one object: its mask anew, from all that was said of it."""
    spec, session = job.spec, _session(house, job)
    before = session.step.named(spec["object"]) or session.step.fresh(spec["object"])
    caps = house.settings.caps
    if before.number > caps.objects:
        raise BadInput(f"a session holds at most {caps.objects} objects: drop one, or begin another session.")
    said = (*(before.said if spec["mode"] == "add" else ()), *spec["prompts"])
    if len(said) > caps.prompts:
        raise BadInput(f"at most {caps.prompts} prompts are said of one object.")
    image = await house.errand(house.images.get, session.image)
    prompts = await house.errand(_prompts, said, image, before.name)
    answer = await house.ask(session.system, session.image, *prompts, heard=heard)
    content, told = await house.errand(_packed, answer)

    def change(now: Session) -> Step:
        number = house.sessions.keep_answer(now.id, content)
        drawn = replace(before, said=said, answer=number, row=0, told=told["objects"][0])
        return replace(now.step, made=told["provenance"]).put(drawn)

    _commit(house, job, heard, change)
    _noted(house, session, answer, content)


async def _labels(house: House, job: Job, heard: Listening) -> None:
    """Labels, or nothing at all: scores of the image, or masks of what has these names."""
    session, said = _session(house, job), job.spec.get("labels")
    image = await house.errand(house.images.get, session.image)
    prompts = spoken.prompts([] if said is None else [spoken.ANY.validate_python(said)], image)
    answer = await house.ask(session.system, session.image, *prompts, heard=heard)
    content, told = await house.errand(_packed, answer)

    def change(now: Session) -> Step:
        step = replace(now.step, labels=said, made=told["provenance"])
        if told["kind"] != "segmentation":
            return replace(step, scores=told)
        number = house.sessions.keep_answer(now.id, content)
        for row, each in enumerate(told["objects"]):
            known = step.named(each["name"]) or step.fresh(each["name"])
            step = step.put(replace(known, said=() if said is None else (said,), answer=number, row=row, told=each))
        return step

    _commit(house, job, heard, change)
    _noted(house, session, answer, content)


async def _undo(house: House, job: Job, heard: Listening) -> None:
    _moved(house, job, heard, -1)


async def _redo(house: House, job: Job, heard: Listening) -> None:
    _moved(house, job, heard, 1)


def _moved(house: House, job: Job, heard: Listening, by: int) -> None:
    session = _session(house, job)
    with house.ledger.writing():
        heard.check()
        house.jobs.finish(job.id, viewed.session(house.sessions.move(session.id, by)))


async def _drop(house: House, job: Job, heard: Listening) -> None:
    """An object is taken out; that can be undone."""
    _session(house, job)
    _commit(house, job, heard, lambda now: now.step.without(job.spec["number"]))


async def _name(house: House, job: Job, heard: Listening) -> None:
    """An object gets another name or colour."""
    _session(house, job)

    def change(now: Session) -> Step:
        found = now.step.numbered(job.spec["number"])
        name, colour = job.spec.get("name") or found.name, job.spec.get("colour") or found.colour
        other = now.step.named(name)
        if other is not None and other.number != found.number:
            raise BadInput(f"another object of this session is called {name} already.")
        return now.step.put(_renamed(found, name, colour))

    _commit(house, job, heard, change)


def _renamed(found: Object, name: str, colour: str) -> Object:
    return replace(found, name=name, colour=colour, told={**found.told, "name": name} if found.told else {})


async def _look(house: House, job: Job, heard: Listening) -> None:
    """The costly pass, paid for before the first prompt: of all planes of a volume too."""
    from .ahead import look_at_all

    count = await house.with_look(job.spec["system"], job.spec["image"], look_at_all, heard=heard)
    with house.ledger.writing():
        heard.check()
        house.jobs.finish(job.id, {"image": job.spec["image"], "system": job.spec["system"], "planes": count})


def _session(house: House, job: Job) -> Session:
    session = house.sessions.get(job.spec["session"])
    wanted = job.spec.get("revision")
    if wanted is not None and wanted != session.revision:
        raise Moved(f"the session is at revision {session.revision}, the request was made at {wanted}: read it again.")
    return session


def _commit(house: House, job: Job, heard: Listening, change: Change) -> None:
    """The change of the session and the end of the job, both or neither."""
    with house.ledger.writing():
        heard.check()
        now = house.sessions.get(job.spec["session"])
        step = change(now)
        session = now if step is None else house.sessions.advance(now.id, step)
        house.jobs.finish(job.id, viewed.session(session))


def _prompts(said: tuple[dict[str, Any], ...], image: Any, name: str) -> Any:
    return spoken.prompts([spoken.ANY.validate_python(each) for each in said], image, name)


def _packed(answer: Answer) -> tuple[bytes, dict[str, Any]]:
    return pack(answer), viewed.answer(answer)


def _noted(house: House, session: Session, answer: Answer | Segmentation, content: bytes) -> None:
    import hashlib

    made = answer.provenance
    house.audit.note(
        "answer",
        session=session.id,
        image_sha256=made.source_sha256,
        system=made.system,
        weights=made.weights,
        weights_sha256=made.weights_sha256,
        version=made.version,
        prompts=[each["kind"] for each in made.prompts],
        answer_sha256=hashlib.sha256(content).hexdigest(),
    )
