"""Bottleneck adapters: down, GELU, up; born with nothing in the last layer, so that a fresh one changes nothing.

Houlsby et al. 2019, Parameter-efficient transfer learning for NLP, sec. 2; Wu et al. 2023 (Medical SAM Adapter) put
them into SAM's blocks.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class BottleneckAdapter(nn.Module):
    """scale * up(GELU(down x)): a branch of its own, without a skip."""

    def __init__(self, width: int, inner: int, *, scale: float = 1.0):
        super().__init__()
        self.down, self.up = nn.Linear(width, inner), nn.Linear(inner, width)
        self.scale = scale
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Float[Tensor, "*b c"]) -> Float[Tensor, "*b c"]:
        return self.scale * self.up(F.gelu(self.down(x)))


class Skip(nn.Module):
    """x + inner(x)."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)
