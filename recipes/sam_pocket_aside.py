"""What helps a new encoder to look before its decoder asks it anything: heads that are thrown away afterwards.

From the embedding alone a linear map draws the picture again, and finer features group pixels: those of an object are
nearer to the object's mean than what lies around it. Without them a small SAM from nothing fills boxes and hardly looks
(after 26 thousand views its answer to a box was the same over another picture).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hilum.objectives.masked import patchified
from hilum.parts.sam import SamBatch, SamConfig

AROUND = 7  # cells of the finer grid around an object's box that count


class Aside(nn.Module):
    """Reconstruction and grouping, from the image encoder's output."""

    def __init__(self, config: SamConfig):
        super().__init__()
        self.patch = config.patch
        self.redrawn = nn.Conv2d(config.channels, 3 * config.patch**2, 1)
        half = config.channels // 2
        self.finer = nn.Sequential(
            nn.ConvTranspose2d(config.channels, half, 2, 2), nn.GELU(), nn.ConvTranspose2d(half, half // 2, 2, 2)
        )
        self.sharpness, self.middle = nn.Parameter(torch.tensor(10.0)), nn.Parameter(torch.tensor(0.5))

    def forward(self, embedding: Float[Tensor, "b c i j"], batch: SamBatch) -> Float[Tensor, ""]:
        """The mean squared error of the pixels, and cross-entropy and Dice of the groups."""
        redrawn = self.redrawn(embedding).flatten(2).transpose(1, 2)
        missed = F.mse_loss(redrawn, patchified(batch.pixels, self.patch))
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


def near(inside: Tensor) -> Float[Tensor, "b k h w"]:
    """1 in the box of each mask and a little around it."""

    def spanned(along: Tensor) -> Tensor:
        hit = along.float()
        between = (hit.cumsum(-1) > 0) & (hit.flip(-1).cumsum(-1).flip(-1) > 0)
        return F.max_pool1d(between.float(), 2 * AROUND + 1, 1, AROUND)

    return spanned(inside.any(-1))[..., None] * spanned(inside.any(-2))[..., None, :]
