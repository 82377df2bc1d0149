"""A card: what is true about a system, as data. Checked once, at birth."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, TypeVar

FAMILIES = (
    "tpm-contrastive",
    "tpm-generative",
    "tpm-hybrid",
    "tpm-conversational",
    "vpm-adaptations",
    "vpm-generalist",
    "house",
)
CAPABILITIES = ("embed", "match", "segment", "tell", "talk", "act")
PROMPTS = ("points", "box", "mask", "scribble", "labels", "question", "turns", "examples")
RETURNS = ("segmentation", "scores", "reply", "embedding", "findings")
STATUS = ("open", "gated", "method", "stand-in")
PROOF = ("layout", "kit", "real weights")
NAME = re.compile(r"[a-z][a-z0-9_]*")
KINDS = {  # type of a field -> what TOML holds there, in words
    "str": "a text",
    "int": "a whole number",
    "bool": "true or false",
    "tuple[str, ...]": "a list of texts",
    "Mapping[str, str]": "a table of texts",
}
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class WeightsEntry:
    """One pinned file: `tag` names it, `source` says where it is published, `sha256` may be its first digits only.

    `source` is an address, "package" for a file of hilum itself, "package:MODULE" for one that lies beside a plug-in's
    module, or "own training". A `file` that ends with .py is the module itself: a rule, from which nothing is loaded.
    `base` names the weights (system.tag) whose tensors a file needs beside its own, such as SAM's under an adapter.
    `beside` names small files that the system reads with it, such as a tokenizer's words, and where each is published.
    """

    tag: str
    file: str
    source: str
    licence: str
    revision: str = ""
    sha256: str = ""
    gated: bool = False
    note: str = ""
    base: str = ""
    beside: Mapping[str, str] = field(default_factory=dict)

    @property
    def shipped(self) -> bool:
        """Whether the file lies in the package itself, or in a plug-in's."""
        return self.source == "package" or bool(self.module)

    @property
    def module(self) -> str:
        """The plug-in's module that the file lies beside; empty for all that is hilum's or comes from elsewhere."""
        return self.source.removeprefix("package:") if self.source.startswith("package:") else ""

    @property
    def trained(self) -> bool:
        """Whether nobody publishes it: it comes from the user's own training."""
        return self.source == "own training"


@dataclass(frozen=True, slots=True)
class Card:
    """What is true about a system. `row` is its row in the survey's table, or None; `default` its promptless verb."""

    name: str
    title: str
    citation: str
    year: int
    family: str
    algorithm: str
    summary: str
    status: str
    tasks: tuple[str, ...]
    modalities: tuple[str, ...]
    organs: tuple[str, ...]
    capabilities: tuple[str, ...]
    accepts: tuple[str, ...]
    returns: tuple[str, ...]
    weights: tuple[WeightsEntry, ...] = ()
    row: int | None = None
    default: str | None = None
    proof: tuple[str, ...] = ()
    deviations: tuple[str, ...] = ()
    excuses: Mapping[str, str] | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ValueError(f"card {self.name}: a name is lower case letters, digits and underscores")
        self._check("family", (self.family,), FAMILIES)
        self._check("status", (self.status,), STATUS)
        self._check("capabilities", self.capabilities, CAPABILITIES)
        self._check("accepts", self.accepts, PROMPTS)
        self._check("returns", self.returns, RETURNS)
        self._check("proof", self.proof, PROOF)
        self._check("default", () if self.default is None else (self.default,), self.capabilities)
        if not self.accepts and self.default is None:
            raise ValueError(f"card {self.name}: wanted prompts that it accepts, or a default without one")
        if self.row is not None and not 1 <= self.row <= 40:
            raise ValueError(f"card {self.name}: row is 1 to 40 or absent, got {self.row}")

    def _check(self, field: str, given: tuple[str, ...], known: tuple[str, ...]) -> None:
        for word in given:
            if word not in known:
                raise ValueError(f"card {self.name}: {field} takes {', '.join(known)}, got {word!r}")

    def entry(self, tag: str) -> WeightsEntry | None:
        """The weights entry with this tag."""
        return next((entry for entry in self.weights if entry.tag == tag), None)


def card_from(table: Mapping[str, Any]) -> Card:
    """A card from a parsed TOML table; unknown, missing and ill-typed fields are named."""
    name = table.get("name", "?")
    entries = table.get("weights", [])
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise ValueError(f"card {name}: weights are tables, each under [[weights]]")
    made = [_made(WeightsEntry, entry, f"card {name}, weights {entry.get('tag', '?')}") for entry in entries]
    plain = {key: value for key, value in table.items() if key != "weights"}
    return _made(Card, plain, f"card {name}", weights=tuple(made))


def _made(kind: type[Made], table: Mapping[str, Any], where: str, **ready: Any) -> Made:
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise ValueError(f"{where}: unknown field {', '.join(unknown)}")
    needed = [name for name, each in known.items() if each.default is MISSING and each.default_factory is MISSING]
    missing = [name for name in needed if name not in table and name not in ready]
    if missing:
        raise ValueError(f"{where}: missing field {', '.join(missing)}")
    for name, value in table.items():
        _typed(str(known[name].type).removesuffix(" | None"), value, f"{where}: {name}")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}, **ready)


def _typed(kind: str, value: Any, where: str) -> None:
    match value:
        case bool():
            fits = kind == "bool"
        case str():
            fits = kind == "str"
        case int():
            fits = kind == "int"
        case list():
            fits = kind == "tuple[str, ...]" and all(isinstance(each, str) for each in value)
        case Mapping():
            fits = kind == "Mapping[str, str]" and all(isinstance(each, str) for each in value.values())
        case _:
            fits = False
    if not fits:
        raise ValueError(f"{where} is {KINDS[kind]}, got {value!r}")
