"""The columns of a table: those of `hilum ask`'s options, and what a line of cells says in its words."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from ...values.errors import BadInput
from ..ask_options import AskOptions
from ..options import named
from ..words import exists

IMAGE, SYSTEM = "image", "system"
PLACES = ("output", "preview", "explain")  # names in the run's folder
OWN = ("words", "json", "force", "push")  # options that mean nothing line by line
PATHS = ("calibration", "keep-looks")
DRAWN = ("mask", "scribble")
FREE = "#"  # begins the name of a column that is left alone
JOINED = "|"
TRUTHS = {**dict.fromkeys(("yes", "true", "1", "x"), True), **dict.fromkeys(("no", "false", "0"), False)}


@cache
def options() -> dict[str, type]:
    """Options of `hilum ask` that may be columns: name -> list, bool or str."""
    hints = typing.get_type_hints(AskOptions)
    return {name.replace("_", "-"): _kind(hint) for name, hint in hints.items() if name not in OWN}


def _kind(hint: object) -> type:
    inner = [each for each in typing.get_args(hint) if each is not type(None)] or [hint]
    if list in (typing.get_origin(inner[0]), typing.get_origin(hint)):
        return list
    return bool if inner[0] is bool else str


def check(path: Path, columns: Iterable[str]) -> None:
    """Refuses a table with a column that nobody knows; the nearest name is offered."""
    known = (IMAGE, SYSTEM, *options())
    for column in columns:
        name = column.replace("_", "-")
        if name in known or column.startswith(FREE):
            continue
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise BadInput(
            f"{path}, line 1: there is no column {column or 'without a name'}{hint}; wanted {', '.join(known)}, or a "
            f"name that begins with {FREE} for one that is to be left alone."
        )


def words(cells: Mapping[str, str], base: Path) -> tuple[str, ...]:
    """The words of `hilum ask` for a line; files are looked for from the folder of the table."""
    said: list[str] = []
    for name, cell in cells.items():
        if cell and name in options() and name not in PLACES:
            said += _option(name, cell, base)
    system = [_from(base, cells[SYSTEM])] if cells.get(SYSTEM) else []
    return (*said, "--", *system, *(_image(base, image) for image in images(cells)))


def system(cells: Mapping[str, str], base: Path) -> str:
    """The system of a line, or nothing where the best one is to be chosen; what is none is refused."""
    from ... import registry
    from ..words import names_system

    word = _from(base, cells.get(SYSTEM, ""))
    if cells.get(SYSTEM) and not names_system(word):
        registry.find(cells[SYSTEM])  # raises with a near miss
        raise BadInput(f"there are no weights called {cells[SYSTEM]}: hilum card {cells[SYSTEM].partition('.')[0]}.")
    return word if cells.get(SYSTEM) else ""


def images(cells: Mapping[str, str]) -> tuple[str, ...]:
    """The images of a line as the table says them; several are asked about together."""
    return parts(cells[IMAGE])


def parts(cell: str) -> tuple[str, ...]:
    """What | parts, without the spaces around."""
    return tuple(part.strip() for part in cell.split(JOINED) if part.strip())


def _option(name: str, cell: str, base: Path) -> list[str]:
    if options()[name] is bool:
        if cell.casefold() not in TRUTHS:
            raise BadInput(f"{name} is {cell!r}; wanted yes or no, or nothing.")
        return [f"--{name}"] if TRUTHS[cell.casefold()] else []
    if options()[name] is list:
        return [f"--{name}={_said(name, part, base)}" for part in parts(cell)]
    if name in PATHS:
        return [f"--{name}={base / cell}"]
    return [f"--{name}={_from(base, cell) if name == 'over' else cell}"]


def _said(name: str, text: str, base: Path) -> str:
    if name == "labels" and text.endswith(".json"):
        return str(base / text)
    if name not in DRAWN:
        return text
    object_, file = (None, text) if exists(base / text) else named(text, f"{name} {text}")
    return str(base / file) if object_ is None else f"{object_}={base / file}"


def _from(base: Path, text: str) -> str:
    """What is there from the folder of the table as a path; what is not, such as the name of a system, as it is."""
    return str(base / text) if text and exists(base / text) else text


def _image(base: Path, text: str) -> str:
    from ...io.dicomweb_address import is_address

    return text if is_address(text) else str(base / text)
