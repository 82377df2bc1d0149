"""A card: what is true about a system, as data. Checked once, at birth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

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


@dataclass(frozen=True, slots=True)
class WeightsEntry:
    """One pinned file: `tag` names it, `source` says where it is published, `sha256` may be its first digits only.

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
        """Whether the file lies in the package itself."""
        return self.source == "package"

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
        self._check("family", (self.family,), FAMILIES)
        self._check("status", (self.status,), STATUS)
        self._check("capabilities", self.capabilities, CAPABILITIES)
        self._check("accepts", self.accepts, PROMPTS)
        self._check("returns", self.returns, RETURNS)
        self._check("proof", self.proof, PROOF)
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
    """A card from a parsed TOML table; unknown and missing fields are named."""
    known = {field.name for field in fields(Card)}
    unknown = sorted(set(table) - known)
    if unknown:
        raise ValueError(f"card {table.get('name', '?')}: unknown field {', '.join(unknown)}")
    ready: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    ready["weights"] = tuple(WeightsEntry(**entry) for entry in table.get("weights", ()))
    try:
        return Card(**ready)
    except TypeError as error:
        raise ValueError(f"card {table.get('name', '?')}: {error}") from error
