"""The blocks of Medical SAM Adapter: SAM's, with bottleneck adapters and a second attention along the slices.

Wu et al. 2023, Medical SAM Adapter, sec. "SD-Trans": one set of attention weights serves space and depth. Written from
descriptions of the published behaviour, not from the published code.
"""

import math
from functools import partial
from typing import Literal

from einops import rearrange
from torch import nn

from hilum.parts.bottleneck_adapter import BottleneckAdapter, Skip
from hilum.parts.low_rank_layer import LowRankLayer, MergedLowRankLayer
from hilum.parts.sam import SamConfig, attention, mlp, norm, window
from hilum.parts.sam_image_encoder import (
    Attend,
    AttendWindowsFirst,
    Attention,
    Block,
    RelativePositions,
    Tokens,
    Transform,
    through_windows,
)

Grouping = Literal["published", "slices"]
LORA_GRID = 64  # the side of the global tables in the published LoRA blocks, whatever the grid of the image


class AttendSpaceAndDepth(nn.Module):
    """Within each slice and along the slices, by the same norm and attention; windows are cut before the norm.

    The batch holds groups of `slices` adjacent slices. Inside windows, "published" groups what lies side by side in the
    flattened batch, as the published code does: windows of one slice. "slices" groups one window of all slices.
    """

    def __init__(
        self,
        norm: nn.Module,
        attention: nn.Module,
        *,
        window: int | None,
        after: nn.Module,
        after_depth: nn.Module,
        slices: int,
        grouping: Grouping = "published",
    ):
        super().__init__()
        self.norm, self.attention, self.after, self.after_depth = norm, attention, after, after_depth
        self.window, self.slices, self.grouping = window, slices, grouping

    def forward(self, x: Tokens) -> Tokens:
        """Fewer slices than a group, down to a single picture, are a group of their own."""
        depth = min(self.slices, x.shape[0])
        if x.shape[0] % depth:
            raise ValueError(f"{x.shape[0]} slices are not whole groups of {depth}: give a multiple")
        return through_windows(partial(self.inside, slices=x.shape[0], depth=depth), x, self.window)

    def inside(self, x: Tokens, slices: int, depth: int) -> Tokens:
        """Both branches in one window of each slice."""
        between = 1 if self.grouping == "published" else x.shape[0] // slices  # entries from one of a group to the next
        return self.after(self.attention(self.norm(x))) + self.along_depth(x, depth, between)

    def along_depth(self, x: Tokens, depth: int, between: int) -> Tokens:
        """Each place of the map sees the same place of its group, laid out as a map that is nearly square."""
        rows, columns = near_square(depth)
        groups = rearrange(x, "(b r c n) h w d -> (b n h w) r c d", r=rows, c=columns, n=between)
        seen = self.after_depth(self.attention(self.norm(groups)))
        height, width = x.shape[1:3]
        return rearrange(seen, "(b n h w) r c d -> (b r c n) h w d", n=between, h=height, w=width)


def near_square(count: int) -> tuple[int, int]:
    """The two factors of a number that are nearest to each other, the smaller one first."""
    rows = next(rows for rows in range(math.isqrt(count), 0, -1) if count % rows == 0)
    return rows, count // rows


def adapted_mlp(config: SamConfig, *, inner: int, scale: float) -> Transform:
    """SAM's MLP with an adapter beside it."""
    beside = BottleneckAdapter(config.width, inner, scale=scale)
    return Transform(norm(config), mlp(config), beside=beside)


def attend_space(config: SamConfig, index: int, *, inner: int) -> AttendWindowsFirst:
    """The attention of a picture, and an adapter with a skip after it."""
    after = Skip(BottleneckAdapter(config.width, inner))
    return AttendWindowsFirst(norm(config), attention(config, index), window=window(config, index), after=after)


def attend_space_and_depth(
    config: SamConfig, index: int, *, inner: int, slices: int, grouping: Grouping
) -> AttendSpaceAndDepth:
    """The same for slices of a volume."""
    return AttendSpaceAndDepth(
        norm(config),
        attention(config, index),
        window=window(config, index),
        after=Skip(BottleneckAdapter(config.width, inner)),
        after_depth=BottleneckAdapter(config.width, inner),
        slices=slices,
        grouping=grouping,
    )


def lora_block(config: SamConfig, index: int, *, rank: int) -> Block:
    """SAM's block, norm before windows, with LoRA on query and value and on both layers of the MLP."""
    side = window(config, index) or LORA_GRID
    qkv = MergedLowRankLayer(config.width, config.width, tuned=(True, False, True), rank=rank)
    relative = RelativePositions(side, side, config.width // config.heads)
    attend = Attention(qkv, relative, nn.Linear(config.width, config.width), heads=config.heads)
    hidden, branch = config.mlp_ratio * config.width, mlp(config)
    branch.add_module("widen", LowRankLayer(config.width, hidden, rank=rank))
    branch.add_module("narrow", LowRankLayer(hidden, config.width, rank=rank))
    return Block(Attend(norm(config), attend, window=window(config, index)), Transform(norm(config), branch))
