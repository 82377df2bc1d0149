"""What a look costs on this machine, before any weights are loaded: for `hilum card --here` and for `ask`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from .. import registry
from ..backends import compute
from ..weights import store

if TYPE_CHECKING:
    from ..values.card import Card

UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one system at one size; no estimate where nothing is known. `per_prompt`: looks are free, prompts are not."""

    tag: str
    parameters: int
    look: compute.Estimate | None
    per_prompt: bool = False

    def lines(self) -> list[tuple[str, str]]:
        """The cost for a person."""
        said = [("here", f"{self.tag}, on this machine"), ("parameters", _short(self.parameters))]
        if self.look is None:
            return [*said, ("a look", "costs nothing; each prompt is its own small pass")]
        look = self.look
        weights = [f"{precision} {_gb(count)}" for precision, count in look.weight_bytes.items()]
        memory = [f"{precision} {_gb(count)}" for precision, count in look.peak_bytes.items()]
        seconds = [f"{precision} {value:.2g} s" for precision, value in look.seconds.items()]
        if self.per_prompt:
            spent = f"{_short(look.flops)}FLOP, f32 {look.seconds['f32']:.2g} s as predicted; a look costs nothing"
            return [*said, ("a prompt", spent), ("peak memory", f"torch f32 {_gb(look.torch_peak_bytes)}")]
        return [
            *said,
            ("weights", ", ".join(weights)),
            (
                "a look",
                f"{_short(look.flops)}FLOP; {', '.join(seconds)} by OpenVINO (int8: at most), "
                "as predicted from measured products",
            ),
            ("peak memory", f"torch f32 {_gb(look.torch_peak_bytes)}; OpenVINO {', '.join(memory)}"),
        ]

    def facts(self) -> dict[str, Any]:
        """The same as plain types."""
        said: dict[str, Any] = {"tag": self.tag, "parameters": self.parameters, "look": None}
        if self.look is not None:
            look = self.look
            said["prompt" if self.per_prompt else "look"] = {
                "flops": look.flops,
                "weight_bytes": dict(look.weight_bytes),
                "peak_bytes": {"torch": look.torch_peak_bytes, **look.peak_bytes},
                "seconds": dict(look.seconds),
            }
        return said


def cost(name: str) -> Cost | None:
    """For a system's name or tag; None where no size of it is known."""
    entry = registry.find(name)
    found, tag = entry.system_class(), _tag(entry.card, name)
    if tag not in found.configs:
        return None
    with torch.device("meta"):
        network = found.build(found.configs[tag])
    system = found(network.eval(), found.configs[tag], tag=tag)
    priced = system.priced()
    parameters = sum(each.numel() for each in network.parameters())
    estimate = None if priced is None else compute.estimate(*priced)
    return Cost(system.tag, parameters, estimate, per_prompt=priced is not None and system.costly() is None)


def _tag(card: Card, name: str) -> str:
    """The tag that is named, else the first that is here, else the card's first."""
    tags = [registry.tag(name) or "", *store.available(card), *(entry.tag for entry in card.weights), ""]
    return next((tag for tag in tags if tag), "")


def refuse(name: str, backend: str, max_memory: int | None) -> None:
    """Refuses a look that is predicted to need more memory than is allowed, or than is free."""
    found = cost(name)
    if found is None or found.look is None:
        return
    if backend == "torch" or found.per_prompt:
        compute.refuse_if_too_large(found.look, max_memory)
        return
    from ..backends.openvino import native

    compute.refuse_if_too_large(found.look, max_memory, precision=native())


def _short(number: float) -> str:
    for size, unit in UNITS:
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:g}"


def _gb(count: float) -> str:
    return f"{count / 1e9:.2g} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
