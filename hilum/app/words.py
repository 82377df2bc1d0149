"""How the words of `hilum ask` are read: a system first, if the first word is one, then files, then a question."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from .. import registry
from ..io.dicomweb_address import Address, is_address, parsed
from ..values.errors import BadInput
from ..weights.adapter import is_adapter

Place = Path | Address  # of an image: here, or on a DICOMweb server


@dataclass(frozen=True, slots=True)
class Words:
    """What the words meant: the system (None: choose one), the images, the question."""

    system: str | None
    images: tuple[Place, ...]
    question: str | None


def read(words: list[str], question: str | None = None) -> Words:
    """Sort the words; `question` is what `-q` gave. What is neither system, file nor question is refused."""
    rest = list(words)
    system = rest.pop(0) if rest and names_system(rest[0]) else None
    if question is None and rest and _is_question(rest[-1]):
        question = rest.pop()
    images = tuple(place(word, first=word is words[0]) for word in rest)
    if not images:
        raise BadInput("hilum ask wants an image: hilum ask [SYSTEM] IMAGE --box x,y:x,y (see hilum ask --help).")
    return Words(system, images, question)


def names_system(word: str) -> bool:
    """Whether a word is a registered name or tag, or a folder that holds an adapter."""
    return registry.knows(word) or (not word.startswith(".") and is_adapter(Path(word)))


def _is_question(word: str) -> bool:
    return " " in word.strip() and not exists(Path(word))


def place(word: str, *, first: bool = False) -> Place:
    """Where an image is: a file or folder that is there, or an address, which is not tried yet."""
    return parsed(word) if is_address(word) else existing(word, first=first)


def existing(word: str, *, first: bool = False) -> Path:
    """The path that a word names; a near miss in the same folder, or among the systems, is offered."""
    path = Path(word)
    if word and exists(path):
        return path
    if is_address(word):
        raise BadInput("a dicomweb:// address is read by hilum ask, inspect and compare; here a file is wanted.")
    _stray(word)
    near = difflib.get_close_matches(path.name, _neighbours(path), n=1)
    offered = str(path.parent / near[0]) if near else ""
    if not near and first:
        near = difflib.get_close_matches(word.partition(".")[0], registry.names(), n=1)
        offered = near[0] if near else ""
    hint = f" (did you mean {offered}?)" if offered else ""
    raise BadInput(f"no such file: {word}{hint}")


def exists(path: Path) -> bool:
    """Whether there is such a file or folder; a word too long or too odd for a name is none."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _neighbours(path: Path) -> list[str]:
    try:
        return [other.name for other in path.parent.iterdir()]
    except (OSError, ValueError):
        return []


def _stray(word: str) -> None:
    """A word of numbers is a prompt that was torn apart by a space."""
    if word.strip() and set(word) <= set("0123456789.,:+-"):
        raise BadInput(
            f"no such file: {word}; if it belongs to a box or point, write the numbers without spaces between them."
        )
