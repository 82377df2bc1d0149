"""How a number changes over a training: a linear warm-up, then half a cosine."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cosine:
    """From 0 up to `first` in `warm_up` steps (where there are any), then to `last` at the end of `steps`."""

    first: float
    last: float
    steps: int
    warm_up: int = 0

    def __call__(self, step: int) -> float:
        if step < self.warm_up:
            return self.first * (step + 1) / self.warm_up
        share = min(1.0, (step - self.warm_up) / max(1, self.steps - self.warm_up))
        return self.last + (self.first - self.last) * (1 + math.cos(math.pi * share)) / 2
