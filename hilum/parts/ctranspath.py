"""CTransPath's encoder (Wang et al. 2022): a Swin-T whose patches are made by a small stack of convolutions."""

from __future__ import annotations

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from hilum.nn.swin import Swin, SwinConfig


class ConvStem(nn.Module):
    """Twice a convolution that halves the sides, then a linear map of each patch and a norm."""

    def __init__(self, dim: int):
        super().__init__()
        self.proj = nn.Sequential(*_halving(3, dim // 8), *_halving(dim // 8, dim // 4), nn.Conv2d(dim // 4, dim, 1))
        self.norm = nn.LayerNorm(dim)

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b n d"]:
        return self.norm(rearrange(self.proj(pixels), "b d h w -> b (h w) d"))


def _halving(given: int, made: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(given, made, kernel_size=3, stride=2, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(made), nn.ReLU()


def ctranspath(config: SwinConfig) -> Swin:
    """The encoder, for patches of 4 pixels."""
    if config.patch != 4:
        raise ValueError(f"CTransPath's stem makes patches of 4 pixels, not of {config.patch}")
    return Swin(config, ConvStem(config.dim))
