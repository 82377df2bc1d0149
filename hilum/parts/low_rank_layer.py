"""LoRA as loralib lays it out: the factors lie in the layer, beside the weight and bias that they change.

Hu et al. 2021, sec. 4.1. The wrapped kind, which keeps its host apart, is another layout of the same idea.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor, nn


class LowRankLayer(nn.Linear):
    """W x + b + up(down(x)) / rank; up is zero at birth."""

    def __init__(self, width: int, out: int, *, rank: int):
        super().__init__(width, out)
        self.down, self.up = nn.Parameter(torch.empty(rank, width)), nn.Parameter(torch.zeros(out, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, x: Float[Tensor, "*b i"]) -> Float[Tensor, "*b o"]:
        return super().forward(x) + F.linear(F.linear(x, self.down), self.up) / len(self.down)


class MergedLowRankLayer(nn.Linear):
    """A fused projection of several equal parts, some of which (`tuned`) have factors of their own.

    `down` stacks the tuned parts' ranks, `up` their rows, both in the parts' order.
    """

    def __init__(self, width: int, part: int, *, tuned: Sequence[bool], rank: int):
        super().__init__(width, part * len(tuned))
        count = sum(tuned)
        self.tuned, self.rank = tuple(tuned), rank
        self.down = nn.Parameter(torch.empty(count * rank, width))
        self.up = nn.Parameter(torch.zeros(count * part, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, x: Float[Tensor, "*b i"]) -> Float[Tensor, "*b o"]:
        narrow = rearrange(F.linear(x, self.down), "... (part rank) -> ... part rank", rank=self.rank)
        up = rearrange(self.up, "(part out) rank -> part out rank", part=narrow.shape[-2])
        changes = iter(einsum(narrow, up, "... part rank, part out rank -> ... part out").unbind(-2))
        parts = super().forward(x).chunk(len(self.tuned), dim=-1)
        changed = [
            whole + next(changes) / self.rank if tuned else whole
            for whole, tuned in zip(parts, self.tuned, strict=True)
        ]
        return torch.cat(changed, dim=-1)
