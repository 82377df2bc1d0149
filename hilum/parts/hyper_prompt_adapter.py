"""Adapters of the mask decoder, one of them with weights that the prompt itself writes: our reading of "HyP-Adpt".

Wu et al. 2023, Medical SAM Adapter, sec. "Hyper-Prompting Adapter": the prompt is projected and reshaped to a map of
weights, which multiplies the adapter's narrow embedding. The published code does not contain it; sizes, the norm's
place and where the three adapters of a layer go are read from the paper and otherwise ours.
"""

import torch.nn.functional as F
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor, nn

from hilum.parts.bottleneck_adapter import BottleneckAdapter
from hilum.parts.sam_mask_decoder import TwoWayLayer

Queries = Float[Tensor, "n t c"]


class HyperPromptAdapter(nn.Module):
    """up(ReLU(norm(W(prompt) down(x)))): each token has a matrix of its own, made from its prompt."""

    def __init__(self, width: int, inner: int):
        super().__init__()
        self.down, self.up = nn.Linear(width, inner), nn.Linear(inner, width)
        self.written = nn.Linear(width, inner * inner)
        self.norm = nn.LayerNorm(inner)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Queries, prompt: Queries) -> Queries:
        narrow = self.down(x)
        weights = rearrange(self.written(prompt), "n t (i o) -> n t i o", i=narrow.shape[-1])
        seen = einsum(narrow, weights, "n t i, n t i o -> n t o")
        return self.up(F.relu(self.norm(seen)))


class PromptAdaptedLayer(nn.Module):
    """A layer of SAM's two-way transformer with three adapters, under the layer's own names beside theirs.

    `hyper` follows the tokens' look at the image, `beside` lies beside the MLP, `after` follows the image's look back.
    """

    def __init__(self, layer: TwoWayLayer, *, hyper: nn.Module, beside: nn.Module, after: nn.Module):
        super().__init__()
        self.self_attend, self.to_image, self.mlp, self.to_tokens = (
            layer.self_attend,
            layer.to_image,
            layer.mlp,
            layer.to_tokens,
        )
        self.self_norm, self.image_norm, self.mlp_norm, self.key_norm = (
            layer.self_norm,
            layer.image_norm,
            layer.mlp_norm,
            layer.key_norm,
        )
        self.hyper, self.beside, self.after = hyper, beside, after

    def forward(
        self, queries: Queries, keys: Queries, query_place: Queries, key_place: Queries
    ) -> tuple[Queries, Queries]:
        """The tokens' places are the prompt itself, which writes the weights."""
        queries = self.self_norm(self.self_attend(queries, query_place))
        placed = keys + key_place
        seen = self.to_image(queries + query_place, placed, keys)
        queries = self.image_norm(queries + seen + self.hyper(seen, query_place))
        queries = self.mlp_norm(queries + self.mlp(queries) + self.beside(queries))
        keys = keys + self.to_tokens(placed, queries + query_place, queries)
        return queries, self.key_norm(keys + self.after(keys))


def prompt_adapted(layer: TwoWayLayer, width: int, *, inner: int, scale: float) -> PromptAdaptedLayer:
    """The layer with fresh adapters, which change nothing yet."""
    return PromptAdaptedLayer(
        layer,
        hyper=HyperPromptAdapter(width, inner),
        beside=BottleneckAdapter(width, inner, scale=scale),
        after=BottleneckAdapter(width, inner),
    )
