"""Where weights lie on this machine: shipped in the package, or in one folder of the user's. No torch, no network.

A tag's folder `<folder>/<system>.<tag>/` holds `model.safetensors`, with the upstream's tensor names, and
`record.json`. It comes and goes as a whole: it is made beside, flushed, and renamed into place.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from hilum.io.module_file import module_file
from hilum.values.card import Card, WeightsEntry
from hilum.values.errors import BadInput, Failed, WeightsUnavailable

POCKET = Path(__file__).parent / "pocket"
HUB = "https://huggingface.co"
SUFFIX, RULE = ".safetensors", ".py"  # a rule's file is its module: nothing is loaded, its hash says which rule it is
MODEL, RECORD = f"model{SUFFIX}", "record.json"


@dataclass(frozen=True, slots=True)
class Weights:
    """One safetensors file under a tag, with the upstream's tensor names, and its `sha256`; or the module of a rule.

    `base` are the weights that the file builds on, where it does not hold the whole network; `adapter` is the folder of
    an adaptation to lay over them. Then `sha256` names all of the files, joined by +.
    """

    system: str
    tag: str
    path: Path
    sha256: str
    base: Weights | None = None
    adapter: Path | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of an imported file: as it came (`file`, `file_sha256`), and as it is kept (`sha256`, `size`).

    `date` is UTC. `refused` are the pickle's globals that were met as stubs; `notes` what the user accepted.
    """

    system: str
    tag: str
    file: str
    file_sha256: str
    sha256: str
    size: int
    tensors: int
    licence: str
    source: str
    date: str
    wrappers: tuple[str, ...] = ()
    prefix: str = ""
    ignored: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    reader: str = ""
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """system.tag"""
        return f"{self.system}.{self.tag}"

    def text(self) -> str:
        """The record as it is written."""
        return json.dumps(asdict(self), indent=1) + "\n"


def folder() -> Path:
    """The user's folder: $HILUM_WEIGHTS, else `hilum/weights` in the platform's cache. Asking makes nothing."""
    chosen = os.environ.get("HILUM_WEIGHTS", "").strip()
    return Path(chosen).expanduser().absolute() if chosen else _cache() / "hilum" / "weights"


def _cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    return Path(chosen) if os.path.isabs(chosen) else Path.home() / ".cache"  # the standard ignores relative ones


def place(system: str, tag: str) -> Path:
    """The folder of a tag, there or not."""
    return folder() / f"{system}.{tag}"


def available(card: Card) -> tuple[str, ...]:
    """Tags that are there, shipped or imported: those of the card first, in its order."""
    there = {*shipped(card), *_imported(card.name)}
    listed = [entry.tag for entry in card.weights if entry.tag in there]
    return (*listed, *sorted(there - set(listed)))


def find(card: Card, tag: str | None = None) -> Weights:
    """The weights under this tag, or under the first tag that is there; if there are none, how to get them."""
    there = available(card)
    chosen = tag or (there[0] if there else None)
    if chosen is None or chosen not in there:
        raise WeightsUnavailable(_absent(card, chosen, there))
    path = shipped(card).get(chosen)
    if path is not None:
        return Weights(card.name, chosen, path, _hash(path, path.stat().st_mtime_ns, path.stat().st_size))
    kept = record(card.name, chosen)
    path = place(card.name, chosen) / MODEL
    if kept is None or not path.is_file() or path.stat().st_size != kept.size:
        raise Failed(
            f"the stored file of {card.name}.{chosen} is not the one that was imported: see it with "
            f"`hilum weights verify {card.name}.{chosen}`, then import it again with --replace."
        )
    return Weights(card.name, chosen, path, kept.sha256)


def from_file(card: Card, path: Path, tag: str | None = None) -> Weights:
    """A safetensors file with the upstream's names, used where it lies; `tag` says which size it is."""
    tags = [entry.tag for entry in card.weights]
    if path.suffix != SUFFIX:
        raise BadInput(f"{path.name} is not a safetensors file; convert it once: hilum weights import {path.name}")
    if not path.is_file():
        raise BadInput(f"no such file: {path}")
    if tag is None and len(tags) != 1:
        choices = ", ".join(f"{card.name}.{each}" for each in tags)
        raise BadInput(f"{path.name} does not say its size; name it with the system: {choices or 'the card has none'}")
    return Weights(card.name, tag or tags[0], path, _hash(path, path.stat().st_mtime_ns, path.stat().st_size))


def adapted(folder: Path, base: Weights) -> Weights:
    """The weights with the adapter of the folder over them; they must be the very ones that it was made for."""
    from hilum.weights import adapter
    from hilum.weights.tensor_file import sha256

    told = adapter.read(folder)
    if base.sha256 != told.weights_sha256:
        raise BadInput(
            f"{folder.name} was made for {told.system}.{told.weights} with sha256 {told.weights_sha256[:16]}…, and the "
            f"weights here have {base.sha256[:16]}…: adapt again, or bring the weights it was made for"
        )
    return replace(base, adapter=folder, sha256=f"{base.sha256}+{sha256(folder / adapter.TENSORS)}")


def shipped(card: Card) -> dict[str, Path]:
    """Files in the package itself, by tag: `<system>.<tag>.safetensors`, or `<system>.safetensors` alone; and
    those of the card that lie in the package of a plug-in."""
    own = next((entry.tag for entry in card.weights if entry.shipped), "pocket")
    found = {own: POCKET / f"{card.name}{SUFFIX}"} if (POCKET / f"{card.name}{SUFFIX}").is_file() else {}
    for path in sorted(POCKET.glob(f"{card.name}.*{SUFFIX}")):
        found[path.name.removeprefix(f"{card.name}.").removesuffix(SUFFIX)] = path
    for entry in card.weights:
        module = module_file(entry.module) if entry.module else None
        if module is not None and module.with_name(entry.file).is_file():
            found[entry.tag] = module.with_name(entry.file)
    return found


def record(system: str, tag: str) -> Record | None:
    """What was written down when the tag was imported; None if it is not there or cannot be read."""
    known = {field.name for field in fields(Record)}
    try:
        table = json.loads((place(system, tag) / RECORD).read_text(encoding="utf-8"))
        ready: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in table.items()
        }
        return Record(**{name: value for name, value in ready.items() if name in known})
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def records() -> tuple[Record, ...]:
    """All records of the user's folder, by name."""
    names = [path.parent.name.partition(".") for path in sorted(folder().glob(f"*/{RECORD}"))]
    found = (record(system, tag) for system, _, tag in names if system)
    return tuple(each for each in found if each is not None)


def _imported(system: str) -> list[str]:
    paths = folder().glob(f"{system}.*/{MODEL}")
    return [path.parent.name.partition(".")[2] for path in paths]


@lru_cache(maxsize=64)
def _hash(path: Path, _changed: int, _size: int) -> str:
    from hilum.weights.tensor_file import sha256

    return sha256(path)


def _absent(card: Card, tag: str | None, there: tuple[str, ...]) -> str:
    name = f"{card.name}.{tag}" if tag else card.name
    here = f" {card.name}.{there[0]} is here." if there else ""
    entry = card.entry(tag) if tag else next((each for each in card.weights if not each.shipped), None)
    if entry is None:
        known = ", ".join(each.tag for each in card.weights) or "none"
        return f"{card.name} has no weights called {tag}; its card names: {known}.{here}" if tag else _nothing(card)
    return f"the weights of {name} are not on this machine: {how_to_get(card.name, entry)}{here}"


def _nothing(card: Card) -> str:
    note = "its paper published none" if card.status == "method" else "its card names none"
    return f"there are no weights of {card.name}: {note}."


def how_to_get(system: str, entry: WeightsEntry) -> str:
    """The command that gets a file, where it is published, and under which licence."""
    if entry.shipped:
        owner = f"the package of {entry.module}" if entry.module else "hilum"
        return f"{entry.file} ships with the package and is missing; install {owner} again."
    if entry.trained:
        return f"nobody publishes {entry.file}; train it, then `hilum weights import {entry.file}`."
    pull, load = f"`hilum weights pull {system}.{entry.tag}`", f"`hilum weights import {entry.file}`"
    about = f"({page(entry)}; licence: {entry.licence})"
    if not direct(entry):
        return f"get {entry.file} from its publisher {about}, then {load}."
    if not entry.gated:
        return f"{pull}, or {load} if you have it {about}."
    if entry.source.startswith("hf:"):
        return f"accept the publisher's conditions {about}, then `hf auth login` and {pull}, or {load}."
    return f"ask for access with the publisher's form {about}, download {entry.file}, then {load}."


def direct(entry: WeightsEntry) -> bool:
    """Whether the source is the file itself, and not a page where a person finds it."""
    return entry.source.startswith("hf:") or entry.source.partition("?")[0].endswith(f"/{entry.file}")


def page(entry: WeightsEntry) -> str:
    """The address that a person opens in a browser."""
    if not entry.source.startswith("hf:"):
        return entry.source
    return f"{HUB}/{'/'.join(entry.source.removeprefix('hf:').split('/')[:2])}"
