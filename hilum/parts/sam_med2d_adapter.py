"""SAM-Med2D's adapter: a gate on the channels, a detour through half the grid, a norm (Cheng et al. 2023).

It works beside the MLP of every block, on the same normalised tokens. It can be dropped at test time: then the block
is SAM's own again ("SAM-Med2D*" in the published tables), and `Idle` keeps its place in the file.
"""

import torch
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor, nn

Tokens = Float[Tensor, "b h w c"]


class Adapter(nn.Module):
    """norm(y + up(down(g y))), with g a gate per channel; no bias but the norm's. The grid's sides must be even."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.channel = nn.Sequential(
            nn.Linear(width, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, width, bias=False), nn.Sigmoid()
        )
        self.spatial = nn.Sequential(
            nn.Conv2d(width, width, 3, stride=2, padding=1, bias=False),
            nn.ReLU(),
            nn.ConvTranspose2d(width, width, 4, stride=2, padding=1, bias=False),
            nn.ReLU(),
        )
        self.norm = nn.LayerNorm(width)
        for layer in (*self.channel, *self.spatial):
            for weight in layer.parameters():
                nn.init.kaiming_normal_(weight, mode="fan_out")

    def forward(self, y: Tokens) -> Tokens:
        gate = self.channel(reduce(y, "b h w c -> b 1 1 c", "mean"))
        detour = self.spatial(rearrange(gate * y, "b h w c -> b c h w"))
        return self.norm(y + rearrange(detour, "b c h w -> b h w c"))


class Idle(nn.ModuleDict):
    """A branch whose weights are carried, under their own names, and that adds nothing."""

    def __init__(self, branch: nn.Module):
        super().__init__(dict(branch.named_children()))
        self.requires_grad_(False)

    def forward(self, y: Tokens) -> Float[Tensor, ""]:
        return torch.zeros((), dtype=y.dtype, device=y.device)
