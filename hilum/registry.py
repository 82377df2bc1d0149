"""Registry: names -> cards -> modules. It reads the folder of systems and the entry points; a new system edits nothing.

An entry point of the group `hilum.systems` names a module; its card is the .toml file beside that module.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .values.card import Card, card_from
from .values.errors import BadInput, Failed, UnknownSystem

if TYPE_CHECKING:
    from .capabilities.system import System
    from .weights.store import Weights

GROUP = "hilum.systems"
FOLDER = Path(__file__).parent / "systems"


@dataclass(frozen=True, slots=True)
class Entry:
    """A system that is there: its card, and the module that holds its class (not imported yet)."""

    card: Card
    module: str

    def system_class(self) -> type[System]:
        """The class; this imports the module, and with it torch."""
        found: type[System] = importlib.import_module(self.module).SYSTEM
        return found

    def tiny(self, seed: int = 0) -> System:
        """The system's smallest honest instance, with random weights."""
        return self.system_class().tiny(seed)


@cache
def _found() -> tuple[dict[str, Entry], dict[str, str]]:
    """Entries by name, and what was broken (where -> the sentence that says why)."""
    entries: dict[str, Entry] = {}
    broken: dict[str, str] = {}
    for path in sorted(FOLDER.glob("*.toml")):
        _add(entries, broken, path, f"{__package__}.systems.{path.stem}")
    for point in entry_points(group=GROUP):
        try:
            spec = importlib.util.find_spec(point.value)
        except (ImportError, ValueError) as error:
            broken[point.name] = f"the module {point.value} cannot be found: {error}"
            continue
        if spec is None or spec.origin is None:
            broken[point.name] = f"the module {point.value} cannot be found"
            continue
        _add(entries, broken, Path(spec.origin).with_suffix(".toml"), point.value)
    return entries, broken


def _add(entries: dict[str, Entry], broken: dict[str, str], path: Path, module: str) -> None:
    try:
        card = card_from(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:  # TOMLDecodeError is a ValueError
        broken[module] = f"{path.name}: {error}"
        return
    if card.name in entries:
        broken[module] = f"{path.name}: the name {card.name} is taken by {entries[card.name].module}"
    else:
        entries[card.name] = Entry(card, module)


def broken() -> dict[str, str]:
    """Systems whose card or module could not be read, and why."""
    return dict(_found()[1])


def names(**wanted: Any) -> list[str]:
    """Names of the systems whose cards have all that is wanted (`family`, `capability`, `accepts`, `modality`, `organ`,
    `task`, `algorithm`, `status`); None asks nothing. Modality "any" on a card fits every modality."""
    return [name for name, entry in _found()[0].items() if _fits(entry.card, wanted)]


FACETS: dict[str, Callable[[Card], tuple[str, ...]]] = {
    "family": lambda card: (card.family,),
    "capability": lambda card: card.capabilities,
    "accepts": lambda card: card.accepts,
    "modality": lambda card: card.modalities,
    "organ": lambda card: card.organs,
    "task": lambda card: card.tasks,
    "algorithm": lambda card: (card.algorithm,),
    "status": lambda card: (card.status,),
}


def _fits(card: Card, wanted: dict[str, Any]) -> bool:
    for facet, value in wanted.items():
        if facet not in FACETS:
            raise TypeError(f"systems are chosen by {', '.join(FACETS)}; got {facet!r}")
        has = FACETS[facet](card)
        open_ended = facet in ("modality", "organ") and "any" in has
        if value is not None and value not in has and not open_ended:
            return False
    return True


def find(name: str) -> Entry:
    """The entry of a system by its name, or by a tag such as "medsam.vit_b"."""
    entries = _found()[0]
    stem = name.split(".", 1)[0]
    if stem not in entries:
        near = difflib.get_close_matches(stem, entries, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise UnknownSystem(f"no system is called {stem}{hint}; `hilum list` shows all")
    return entries[stem]


def knows(name: str) -> bool:
    """Whether this word is a registered name, or one with a tag of its card."""
    stem, _, tag = name.partition(".")
    entry = _found()[0].get(stem)
    return entry is not None and (not tag or entry.card.entry(tag) is not None)


def card(name: str) -> Card:
    """The card of a system."""
    return find(name).card


def load(name: str, *, weights: str | Path | None = None, device: str = "auto", backend: str = "auto") -> System:
    """The system, its weights loaded: "medsam" (first tag that is there), "medsam.vit_b", or with `weights` a tag or
    a safetensors file under the upstream's names."""
    from .weights import store

    if (Path(name) / "adapter_config.json").is_file():
        raise BadInput(f"{name} is an adapter, and this version loads none yet; name a system: `hilum list` shows all")
    entry = find(name)
    tag = name.partition(".")[2] or None
    if weights is not None and Path(weights).suffix:
        chosen = store.from_file(entry.card, Path(weights), tag)
    else:
        chosen = store.find(entry.card, tag if weights is None else str(weights))
    listed = entry.card.entry(chosen.tag)
    if listed is not None and listed.base:
        chosen = replace(chosen, base=_base(entry.card.name, listed.base))
    try:
        system_class = entry.system_class()
    except ImportError as error:
        raise Failed(f"the module of {entry.card.name} cannot be imported: {error}") from error
    return system_class.open(chosen, device=device, backend=backend)


def _base(name: str, base: str) -> Weights:
    """The weights that those of `name` build on; where they are not here, how to get them."""
    from .values.errors import WeightsUnavailable
    from .weights import store

    system, _, tag = base.partition(".")
    try:
        return store.find(card(system), tag or None)
    except WeightsUnavailable as error:
        raise WeightsUnavailable(f"{name} builds on {base}: {error}") from error
