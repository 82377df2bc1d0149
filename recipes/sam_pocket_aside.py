"""What helps a new encoder to look before its decoder asks it anything: heads that are thrown away afterwards.

From the embedding alone a linear map draws the picture again, at half its size, another says where each patch is, and
finer features group pixels: those of an object are nearer to the object's mean than what lies around it. Without them
(and without positions to begin with) a small SAM from nothing fills boxes roughly and hardly looks: after 26 thousand
views its answer to a box was the same over another picture.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hilum.objectives.masked import patchified
from hilum.parts.sam import SamBatch, SamConfig

CELL = 8  # pixels of a patch's side when it is drawn again
AROUND = 7  # cells of the finer grid around an object's box that count


class Aside(nn.Module):
    """Reconstruction and grouping, from the image encoder's output."""

    def __init__(self, config: SamConfig):
        super().__init__()
        self.redrawn = nn.Conv2d(config.channels, 3 * CELL**2, 1)
        self.placed = nn.Conv2d(config.channels, 4, 1)
        half = config.channels // 2
        self.finer = nn.Sequential(
            nn.ConvTranspose2d(config.channels, half, 2, 2), nn.GELU(), nn.ConvTranspose2d(half, half // 2, 2, 2)
        )
        self.sharpness, self.middle = nn.Parameter(torch.tensor(10.0)), nn.Parameter(torch.tensor(0.5))

    def forward(self, embedding: Float[Tensor, "b c i j"], batch: SamBatch) -> Float[Tensor, ""]:
        """The mean squared errors of pixels and places, and cross-entropy and Dice of the groups."""
        grid = embedding.shape[-1]
        small = F.interpolate(batch.pixels, size=(CELL * grid, CELL * grid), mode="area")
        redrawn = self.redrawn(embedding).flatten(2).transpose(1, 2)
        missed = F.mse_loss(redrawn, patchified(small, CELL))
        missed = missed + F.mse_loss(self.placed(embedding), places(grid).expand(len(embedding), -1, -1, -1))
        return missed + self.grouped(F.normalize(self.finer(embedding), dim=1), batch.masks)

    def grouped(self, features: Float[Tensor, "b c h w"], masks: Float[Tensor, "n 1 s s"]) -> Float[Tensor, ""]:
        """Each object's pixels by their nearness to its mean, within and around its box."""
        cells = F.interpolate(masks, size=features.shape[-2:], mode="area")
        inside = cells.reshape(len(features), -1, *features.shape[-2:])
        mean = F.normalize(torch.einsum("bchw,bkhw->bkc", features, inside), dim=-1)
        logits = self.sharpness * (torch.einsum("bchw,bkc->bkhw", features, mean) - self.middle)
        where = near(inside > 0.5)
        entropy = F.binary_cross_entropy_with_logits(logits, inside, reduction="none") * where
        share = logits.sigmoid() * where
        dice = (2 * (share * inside).sum((-2, -1)) + 1) / (share.sum((-2, -1)) + inside.sum((-2, -1)) + 1)
        return (entropy.sum((-2, -1)) / where.sum((-2, -1)).clamp(1)).mean() + 1 - dice.mean()


def places(grid: int) -> Float[Tensor, "4 g g"]:
    """x, y, x² and y² of each patch, -1 to 1: whether a patch lies in an ellipse is linear in them."""
    along = torch.linspace(-1, 1, grid)
    y, x = torch.meshgrid(along, along, indexing="ij")
    return torch.stack([x, y, x**2, y**2])


def near(inside: Tensor) -> Float[Tensor, "b k h w"]:
    """1 in the box of each mask and a little around it."""

    def spanned(along: Tensor) -> Tensor:
        hit = along.float()
        between = (hit.cumsum(-1) > 0) & (hit.flip(-1).cumsum(-1).flip(-1) > 0)
        return F.max_pool1d(between.float(), 2 * AROUND + 1, 1, AROUND)

    return spanned(inside.any(-1))[..., None] * spanned(inside.any(-2))[..., None, :]
