"""The ResNet of bottlenecks, from torchvision's blocks and under its names, of any width (He et al. 2016, table 1)."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

EXPANSION = 4  # of a bottleneck's output over its inner width


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNetSizes:
    """By default ResNet-50's. `classes` is the width of a classifier that files carry and nothing uses; 0: none."""

    layers: tuple[int, int, int, int] = (3, 4, 6, 3)
    width: int = 64
    classes: int = 0

    @property
    def features(self) -> int:
        """Channels of the last maps."""
        return EXPANSION * 8 * self.width


class ResNet(nn.Module):
    """Pixels to the last maps, a 32nd of the picture's side: conv1, bn1, layer1 to layer4; `fc` rests."""

    def __init__(self, sizes: ResNetSizes):
        super().__init__()
        width = sizes.width
        self.conv1 = nn.Conv2d(3, width, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        given = width
        for number, count in enumerate(sizes.layers):
            inner = width * 2**number
            self.add_module(f"layer{number + 1}", _stage(given, inner, count, 1 if number == 0 else 2))
            given = EXPANSION * inner
        if sizes.classes:
            self.fc = nn.Linear(given, sizes.classes).requires_grad_(False)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d rows columns"]:
        maps = self.maxpool(self.relu(self.bn1(self.conv1(pixels))))
        for number in range(4):
            maps = self.get_submodule(f"layer{number + 1}")(maps)
        return maps


def _stage(given: int, inner: int, count: int, stride: int) -> nn.Sequential:
    """Blocks of one resolution; the first of them changes width and side."""
    from torchvision.models.resnet import Bottleneck

    made = EXPANSION * inner
    shortcut = nn.Sequential(nn.Conv2d(given, made, kernel_size=1, stride=stride, bias=False), nn.BatchNorm2d(made))
    rest = (Bottleneck(made, inner) for _ in range(count - 1))
    return nn.Sequential(Bottleneck(given, inner, stride, shortcut), *rest)
