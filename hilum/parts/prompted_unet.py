"""A small promptable U-Net (Ronneberger et al. 2015) with residual blocks (He et al. 2016), batch-independent norms
(Wu & He 2018), several candidate masks and a predicted quality for each (as SAM's decoder, Kirillov et al. 2023).

The two finest levels are folded: space-to-depth in, depth-to-space out, so that the work is done at half the size.
"""

import itertools

import torch
import torch.nn.functional as F
from einops import reduce
from jaxtyping import Float
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """x + conv(relu(norm(conv(relu(norm(x)))))): two pre-activated convolutions beside the identity."""

    def __init__(self, width: int, groups: int):
        super().__init__()
        self.first_norm = nn.GroupNorm(groups, width)
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second_norm = nn.GroupNorm(groups, width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        y = self.first(F.relu(self.first_norm(x)))
        return x + self.second(F.relu(self.second_norm(y)))


class PromptedUNet(nn.Module):
    """Channels (image, prompt maps) to `candidates` mask logits and the logit of each mask's expected Dice."""

    def __init__(self, channels: int, widths: tuple[int, ...], candidates: int, groups: int = 8):
        super().__init__()
        self.stem = nn.Conv2d(4 * channels, widths[0], 3, padding=1, bias=False)
        self.down = nn.ModuleList(
            nn.Conv2d(fine, coarse, 2, stride=2, bias=False) for fine, coarse in itertools.pairwise(widths)
        )
        self.encode = nn.ModuleList(ResidualBlock(width, groups) for width in widths)
        self.bottom = ResidualBlock(widths[-1], groups)
        self.up = nn.ModuleList(nn.Conv2d(coarse, fine, 1, bias=False) for fine, coarse in itertools.pairwise(widths))
        self.decode = nn.ModuleList(ResidualBlock(width, groups) for width in widths[:-1])
        self.last_norm = nn.GroupNorm(groups, widths[0])
        self.unfold = nn.Conv2d(widths[0], 4 * 8, 3, padding=1)
        self.fine = nn.Conv2d(8 + channels, 16, 3, padding=1)
        self.masks = nn.Conv2d(16, candidates, 1)
        self.judge = nn.Sequential(nn.Linear(widths[-1] + 2 * widths[0] + 2, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, x: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b k h w"], Float[Tensor, "b k"]]:
        y, deep = self.features(x)
        fine = F.pixel_shuffle(self.unfold(y), 2)
        logits = self.masks(F.relu(self.fine(torch.cat([fine, x], 1))))
        return logits, self.quality(logits, y, deep)

    def features(self, x: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b d u v"], Float[Tensor, "b e"]]:
        """Half-size features and the pooled deepest features."""
        y = self.encode[0](self.stem(F.pixel_unshuffle(x, 2)))
        skips = []
        for shrink, block in zip(self.down, list(self.encode)[1:], strict=True):
            skips.append(y)
            y = block(shrink(y))
        y = self.bottom(y)
        deep = reduce(y, "b c h w -> b c", "mean")
        for widen, block, skip in zip(reversed(self.up), reversed(self.decode), reversed(skips), strict=True):
            y = block(skip + F.interpolate(widen(y), scale_factor=2.0, mode="bilinear"))
        return F.relu(self.last_norm(y)), deep

    def quality(
        self, logits: Float[Tensor, "b k h w"], y: Float[Tensor, "b d u v"], deep: Float[Tensor, "b e"]
    ) -> Float[Tensor, "b k"]:
        """Judge each mask by the features under and around it, its size and its decidedness; it gets no gradient."""
        mask = torch.sigmoid(F.avg_pool2d(logits.detach(), 2))
        size = reduce(mask, "b k h w -> b k", "mean")
        under = torch.einsum("bkhw,bdhw->bkd", mask, y) / (mask.sum((2, 3)) + 1.0)[..., None]
        around = torch.einsum("bkhw,bdhw->bkd", 1 - mask, y) / ((1 - mask).sum((2, 3)) + 1.0)[..., None]
        doubt = reduce(mask * (1 - mask), "b k h w -> b k", "mean") / (size + 1e-3)
        deep = deep[:, None].expand(-1, mask.shape[1], -1)
        return self.judge(torch.cat([deep, under, around, size[..., None], doubt[..., None]], -1))[..., 0]
