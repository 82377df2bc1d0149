"""SAM's prompt encoder: points and boxes become tokens, a mask becomes a map (Kirillov et al. 2023, appendix A).

Coordinates are (x, y) in pixels of the network's input, integer = pixel centre; the half pixel is added here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn

from hilum.nn.channel_norm import ChannelNorm


@dataclass(frozen=True, slots=True, eq=False)
class SamPrompts:
    """n prompts for one input size; what is None was not given. Masks are logits at a quarter of the input's size."""

    points: Float[Tensor, "n k 2"] | None = None
    inside: Bool[Tensor, "n k"] | None = None
    boxes: Float[Tensor, "n 4"] | None = None
    masks: Float[Tensor, "n 1 h w"] | None = None
    present: Bool[Tensor, "n k"] | None = None  # false fills up prompts with fewer points; None: all are there

    def __post_init__(self) -> None:
        if (self.points is None) != (self.inside is None):
            raise ValueError("points and inside belong together: give both, or neither")
        if len({len(given) for given in (self.points, self.boxes, self.masks) if given is not None}) > 1:
            raise ValueError("points, boxes and masks must speak of the same number of prompts")

    def to(self, device: torch.device) -> SamPrompts:
        """The same prompts on a device."""
        fields = (self.points, self.inside, self.boxes, self.masks, self.present)
        return SamPrompts(*(None if given is None else given.to(device) for given in fields))

    def __len__(self) -> int:
        return next((len(given) for given in (self.points, self.boxes, self.masks) if given is not None), 1)


class FourierFeatures(nn.Module):
    """Sines and cosines of random projections of a place (Tancik et al. 2020); the matrix is part of the weights."""

    frequencies: Tensor

    def __init__(self, width: int):
        super().__init__()
        self.register_buffer("frequencies", torch.randn(2, width // 2))

    def forward(self, place: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n c"]:
        """Places are (x, y) in [0, 1], and kept from autocast, which would round them to 8 bits."""
        with torch.autocast(place.device.type, enabled=False):
            angle = 2 * math.pi * ((2 * place - 1) @ self.frequencies)
        return torch.cat([angle.sin(), angle.cos()], dim=-1)

    def grid(self, height: int, width: int) -> Float[Tensor, "1 c height width"]:
        """The features of every cell's centre: the sum formulas save most of the sines."""
        matrix = self.frequencies
        row, column = (
            2 * math.pi * (2 * (torch.arange(side, device=matrix.device, dtype=matrix.dtype) + 0.5) / side - 1)
            for side in (height, width)
        )
        x, y = torch.outer(column, matrix[0]), torch.outer(row, matrix[1]).unsqueeze(1)
        sine = x.sin() * y.cos() + x.cos() * y.sin()
        cosine = x.cos() * y.cos() - x.sin() * y.sin()
        return rearrange(torch.cat([sine, cosine], dim=-1), "h w c -> 1 c h w")


def mask_reader(width: int, hidden: int) -> nn.Sequential:
    """Two strided convolutions and a projection: from a quarter of the input's size down to the patch grid."""
    return nn.Sequential(
        nn.Conv2d(1, hidden // 4, 2, stride=2),
        ChannelNorm(hidden // 4),
        nn.GELU(),
        nn.Conv2d(hidden // 4, hidden, 2, stride=2),
        ChannelNorm(hidden),
        nn.GELU(),
        nn.Conv2d(hidden, width, 1),
    )


class PromptEncoder(nn.Module):
    """One token per point and two per box, and a map from the mask or from the vector that says there is none."""

    def __init__(self, fourier: FourierFeatures, reader: nn.Module, *, width: int):
        super().__init__()
        self.fourier = fourier
        self.mask_reader = reader
        self.negative, self.positive, self.low_corner, self.high_corner, self.not_a_point, self.no_mask = (
            nn.Parameter(torch.randn(1, width)) for _ in range(6)
        )

    def forward(
        self, prompts: SamPrompts, *, size: tuple[int, int], grid: tuple[int, int]
    ) -> tuple[Float[Tensor, "n t c"], Float[Tensor, "n c h w"]]:
        """Tokens and the dense map, for an input of size and grid (height, width)."""
        return self.sparse(prompts, size), self.dense(prompts, grid)

    def sparse(self, prompts: SamPrompts, size: tuple[int, int]) -> Float[Tensor, "n t c"]:
        """Points, then box corners."""
        tokens = [torch.empty(len(prompts), 0, self.no_mask.shape[-1], device=self.no_mask.device)]
        if prompts.points is not None:
            tokens.append(self.point_tokens(prompts, size))
        if prompts.boxes is not None:
            tokens.append(self.box_tokens(prompts.boxes, size))
        return torch.cat(tokens, dim=1)

    def lasting(self) -> tuple[Tensor, ...]:
        """What every prompt without a mask needs, whatever it says."""
        return self.no_mask, self.fourier.frequencies

    def point_tokens(self, prompts: SamPrompts, size: tuple[int, int]) -> Float[Tensor, "n k c"]:
        """Without a box one token more is appended that is no point, as SAM was trained with it."""
        points, inside = prompts.points, prompts.inside
        assert points is not None
        assert inside is not None
        present = torch.ones_like(inside) if prompts.present is None else prompts.present
        if prompts.boxes is None:
            points, inside, present = F.pad(points, (0, 0, 0, 1)), F.pad(inside, (0, 1)), F.pad(present, (0, 1))
        kind = torch.where(inside.unsqueeze(-1), self.positive, self.negative)
        return torch.where(present.unsqueeze(-1), self.place(points, size) + kind, self.not_a_point)

    def box_tokens(self, boxes: Float[Tensor, "n 4"], size: tuple[int, int]) -> Float[Tensor, "n 2 c"]:
        """Boxes are (x0, y0, x1, y1)."""
        corners = rearrange(boxes, "n (corner xy) -> n corner xy", xy=2)
        return self.place(corners, size) + torch.stack([self.low_corner, self.high_corner], dim=1)

    def place(self, xy: Float[Tensor, "n k 2"], size: tuple[int, int]) -> Float[Tensor, "n k c"]:
        """Fourier features of pixel centres; size is (height, width)."""
        height, width = size
        return self.fourier((xy + 0.5) / xy.new_tensor([width, height]))

    def dense(self, prompts: SamPrompts, grid: tuple[int, int]) -> Float[Tensor, "n c h w"]:
        """The map that is added to the image embedding."""
        if prompts.masks is not None:
            return self.mask_reader(prompts.masks)
        return repeat(self.no_mask, "1 c -> n c h w", n=len(prompts), h=grid[0], w=grid[1])
