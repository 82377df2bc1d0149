"""Where an agent's questions are answered: looks and answers are kept under ids; a system is a name, never a path."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...values.answers import Segmentation
from ...values.errors import BadInput
from .kept import Kept
from .shelf import Shelf

if TYPE_CHECKING:
    from ...capabilities.look import Look
    from ...capabilities.system import System
    from ...values.answers import Answer
    from ...values.prompts import Prompt

LOOKS, ANSWERS = 2 << 30, 1 << 30  # bytes that are kept of each
SAVED = re.compile(r"answer-(\d+)\.")


class Desk:
    """One question at a time, whoever asks."""

    def __init__(self, shelf: Shelf, folder: Path | None, *, device: str = "auto", backend: str = "auto"):
        self.shelf, self.folder, self.device, self.backend = shelf, folder, device, backend
        if folder is not None:
            shelf.hide(folder, "the user's folder")
        self._looks: Kept[Look] = Kept(LOOKS, lambda look: look.bytes)
        self._answers: Kept[Answer] = Kept(ANSWERS, _bytes)
        self._systems: dict[str, System] = {}
        self._turn = threading.Lock()
        self._count = max((int(found[1]) for found in map(SAVED.match, _listed(folder)) if found), default=0)

    def ask(self, image: str, said: Sequence[tuple[str, Prompt]], system: str | None) -> tuple[str, Answer]:
        """The answer, and the id under which it is kept."""
        kinds = tuple(dict.fromkeys(kind for kind, _ in said))
        with self._turn:
            name = self._named(system, kinds, self.shelf.image(image).source.modality)
            look = self._looks.get(f"{name} {image}")
            if look is None:
                look = self._system(name).look(self.shelf.image(image))
                self._looks.put(f"{name} {image}", look)
            answer = look.ask(*(prompt for _, prompt in said))
            self._looks.settle()
            self._count += 1
            id = f"answer-{self._count}"
            self._answers.put(id, answer)
        return id, answer

    def answer(self, id: str) -> Answer:
        """The answer of an id."""
        found = self._answers.get(id)
        if found is None:
            raise BadInput(f"there is no answer {id[:40]!r} any more, or never was: ask again.")
        return found

    def save(self, id: str, suffix: str) -> str:
        """Writes the answer into the user's folder; the name of the file, which is made of the id."""
        from ...io.write import write

        if self.folder is None:
            raise BadInput("nothing can be saved: the user started hilum mcp without -o FOLDER.")
        with self._turn:
            target = self.folder / f"{id}.{suffix}"
            if target.exists():
                raise BadInput(f"{target.name} is there already and is left as it is.")
            return write(self.answer(id), target).name

    def _named(self, system: str | None, kinds: tuple[str, ...], modality: str | None) -> str:
        """A registered system that takes these prompts: the one that is named, or the best that is here."""
        from ... import registry
        from ..choose import best, refuse

        if system is None:
            return best(kinds, modality).name
        if not registry.knows(system):
            raise BadInput(f"no system is called {system[:40]!r}: list_systems names all.")
        refuse(system, kinds)
        return system

    def _system(self, name: str) -> System:
        from ... import registry
        from ..cost import refuse

        if name not in self._systems:
            registry.weights_of(name)
            refuse(name, self.backend, None)
            self._systems[name] = registry.load(name, device=self.device, backend=self.backend)
        return self._systems[name]


def _listed(folder: Path | None) -> list[str]:
    return [] if folder is None else [path.name for path in folder.iterdir()]


def _bytes(answer: Any) -> int:
    if not isinstance(answer, Segmentation):
        return 1 << 16
    return answer.masks.nbytes + (0 if answer.uncertainty is None else answer.uncertainty.nbytes)
