"""What a ViT needs to be distilled from itself: prototypes, a token for hidden patches, and masks in blocks.

Caron et al. 2021 (DINO), sec. 3.1; Zhou et al. 2022 (iBOT), sec. 3.2; Oquab et al. 2023 (DINOv2), sec. 4.
"""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from hilum.nn.vit import Vit, resampled

ASPECT = 3.3  # of a block of hidden patches, at most; its least is the inverse (Bao et al. 2022, BEiT, algorithm 1)
LEAST = 4  # patches of a block (ibid.: 16 of a larger grid)
TRIES = 10


class PrototypeHead(nn.Module):
    """Three layers, a narrow unit vector, and its cosine with every prototype."""

    def __init__(self, width: int, prototypes: int, *, hidden: int = 2048, narrow: int = 256):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, narrow)
        )
        self.prototypes = nn.Parameter(torch.empty(prototypes, narrow))
        for part in self.mlp:
            if isinstance(part, nn.Linear):
                nn.init.trunc_normal_(part.weight, std=0.02)
                nn.init.zeros_(part.bias)
        nn.init.normal_(self.prototypes)

    def forward(self, features: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        return F.linear(F.normalize(self.mlp(features), dim=-1), F.normalize(self.prototypes, dim=-1))


class SelfDistilled(nn.Module):
    """An encoder and its two heads, one for class tokens and one for patches."""

    def __init__(self, encoder: Vit, class_head: nn.Module, patch_head: nn.Module):
        super().__init__()
        self.encoder, self.class_head, self.patch_head = encoder, class_head, patch_head
        self.hidden_token = nn.Parameter(torch.zeros(1, 1, encoder.config.dim))

    def forward(
        self, pixels: Float[Tensor, "b c h w"], hidden: Bool[Tensor, "b n"] | None = None
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b n d"]]:
        """Class tokens and patch tokens after the last norm; hidden patches show the learned token at their place."""
        encoder, config = self.encoder, self.encoder.config
        patches, position = encoder.patches(pixels)
        if hidden is not None:
            prefix = position.shape[1]
            grid = (pixels.shape[-2] // config.patch, pixels.shape[-1] // config.patch)
            places = resampled(encoder.pos_embed, grid, prefix=prefix, antialias=config.antialias)[:, prefix:]
            patches = torch.where(hidden.unsqueeze(-1), self.hidden_token + places, patches)
        tokens = encoder.norm(encoder.transformed(encoder.with_prefix(patches, position)))
        return tokens[:, 0], tokens[:, config.prefix :]

    def teacher(self) -> SelfDistilled:
        """A copy that is not trained and leaves nothing out."""
        return copy.deepcopy(self).requires_grad_(False).eval()


def block_mask(grid: tuple[int, int], count: int, rng: np.random.Generator) -> Bool[np.ndarray, "h w"]:
    """`count` patches of a grid (rows, columns), most of them in blocks, the rest one by one (DINOv2's masks)."""
    rows, columns = grid
    if not 0 <= count <= rows * columns:
        raise ValueError(f"{count} patches of a grid of {rows} x {columns} cannot be hidden")
    mask = np.zeros(grid, dtype=bool)
    for _ in range(TRIES):
        left = count - int(mask.sum())
        if left < LEAST:
            break
        area, aspect = rng.uniform(LEAST, left), math.exp(rng.uniform(-math.log(ASPECT), math.log(ASPECT)))
        height, width = (max(1, round(math.sqrt(area * ratio))) for ratio in (aspect, 1 / aspect))
        if height > rows or width > columns:
            continue
        top, start = rng.integers(0, [rows - height, columns - width], endpoint=True)
        block = mask.copy()
        block[top : top + height, start : start + width] = True
        mask = block if block.sum() <= count else mask
    spare = rng.permutation(np.flatnonzero(~mask))[: count - int(mask.sum())]
    mask.flat[spare] = True
    return mask
