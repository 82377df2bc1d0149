"""How an item and its files are called: names in the run's folder, none of which two lines share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ...values.errors import BadInput
from .columns import PLACES
from .folder import OWN
from .item import REPORTS, Item

if TYPE_CHECKING:
    from ..asked import Asked

SPATIAL = {"points", "box", "mask", "scribble"}


def places(cells: Mapping[str, str]) -> tuple[str | None, str | None, str | None]:
    """The files that a line names: output, preview, explain."""
    output, preview, explain = (_inside(column, cells[column]) if cells.get(column) else None for column in PLACES)
    return output, preview, explain


def _inside(column: str, text: str) -> str:
    """A name that stays in the run's folder, as it is written there."""
    path = PurePosixPath(text.replace("\\", "/"))
    hidden = any(part.startswith(".") for part in path.parts)
    if path.is_absolute() or hidden or not path.parts or ":" in text:
        raise BadInput(f"{column} is {text}; wanted the name of a file in the run's folder.")
    if path.parts[0].casefold() in (REPORTS, *OWN):
        raise BadInput(f"{column} is {text}, which is a name of the run's own; give another.")
    return str(path)


def named(item: Item, asked: Asked, taken: Mapping[str, int]) -> Item:
    """With its name; where no file was named, one that no line before it has, and that of a mask where it draws one."""
    from ..ask import stem, suffix

    if item.output is not None:
        path = PurePosixPath(item.output)
        return replace(item, name=str(path.with_name(_bare(path.name))))
    image, count = asked.words.images[0], 1
    while True:
        name = stem(image) if count == 1 else f"{stem(image)}-{count}"
        found = replace(item, name=name, output=f"{name}_mask{suffix(image)}" if _masks(asked) else None)
        if not any(file.casefold() in taken for file in (found.output or "", found.report)):
            return found
        count += 1


def _bare(name: str) -> str:
    return name.removesuffix(".gz").rsplit(".", 1)[0]


def _masks(asked: Asked) -> bool:
    from ... import registry

    pointed = bool(SPATIAL & set(asked.kinds))
    if asked.words.system is None:
        return pointed
    returns = registry.card(asked.words.system).returns
    return "segmentation" in returns and (pointed or len(returns) == 1)


def check(item: Item, asked: Asked) -> None:
    """Refuses names whose suffix nothing is written to that the system answers."""
    from ... import registry
    from ...io.write import check_suffix
    from ...values.explanation import Explanation
    from ..ask import check_returns, suffix

    if item.output is not None and asked.words.system is not None:
        check_returns(registry.card(asked.words.system).returns, Path(item.output))
    if item.output is not None and item.output.lower().endswith(".dcm") and suffix(asked.words.images[0]) != ".dcm":
        raise BadInput("a DICOM SEG refers to DICOM images, and this image is none; give another output.")
    if item.preview is not None and not item.preview.lower().endswith(".png"):
        raise BadInput(f"preview is {item.preview}; wanted a name that ends with .png.")
    if item.explain is not None:
        check_suffix(Explanation, item.explain)


def free(item: Item, taken: dict[str, int]) -> Item:
    """The item, once none of its files is another line's, or named twice in its own."""
    names = [name.casefold() for name in item.files]
    for name, plain in zip(names, item.files, strict=True):
        if name in taken:
            raise BadInput(f"{plain} is written by line {taken[name]} already; give another output.")
        if names.count(name) > 1:
            raise BadInput(f"{plain} is named twice in this line.")
    taken.update(dict.fromkeys(names, item.line))
    return item
