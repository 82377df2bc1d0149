"""The command line that would do what a session did: shown to be copied, with IMAGE for the user's own file."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .sessions import Object, Session

IMAGE = "IMAGE"


def words(session: Session) -> str:
    """`hilum ask SYSTEM IMAGE ...`, with the prompts in the order of the objects; drawn ones as the files to save."""
    said: list[str] = []
    for each in session.step.objects:
        if not any(prompt["kind"] == "labels" for prompt in each.said):
            said += _object(each)
    if session.step.labels is not None:
        said += ["--labels", ", ".join(session.step.labels["names"])]
        for template in session.step.labels.get("templates") or ():
            said += ["--template", template]
    written = ["-o", "mask.nii.gz"] if said and session.step.scores is None else []
    return shlex.join(["hilum", "ask", session.system, IMAGE, *said, *written])


def _object(given: Object) -> Iterator[str]:
    for prompt in given.said:
        yield from _prompt(prompt, given)


def _prompt(prompt: dict[str, Any], given: Object) -> Iterator[str]:
    match prompt["kind"]:
        case "points":
            inside = prompt.get("inside") or [True] * len(prompt["at"])
            for place, within in zip(prompt["at"], inside, strict=False):
                yield from ("--point" if within else "--point-out", f"{given.name}={_place(place)}")
        case "box":
            yield from ("--box", f"{given.name}={_place(prompt['low'])}:{_place(prompt['high'])}")
        case "scribble" | "mask" as kind:
            yield from (f"--{kind}", f"{given.name}={kind}_{given.number}.nii.gz")


def _place(place: list[float]) -> str:
    return ",".join(f"{value:.10g}" for value in place)
