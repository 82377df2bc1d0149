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
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from .values.card import Card, card_from
from .values.errors import BadInput, Failed, UnknownSystem, UnsupportedPrompt

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


@runtime_checkable
class Over(Protocol):
    """A class whose systems ask another system, which is handed in."""

    def over(self, inner: System) -> System:
        """The system over another one, which is loaded."""


@runtime_checkable
class Trained(Protocol):
    """A class whose weights files say their own sizes."""

    def trained(self, file: Path) -> System:
        """The system from such a file."""


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
    """The entry of a system by its name, by a tag such as "medsam.vit_b", or by the folder of an adapter of it."""
    from .weights import adapter

    entries = _found()[0]
    folder = Path(name)
    stem = adapter.read(folder).system if adapter.is_adapter(folder) else name.split(".", 1)[0]
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


def tag(name: str) -> str | None:
    """The weights tag that a name means: that of "medsam.vit_b", that under an adapter, or None where it is open."""
    from .weights import adapter

    folder = Path(name)
    return adapter.read(folder).weights if adapter.is_adapter(folder) else name.partition(".")[2] or None


def weights_of(name: str, weights: str | Path | None = None) -> Weights:
    """The files that `load` would read; what is not on this machine is said with the command that gets it."""
    from .weights import adapter, store

    card = find(name).card
    if adapter.is_adapter(Path(name)):
        return store.adapted(Path(name), _based(card, store.find(card, tag(name))))
    if weights is not None and Path(weights).suffix:
        return _based(card, store.from_file(card, Path(weights), tag(name)))
    return _based(card, store.find(card, tag(name) if weights is None else str(weights)))


def load(
    name: str,
    *,
    weights: str | Path | None = None,
    over: str | System | None = None,
    device: str = "auto",
    backend: str = "auto",
) -> System:
    """The system, its weights loaded: "medsam" (first tag that is there), "medsam.vit_b", "my_adapter/", or with
    `weights` a tag or a safetensors file under the upstream's names. A system such as sam_u asks another one: `over`
    is its name (then `weights` are that one's), or the loaded system itself."""
    if over is not None:
        inner = (
            load(asked(name, over), weights=weights, device=device, backend=backend) if isinstance(over, str) else over
        )
        return _asking(name).over(inner)
    found = _class(find(name))
    if weights is not None and Path(weights).suffix and isinstance(found, Trained):
        return found.trained(Path(weights)).placed(device, backend)
    return found.open(weights_of(name, weights), device=device, backend=backend)


def asked(name: str, over: str) -> str:
    """`over`, if `name` asks another system at all, and this one takes what it is asked with."""
    _asking(name)
    outer, inner = card(name), card(over)
    strange = [kind for kind in outer.accepts if kind not in inner.accepts]
    if strange:
        raise UnsupportedPrompt(inner.name, strange[0].capitalize(), inner.accepts)
    return over


def _asking(name: str) -> Over:
    found = _class(find(name))
    if not isinstance(found, Over):
        raise BadInput(f"{card(name).name} answers by itself: it asks no other system, so name none for it to ask.")
    return found


def _class(entry: Entry) -> type[System]:
    try:
        return entry.system_class()
    except ImportError as error:
        raise Failed(f"the module of {entry.card.name} cannot be imported: {error}") from error


def _based(card: Card, weights: Weights) -> Weights:
    """The weights with those that they build on, where the card says so; if these are not here, how to get them."""
    from .values.errors import WeightsUnavailable
    from .weights import store

    entry = card.entry(weights.tag)
    if entry is None or not entry.base:
        return weights
    try:
        base = store.find(find(entry.base).card, tag(entry.base))
    except WeightsUnavailable as error:
        raise WeightsUnavailable(f"{card.name} builds on {entry.base}: {error}") from error
    return replace(weights, base=base, sha256=f"{weights.sha256}+{base.sha256}")
