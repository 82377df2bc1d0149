"""Where an answer came from: enough to give it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Provenance:
    """System and weights with their hash, backend and precision, prompts, source, version, and every assumption."""

    system: str
    weights: str
    weights_sha256: str | None = None
    backend: str = "torch"
    precision: str = "f32"
    device: str = "cpu"
    prompts: tuple[Mapping[str, Any], ...] = ()
    source_format: str | None = None
    source_sha256: str | None = None
    version: str = ""
    notes: tuple[str, ...] = field(default=())

    def noted(self, *sentences: str) -> Provenance:
        """The same provenance with sentences added; each stands once."""
        return replace(self, notes=tuple(dict.fromkeys((*self.notes, *sentences))))

    def as_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return asdict(self)
