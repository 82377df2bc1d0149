"""A 3-D Swin UNETR (Hatamizadeh et al. 2022) as a source of features: MONAI's, with the merging of its 0.8 and 0.9.

That merging joins eight neighbours of which two come twice and two never. Later versions corrected it under the same
tensor names, so that weights from then load into them without complaint and give wrong numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hilum.values.errors import MissingExtra

NEIGHBOURS = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 0), (0, 0, 1), (1, 1, 1))


@dataclass(frozen=True, slots=True)
class SwinUnetrConfig:
    """Sizes; the deepest features have 16 times `feature` channels at a 32nd of the side."""

    feature: int = 48
    depths: tuple[int, int, int, int] = (2, 2, 2, 2)
    heads: tuple[int, int, int, int] = (3, 6, 12, 24)
    window: int = 7

    @property
    def deepest(self) -> int:
        """Channels of the deepest features."""
        return 16 * self.feature


class EarlyMerging(nn.Module):
    """Eight neighbours of a grid become one of twice the channels, in the order of MONAI 0.8 and 0.9; an odd side gets
    one row of zeros."""

    def __init__(self, dim: int, norm_layer: type[nn.LayerNorm] = nn.LayerNorm, spatial_dims: int = 3):
        super().__init__()
        self.reduction = nn.Linear(8 * dim, 2 * dim, bias=False)
        self.norm = norm_layer(8 * dim)

    def forward(self, x: Float[Tensor, "b x y z c"]) -> Float[Tensor, "b x2 y2 z2 c2"]:
        odd = [side % 2 for side in x.shape[1:4]]
        if any(odd):
            x = F.pad(x, (0, 0, 0, odd[2], 0, odd[1], 0, odd[0]))
        joined = torch.cat([x[:, i::2, j::2, k::2] for i, j, k in NEIGHBOURS], dim=-1)
        return self.reduction(self.norm(joined))


class SwinUnetr(nn.Module):
    """The encoder and decoder of MONAI's network under MONAI's names, without its last layer."""

    def __init__(self, parts: Mapping[str, nn.Module]):
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(
        self, x: Float[Tensor, "b 1 x y z"]
    ) -> tuple[Float[Tensor, "b deep i j k"], Float[Tensor, "b c x y z"]]:
        """The deepest features (encoder10) and those of full size (decoder1)."""
        part: dict[str, Any] = dict(self.named_children())
        stem, half, fourth, eighth, last = part["swinViT"](x, True)
        skips = [part["encoder1"](x), part["encoder2"](stem), part["encoder3"](half), part["encoder4"](fourth), eighth]
        deepest = up = part["encoder10"](last)
        for level, skip in zip((5, 4, 3, 2, 1), reversed(skips), strict=True):
            up = part[f"decoder{level}"](up, skip)
        return deepest, up


class _LinspaceOnCpu(TorchFunctionMode):
    """MONAI reads numbers out of a `linspace` while it builds, which the meta device cannot give."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = dict(kwargs or {})
        if func is torch.linspace:
            given["device"] = "cpu"
        return func(*args, **given)


def swin_unetr(config: SwinUnetrConfig) -> SwinUnetr:
    """Fresh, for one channel."""
    try:
        from monai.networks.nets.swin_unetr import SwinUNETR
    except ImportError as error:
        raise MissingExtra("Swin UNETR", "monai", "systems") from error
    with _LinspaceOnCpu():
        whole = SwinUNETR(
            in_channels=1,
            out_channels=1,
            feature_size=config.feature,
            depths=config.depths,
            num_heads=config.heads,
            window_size=config.window,
            downsample=EarlyMerging,  # type: ignore[arg-type]  # the class is called with a width, as its own are
        )
    return SwinUnetr({name: part for name, part in whole.named_children() if name != "out"})
