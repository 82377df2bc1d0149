"""What is told of sessions, answers and images: plain types, with the command line that would do the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...values.notice import NOTICE
from . import command_line

if TYPE_CHECKING:
    from ...values.answers import Answer
    from .images import Registered
    from .sessions import Object, Session

MARK = "model output"


def answer(given: Answer) -> dict[str, Any]:
    """An answer's report, as `hilum ask --json` writes it, with sizes in words for a person."""
    from ...io.report import report
    from ...io.words import size_words
    from ...values.answers import Segmentation

    told = report(given)
    if isinstance(given, Segmentation):
        for each, size in zip(told["objects"], size_words(given), strict=True):
            each["size"] = size
    return told


def session(given: Session) -> dict[str, Any]:
    """A session where it stands."""
    step = given.step
    return {
        "id": given.id,
        "image": given.image,
        "system": given.system,
        "revision": given.revision,
        "undo": given.undo,
        "redo": given.redo,
        "expires": given.expires,
        "objects": [_object(each) for each in step.objects],
        "labels": step.labels,
        "scores": step.scores,
        "provenance": step.made,
        "command": command_line.words(given),
        "mark": MARK,
        "notice": NOTICE,
    }


def _object(given: Object) -> dict[str, Any]:
    return {
        **given.told,
        "number": given.number,
        "name": given.name,
        "colour": given.colour,
        "prompts": [_brief(each) for each in given.said],
    }


def _brief(said: dict[str, Any]) -> dict[str, Any]:
    """A prompt as it was said; of what was drawn only that it was."""
    return said if said["kind"] in ("points", "box", "labels") else {"kind": said["kind"]}


def image(given: Registered) -> dict[str, Any]:
    """An image that is registered; nothing in it names a patient or a file."""
    return {"id": given.id, "expires": given.expires, "notice": NOTICE, **given.facts}
