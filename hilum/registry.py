"""Registry: names -> cards -> modules. It reads the folder of systems and the plug-ins; a new system edits nothing."""

from __future__ import annotations

import difflib
import importlib
import inspect
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

from . import plugins
from .values.card import Card, card_from
from .values.errors import BadInput, Failed, UnknownSystem, UnsupportedPrompt

if TYPE_CHECKING:
    from .capabilities.system import System
    from .weights.store import Weights

FOLDER = Path(__file__).parent / "systems"


@dataclass(frozen=True, slots=True)
class Entry:
    """A system that is there: its card, the module that holds its class (not imported yet), a plug-in's package."""

    card: Card
    module: str
    package: str = ""

    def system_class(self) -> type[System]:
        """The class; this imports the module, and with it torch. What is wrong with either is a sentence."""
        try:
            module = importlib.import_module(self.module)
        except (Exception, SystemExit) as error:  # a plug-in's module may raise anything
            why = str(error) or "without a word"
            kind = "" if isinstance(error, ImportError) else f"{type(error).__name__}: "
            raise Failed(f"the module of {self.card.name} cannot be imported: {kind}{why}") from error
        found = vars(module).get("SYSTEM")
        self._check(found)
        return cast("type[System]", found)

    def _check(self, found: object) -> None:
        from .capabilities.system import System

        if not (isinstance(found, type) and issubclass(found, System)):
            raise Failed(f"the module {self.module} has no system: wanted SYSTEM = its class, a hilum System")
        if inspect.isabstract(found):
            lacks = ", ".join(sorted(found.__abstractmethods__))
            raise Failed(f"the class of {self.card.name} is not finished: it lacks {lacks}")

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
    installed, broken = plugins.found()
    for path in sorted(FOLDER.glob("*.toml")):
        _add(entries, broken, plugins.Plugin(f"{__package__}.systems.{path.stem}", path, ""))
    for plugin in installed:
        _add(entries, broken, plugin)
    return entries, broken


def _add(entries: dict[str, Entry], broken: dict[str, str], found: plugins.Plugin) -> None:
    file = found.card
    try:
        card = card_from(tomllib.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        broken[found.module] = f"its card {file.name} is missing beside the module: does the package's build take it?"
        return
    except (OSError, ValueError) as error:  # TOMLDecodeError is a ValueError
        broken[found.module] = f"{file.name}: {error}"
        return
    if card.name in entries:
        owner = entries[card.name].package or "hilum itself"
        broken[found.module] = f"{file.name}: the name {card.name} is taken by {owner}; give the card another name"
    else:
        entries[card.name] = Entry(card, found.module, found.package)


def installed() -> dict[str, Entry]:
    """The plug-ins by name, whose cards were read; their modules are not imported yet."""
    return {name: entry for name, entry in _found()[0].items() if entry.package}


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
    found = find(name).system_class()
    if weights is not None and Path(weights).suffix and isinstance(found, Trained):
        return found.trained(Path(weights)).placed(device, backend)
    ready = weights_of(name, weights)
    if ready.tag not in found.configs:
        raise Failed(f"the class of {card(name).name} has no sizes (configs) for its weights {ready.tag}")
    return found.open(ready, device=device, backend=backend)


def asked(name: str, over: str) -> str:
    """`over`, if `name` asks another system at all, and this one takes what it is asked with."""
    _asking(name)
    outer, inner = card(name), card(over)
    strange = [kind for kind in outer.accepts if kind not in inner.accepts]
    if strange:
        raise UnsupportedPrompt(inner.name, strange[0].capitalize(), inner.accepts)
    return over


def _asking(name: str) -> Over:
    found = find(name).system_class()
    if not isinstance(found, Over):
        raise BadInput(f"{card(name).name} answers by itself: it asks no other system, so name none for it to ask.")
    return found


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
