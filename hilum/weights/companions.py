"""Small files that published weights are used with, such as a tokenizer's words: named on the card, kept beside them.

In the store they lie in the tag's folder under their own names, in the package as `<system>.<tag>.<name>`, and beside a
file that is used where it lies.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from hilum.io.atomic import replacing
from hilum.values.card import Card
from hilum.weights import store
from hilum.weights.store import POCKET, Weights


def there(card: Card, weights: Weights) -> dict[str, Path]:
    """Those of the weights' entry that are on this machine, by name."""
    entry = card.entry(weights.tag)
    shipped = weights.path.parent == POCKET
    found = {}
    for name in entry.beside if entry else ():
        path = POCKET / f"{card.name}.{weights.tag}.{name}" if shipped else weights.path.parent / name
        if path.is_file():
            found[name] = path
    return found


def bring(names: Iterable[str], folder: Path, place: Path) -> tuple[str, ...]:
    """Copies those that lie in `folder` to the stored weights' `place`; returns which were copied."""
    brought = [name for name in names if (folder / name).is_file() and folder.resolve() != place.resolve()]
    for name in brought:
        with replacing(place / name, force=True) as temporary:
            shutil.copyfile(folder / name, temporary)
    return tuple(brought)


def lacking(names: Iterable[str], place: Path) -> tuple[str, ...]:
    """Those that are not at the stored weights' place."""
    return tuple(name for name in names if not (place / name).is_file())


def absent(card: Card, tag: str, name: str) -> str:
    """What is missing, where it is published, and how it comes here."""
    entry = card.entry(tag)
    if entry is None or entry.shipped:
        owner = f"the package of {entry.module}" if entry and entry.module else "hilum"
        return f"{name} of {card.name}.{tag} is not in this installation: install {owner} again"
    source = entry.beside[name]
    pull = f"`hilum weights pull {card.name}.{tag}`, or " if source.startswith("hf:") and store.direct(entry) else ""
    return (
        f"{card.name}.{tag} is here without {name}, which it reads texts with: {pull}put it (from {source}) beside "
        f"{entry.file} and say `hilum weights import {entry.file}` again"
    )
