"""An explanation: where an answer comes from in its image, as a map for each label or object, and by which method."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .image import Image
from .provenance import Provenance

TENTH = 0.1


@dataclass(frozen=True, slots=True)
class Ablation:
    """What became of an object when one of its prompts was left out, moved, or made larger or smaller.

    `dice` is that of the new mask with the full answer's; None where the system does not answer so.
    """

    name: str
    prompt: str
    how: str
    dice: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """Maps (labels or objects, [z,] y, x) on the image's grid; the more a place holds, the more it speaks for the name.

    What is below zero speaks against it; what the system never saw holds its map's lowest value. `unit` says what is
    measured, `method` how, in a sentence. `image` is the image as it was read.
    """

    maps: Float[np.ndarray, " names *grid"]
    names: tuple[str, ...]
    unit: str
    method: str
    image: Image
    provenance: Provenance
    ablations: tuple[Ablation, ...] = ()

    def __post_init__(self) -> None:
        if self.maps.dtype != np.float32 or self.maps.shape != (len(self.names), *self.image.grid):
            wanted = len(self.names), *self.image.grid
            raise ValueError(f"maps are float32 {wanted}, got {self.maps.dtype} {self.maps.shape}")
        if not np.isfinite(self.maps).all():
            raise ValueError("a map holds numbers only: what was not seen has the lowest of them")

    def range(self, number: int) -> tuple[float, float]:
        """What a map is shown between: its lowest value, but no less than zero, and its highest."""
        low, high = float(self.maps[number].min()), float(self.maps[number].max())
        return max(low, 0.0), high

    def peak(self, number: int) -> tuple[int, ...] | None:
        """Where a map is highest, as (x, y[, z]); the middle of equals; None where nothing speaks for the name."""
        low, high = self.range(number)
        if high <= low:
            return None
        places = np.argwhere(self.maps[number] == high)[:, ::-1]
        nearest = np.linalg.norm(places - places.mean(axis=0), axis=1).argmin()
        return tuple(int(each) for each in places[nearest])

    def share_in_top_tenth(self, number: int) -> float | None:
        """How much of what is above `range`'s lower end lies in the highest tenth of places: 0.1 for an even map, 1 for
        a small spot; None where nothing speaks for the name."""
        low, high = self.range(number)
        if high <= low:
            return None
        above = np.sort(np.maximum(self.maps[number].ravel().astype(np.float64) - low, 0.0))[::-1]
        return float(above[: max(1, round(TENTH * above.size))].sum() / above.sum())
