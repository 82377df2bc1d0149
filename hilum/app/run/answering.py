"""What a worker does with an item: read, look, ask, write. The last system and look are kept for the next item."""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import dataclass
from functools import singledispatch
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ...values.answers import Reply, Scores
from ...values.errors import Failed, HilumError
from .folder import LOCK
from .item import Item, Outcome
from .record import digest

if TYPE_CHECKING:
    from ...capabilities.look import Look
    from ...capabilities.system import System
    from ...values.image import Image
    from ..ask import Answered, Target
    from ..asked import Asked


@dataclass(frozen=True, slots=True)
class Setting:
    """What a worker is told before its first item. As many threads in each make the same answer, to the last bit."""

    folder: str
    threads: int = 1


class Hand(Protocol):
    """Does items, one after the other."""

    def do(self, item: Item) -> Outcome:
        """What came of it; it never raises."""


def hire(setting: Setting) -> Hand:
    """A hand that asks systems; it must see the folder of the run. Nothing heavy is imported before."""
    folder = Path(setting.folder)
    if not (folder / LOCK).is_file():
        raise Failed(f"the worker does not see {folder}: workers on other machines want a folder that all share.")
    os.environ["OMP_NUM_THREADS"] = os.environ["HILUM_THREADS"] = str(setting.threads)
    warnings.simplefilter("ignore")
    return Answering(folder, setting.threads)


class Answering:
    """The hand of a run: systems are asked, and their answers written to its folder."""

    def __init__(self, folder: Path, threads: int):
        import torch

        torch.set_num_threads(threads)
        self._folder = folder
        self._system: tuple[tuple[object, ...], System] | None = None
        self._images: tuple[str, list[Image]] | None = None
        self._look: tuple[tuple[object, ...], Look] | None = None

    def do(self, item: Item) -> Outcome:
        """The answer in files; what goes wrong is a sentence of the outcome."""
        from ..outcome import sentence, unexpected

        try:
            return self._done(item)
        except HilumError as error:
            return Outcome(why=sentence(error).replace(f"{item.base}/", ""))
        except Exception as error:  # whatever it is, the other items are done
            return Outcome(why=unexpected(error))

    def _done(self, item: Item) -> Outcome:
        from .. import ask

        asked = item.asked()
        target = self._target(item, asked)
        images = self._read(item, asked)
        name = ask.answering(asked, images[0])
        ask.refuse_target(name, target, images[0], force=True)
        system = self._loaded(name, asked)
        wanted = ask.query(asked, target, system, images)
        found = ask.answered(self._looked(item, asked, images), wanted, target, force=True)
        self._report(item, found)
        files = {name: digest(self._folder / name) for name in item.files}
        provenance = found.answer.provenance
        return Outcome(files, provenance.weights, brief(found.answer), provenance.notes)

    def _target(self, item: Item, asked: Asked) -> Target:
        from ..ask import Target

        for name in item.files:
            (self._folder / name).parent.mkdir(parents=True, exist_ok=True)
        places = (None if name is None else self._folder / name for name in (item.output, item.preview, item.explain))
        return Target(asked.words.images, *places)

    def _read(self, item: Item, asked: Asked) -> list[Image]:
        from ..ask import read_image

        if self._images is None or self._images[0] != item.group:
            self._images = self._look = None  # room for the next
            self._images = item.group, [read_image(asked, path) for path in asked.words.images]
        return self._images[1]

    def _loaded(self, name: str, asked: Asked) -> System:
        from ..ask import loaded

        given = asked.options
        key = name, given.over, given.device, given.backend, given.max_memory
        if self._system is None or self._system[0] != key:
            self._system = self._look = None
            self._system = key, loaded(name, asked)
        return self._system[1]

    def _looked(self, item: Item, asked: Asked, images: list[Image]) -> Look:
        assert self._system is not None
        key = item.group, self._system[0], asked.options.keep_looks
        if self._look is None or self._look[0] != key:
            self._look = key, self._system[1].look(*images, keep=asked.options.keep_looks)
        return self._look[1]

    def _report(self, item: Item, found: Answered) -> None:
        from ...io.atomic import replacing
        from ...io.report import report
        from .. import explaining

        written = [name for name in (item.output, item.preview, item.explain) if name is not None]
        files = {"image": list(item.images), "written": written}
        whole = {**report(found.answer), **explaining.reported(found.explanation), **files}
        with replacing(self._folder / item.report, force=True) as temporary:
            text = json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False)
            temporary.write_text(text + "\n", encoding="utf-8")


@singledispatch
def brief(answer: Any) -> str:
    """An answer in one line, for the summary."""
    from ..results import line

    return line(answer, Path("x")).removeprefix("x: ")


@brief.register
def _(answer: Scores) -> str:
    what, values = ("softmax", answer.softmax) if answer.probability is None else ("probability", answer.probability)
    return f"{what} " + ", ".join(f"{name} {value:.3f}" for name, value in zip(answer.names, values, strict=True))


@brief.register
def _(answer: Reply) -> str:
    return " ".join(answer.text.split())
