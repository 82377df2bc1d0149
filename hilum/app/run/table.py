"""The table as items, read and checked in full before anything is begun: every bad line is told in a sentence."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from ...io import csv_table
from ...values import progress
from ...values.errors import BadInput
from .. import screen
from ..words import Address, Place, place
from . import columns, naming
from .item import Item

if TYPE_CHECKING:
    from ..asked import Asked

SHOWN = 20  # bad lines that are told


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the table: its number, its cells by column, and the folder that its paths are from."""

    number: int
    cells: Mapping[str, str]
    base: Path


def items(path: Path, standing: Mapping[str, str]) -> tuple[Item, ...]:
    """The items in the order of the table; `standing` is said of every line whose own cell is empty."""
    lines = _lines(path, standing)
    if not lines:
        raise BadInput(f"{path}, line 2: wanted a line for each image, and there is none.")
    columns.check(path, lines[0].cells)
    made: list[Item] = []
    wrong: list[str] = []
    taken: dict[str, int] = {}
    for line in progress.track(lines, "lines checked"):
        try:
            made.append(naming.free(_item(line, taken), taken))
        except BadInput as error:
            wrong.append(f"{path}, line {line.number}: {_sentence(error, line)}")
    if wrong:
        raise _refusal(path, wrong, len(lines))
    return tuple(made)


def _lines(path: Path, standing: Mapping[str, str]) -> list[Line]:
    found = []
    for number, cells in csv_table.rows(path, columns.IMAGE):
        if any(cells.values()):
            spelled = {name.replace("_", "-"): cell for name, cell in cells.items()}
            said = {name: text for name, text in standing.items() if text and not spelled.get(name)}
            found.append(Line(number, {**spelled, **said}, path.parent.absolute()))
    return found


def _sentence(error: BadInput, line: Line) -> str:
    """The sentence, with paths as the table has them."""
    from ..outcome import sentence

    return sentence(error).replace(f"{line.base}/", "")


def _refusal(path: Path, wrong: list[str], count: int) -> BadInput:
    if len(wrong) == 1:
        return BadInput(f"{wrong[0]} Nothing was begun.")
    for sentence in wrong[:SHOWN]:
        screen.tell(sentence)
    more = f" (the first {SHOWN} are)" if len(wrong) > SHOWN else ""
    return BadInput(f"{len(wrong)} of {count} lines of {path} are wrong, as told above{more}. Nothing was begun.")


def _item(line: Line, taken: Mapping[str, int]) -> Item:
    """The item of a line, once all is known to be right that can be known without reading the image."""
    cells = {name: cell for name, cell in line.cells.items() if not name.startswith(columns.FREE)}
    images, system = columns.images(cells), columns.system(cells, line.base)
    if not images:
        raise BadInput("wanted an image, and the cell is empty.")
    words = columns.words(cells, line.base)
    places = [place(word) for word in words[-len(images) :]]
    output, preview, explain = naming.places(cells)
    given = Item(line.number, "", images, words, output, preview, explain, str(line.base))
    asked = given.asked()
    _answerable(asked)
    item = naming.named(given, asked, taken)
    naming.check(item, asked)
    stamps = [_stamp(each) for each in places]
    depends = [sorted(cells.items()), item.files, stamps, [_stamp(each) for each in _files(asked)], _weights(asked)]
    return replace(item, key=_digest([*depends, version("hilum")]), group=_digest([system, images, asked.reading()]))


def _answerable(asked: Asked) -> None:
    from ..ask import together

    if len(asked.words.images) > 1 and not together(asked):
        raise BadInput("these images are asked about one by one: wanted a line for each.")


def _files(asked: Asked) -> Iterator[Path]:
    """Files and folders that the answer depends on beside the images."""
    from ..drawn import Drawn

    yield from (prompt.path for prompt in asked.prompts if isinstance(prompt, Drawn))
    if asked.options.calibration is not None:
        yield asked.options.calibration
    yield from (Path(text) for text in asked.options.labels or () if text.endswith(".json"))


def _stamp(where: Place) -> str:
    """Another stamp, another image: sizes and times of change; of an address the address."""
    from ...io.vector_index import stamp

    if isinstance(where, Address):
        return str(where)
    return stamp(sorted(each for each in where.rglob("*") if each.is_file()) if where.is_dir() else [where])


def _weights(asked: Asked) -> str:
    """The hash of the weights that will answer; that they are not here is said now."""
    from ... import registry

    name, over = asked.words.system, asked.options.over
    if name is None:
        return ""
    return registry.weights_of(name if over is None else registry.asked(name, over)).sha256


def _digest(told: object) -> str:
    return hashlib.sha256(json.dumps(told, ensure_ascii=False).encode()).hexdigest()
