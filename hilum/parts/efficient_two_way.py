"""The two-way transformer of EfficientSAM, which differs from SAM's in where the tokens' positions go.

Xiong et al. 2023, EfficientSAM; Medical SAM Adapter took the decoder over in 2024. Written from a description of its
behaviour. `SelfUnplaced` and `SelfPlaced` take the place of SAM's `SelfReplace` and `SelfResidual`.
"""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from hilum.parts.sam import SamConfig, narrow_attention
from hilum.parts.sam_mask_decoder import CrossAttention, ReluMlp, TwoWayLayer

Queries = Float[Tensor, "n t c"]


class SelfUnplaced(nn.Module):
    """The first layer: no positional term, and a residual."""

    def __init__(self, attention: nn.Module):
        super().__init__()
        self.attention = attention

    def forward(self, queries: Queries, place: Queries) -> Queries:
        return queries + self.attention(queries, queries, queries)


class SelfPlaced(nn.Module):
    """The later layers: the positions are added to the queries for good, so that values and residual hold them too."""

    def __init__(self, attention: nn.Module):
        super().__init__()
        self.attention = attention

    def forward(self, queries: Queries, place: Queries) -> Queries:
        placed = queries + place
        return placed + self.attention(placed, placed, placed)


class Renamed(nn.Module):
    """A part of SAM's as it is, in a place of its own: the files of 2024 call its weights otherwise than SAM does."""

    def __init__(self, part: nn.Module):
        super().__init__()
        self.part = part

    def forward(self, *given: Any) -> Any:
        return self.part(*given)


def efficient_layer(config: SamConfig, index: int) -> TwoWayLayer:
    """A layer of the transformer."""
    width = config.channels
    attention = CrossAttention(width, width, heads=config.decoder_heads)
    return TwoWayLayer(
        SelfPlaced(attention) if index else SelfUnplaced(attention),
        narrow_attention(config),
        Renamed(ReluMlp(width, config.decoder_hidden, width)),
        narrow_attention(config),
        width=width,
    )
