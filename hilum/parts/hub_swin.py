"""Swin (Liu et al. 2021) as transformers builds it, and the table from the names that files of its version 4 carry.

Version 5 renamed what is inside a block. A file of the old names, loaded without strictness, would leave every block at
random without a word; here it is the table's, and nothing else fits.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from hilum.values.errors import MissingExtra
from hilum.weights.rename import Rule, Table


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


OLD_NAMES = Table(
    Rule(r"(\.blocks\.\d+\.attention)\.self\.query\.", r"\1.q_proj."),
    Rule(r"(\.blocks\.\d+\.attention)\.self\.key\.", r"\1.k_proj."),
    Rule(r"(\.blocks\.\d+\.attention)\.self\.value\.", r"\1.v_proj."),
    Rule(
        r"(\.blocks\.\d+\.attention)\.self\.relative_position_bias_table",
        r"\1.relative_position_bias.relative_position_bias_table",
    ),
    Rule(r"(\.blocks\.\d+\.attention)\.output\.dense\.", r"\1.o_proj."),
    Rule(r"(\.blocks\.\d+)\.intermediate\.dense\.", r"\1.mlp.fc1."),
    Rule(r"(\.blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
)
