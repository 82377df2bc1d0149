"""Two streams of tokens that look at each other, layer by layer (Dou et al. 2022, METER, sec. 3.2.2, co-attention)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

TEXT, IMAGE = 0, 1  # which kind of token


@dataclass(frozen=True, slots=True, kw_only=True)
class FusionSizes:
    """By default those of the published METER and of PTUnifier."""

    dim: int = 768
    layers: int = 6
    heads: int = 12
    inner: int = 3072
    dropout: float = 0.1
    eps: float = 1e-5  # RoBERTa's


@dataclass(frozen=True, slots=True, eq=False)
class Fused:
    """Both streams after the last layer, and the pooled pair, text first."""

    text: Float[Tensor, "b t d"]
    image: Float[Tensor, "b n d"]
    pooled: Float[Tensor, "b 2*d"]


class Attending(nn.Module):
    """Tokens look at others, or at themselves; what they find is added, then normed."""

    def __init__(self, sizes: FusionSizes):
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(sizes.dim, sizes.dim) for _ in range(4))
        self.norm = nn.LayerNorm(sizes.dim, sizes.eps)
        self.heads, self.share = sizes.heads, sizes.dropout

    def forward(
        self, tokens: Float[Tensor, "b n d"], others: Float[Tensor, "b m d"], there: Bool[Tensor, "b m"] | None
    ) -> Float[Tensor, "b n d"]:
        split = "b n (heads d) -> b heads n d"
        given = (self.query(tokens), self.key(others), self.value(others))
        query, key, value = (rearrange(each, split, heads=self.heads) for each in given)
        mask = None if there is None else there[:, None, None]
        dropped = self.share if self.training else 0.0
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropped)
        made = self.out(rearrange(found, "b heads n d -> b n (heads d)"))
        return self.norm(tokens + F.dropout(made, self.share, self.training))


class FusionLayer(nn.Module):
    """Self-attention, attention to the other stream, and two linear layers, each with its norm behind it."""

    def __init__(self, sizes: FusionSizes):
        super().__init__()
        self.own, self.other = Attending(sizes), Attending(sizes)
        self.widen, self.narrow = nn.Linear(sizes.dim, sizes.inner), nn.Linear(sizes.inner, sizes.dim)
        self.norm = nn.LayerNorm(sizes.dim, sizes.eps)
        self.share = sizes.dropout

    def forward(
        self,
        tokens: Float[Tensor, "b n d"],
        others: Float[Tensor, "b m d"],
        *,
        there: Bool[Tensor, "b n"] | None = None,
        others_there: Bool[Tensor, "b m"] | None = None,
    ) -> Float[Tensor, "b n d"]:
        tokens = self.other(self.own(tokens, tokens, there), others, others_there)
        made = self.narrow(F.gelu(self.widen(tokens)))
        return self.norm(tokens + F.dropout(made, self.share, self.training))


class Fusion(nn.Module):
    """Tokens of a text and of an image, told their kind; all layers; a tanh pooler on each stream's first token."""

    def __init__(self, sizes: FusionSizes):
        super().__init__()
        self.kinds = nn.Embedding(2, sizes.dim)
        self.text_layers, self.image_layers = (
            nn.ModuleList(FusionLayer(sizes) for _ in range(sizes.layers)) for _ in (TEXT, IMAGE)
        )
        self.text_pooler, self.image_pooler = (nn.Linear(sizes.dim, sizes.dim) for _ in (TEXT, IMAGE))

    def forward(self, text: Float[Tensor, "b t d"], image: Float[Tensor, "b n d"], there: Bool[Tensor, "b t"]) -> Fused:
        """`there` says which tokens of the text are not padding."""
        text, image = self.streams(text, image, there)[-1]
        pooled = [self.text_pooler(text[:, 0]).tanh(), self.image_pooler(image[:, 0]).tanh()]
        return Fused(text, image, torch.cat(pooled, dim=-1))

    def streams(
        self, text: Float[Tensor, "b t d"], image: Float[Tensor, "b n d"], there: Bool[Tensor, "b t"]
    ) -> list[tuple[Tensor, Tensor]]:
        """(text, image) before each layer, and after the last; in a layer each stream sees the other as it came in."""
        found = [(text + self.kinds.weight[TEXT], image + self.kinds.weight[IMAGE])]
        for text_layer, image_layer in zip(self.text_layers, self.image_layers, strict=True):
            text, image = found[-1]
            found.append(
                (text_layer(text, image, there=there), image_layer(image, text, others_there=there)),
            )
        return found
