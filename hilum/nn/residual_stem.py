"""A small ResNet that makes the patches of a hybrid transformer (He et al. 2016; Dosovitskiy et al. 2021, sec. 3.1)."""

from itertools import pairwise

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Residual(nn.Module):
    """Two convolutions with batch norms beside a shortcut; the first one may halve the picture."""

    def __init__(self, before: int, after: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(after), nn.BatchNorm2d(after)
        alike = before == after and stride == 1
        self.downsample = (
            nn.Identity()
            if alike
            else nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d rows columns"]:
        inside = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(inside + self.downsample(x))


def residual_stem(channels: int, stages: tuple[int, ...]) -> nn.Sequential:
    """One convolution that halves the picture, then for each further stage two residual blocks that halve it again."""
    first = nn.Sequential(
        nn.Conv2d(channels, stages[0], 3, 2, 1, bias=False), nn.BatchNorm2d(stages[0]), nn.ReLU(),
        nn.Conv2d(stages[0], stages[0], 3, 1, 1, bias=False), nn.BatchNorm2d(stages[0]), nn.ReLU(),
    )  # fmt: skip
    later = [nn.Sequential(Residual(before, after, 2), Residual(after, after, 1)) for before, after in pairwise(stages)]
    return nn.Sequential(first, *later)
