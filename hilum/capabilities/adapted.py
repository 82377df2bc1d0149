"""An adapter's folder laid over a system's own weights: tensors in place or added, a branch, a probe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..parts.frequency import beside_details, with_details
from ..weights import adapter
from .match import Probe

if TYPE_CHECKING:
    from .system import System

PROBE = "probe"  # the method whose tensors stand on the network, not in it


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """What an adapter changes; one of no folder changes nothing."""

    name: str = ""
    told: adapter.Adapter | None = None
    own: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path | None) -> Overlay:
        """The overlay of a folder."""
        if folder is None:
            return cls()
        return cls(folder.resolve().name, adapter.read(folder), adapter.tensors(folder))

    def laid(self, upstream: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The weights with the adapter's in their place or added to them; upstream names."""
        if self.told is None or self.told.method == PROBE:
            return upstream
        return adapter.applied(upstream, self.own, self.told)

    def grown(self, network: nn.Module, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The network's tensors, once its branch has grown, where the adapter has one."""
        if self.told is None or not self.told.branch:
            return state
        with torch.device("meta"):
            with_details(network, self.told.branch, hidden=self.told.hidden)
        return beside_details(state, self.told.branch)

    def on(self, system: System) -> None:
        """Names the adapter in the system's tag; a probe makes classes of its own the system's unasked answer."""
        if self.told is None:
            return
        system.tag += f"+{self.name}"
        if self.told.method == PROBE:
            values = {name: tensor.double().numpy() for name, tensor in self.own.items()}
            system.probe = Probe(tuple(self.told.names), **values)
            able = (*system.card.capabilities, "match")
            system.card = replace(system.card, default="match", capabilities=able, returns=("scores",))  # type: ignore[misc]
