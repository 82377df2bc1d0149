"""Swin (Liu et al. 2021) as transformers builds it; weights/tables/hub_swin.py has the names that its files carry."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from hilum.values.errors import MissingExtra


@dataclass(frozen=True, slots=True, kw_only=True)
class SwinSizes:
    """By default those of Swin-T, for 224 pixels in windows of 7 (Liu et al. 2021, sec. 3.3)."""

    image_size: int = 224
    patch: int = 4
    dim: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (3, 6, 12, 24)
    window: int = 7
    drop_path: float = 0.1

    @property
    def features(self) -> int:
        """Channels of the last stage."""
        return self.dim * 2 ** (len(self.depths) - 1)


def swin(sizes: SwinSizes) -> nn.Module:
    """transformers.SwinModel with fresh weights; `pooler_output` is the mean of its last states."""
    try:
        from transformers import SwinConfig, SwinModel
    except ImportError as error:
        raise MissingExtra("Swin", "transformers", "systems") from error
    config = SwinConfig(
        image_size=sizes.image_size,
        patch_size=sizes.patch,
        embed_dim=sizes.dim,
        depths=sizes.depths,
        num_heads=sizes.heads,
        window_size=sizes.window,
        drop_path_rate=sizes.drop_path,
    )
    return SwinModel(config)
