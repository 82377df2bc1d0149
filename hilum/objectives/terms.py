"""Terms of a loss: each part by name, already weighted, so that logs show what the sum is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """Weighted parts of an objective, scalars; `total` is what is minimised."""

    parts: Mapping[str, Float[Tensor, ""]]

    @property
    def total(self) -> Float[Tensor, ""]:
        """Their sum."""
        return sum(self.parts.values())  # type: ignore[return-value]

    def numbers(self) -> dict[str, float]:
        """The parts as plain numbers, for a log."""
        return {name: float(part.detach()) for name, part in self.parts.items()}
