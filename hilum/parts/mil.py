"""Aggregators of bags: from the vectors of a slide's tiles to one answer for the slide, which alone has a label.

Bags of several slides are padded to one length; `present` says which vectors are there, and the others count for
nothing. Neither order nor padding changes an answer.
"""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn


def bagged(bags: list[Float[Tensor, "_ d"]]) -> tuple[Float[Tensor, "b n d"], Bool[Tensor, "b n"]]:
    """Bags of any lengths as one tensor, and which vectors are there."""
    if not bags or not all(len(bag) for bag in bags):
        raise ValueError("a bag without a vector cannot be judged: leave out slides that have no tile")
    lengths = torch.tensor([len(bag) for bag in bags], device=bags[0].device)
    padded = nn.utils.rnn.pad_sequence(bags, batch_first=True)
    return padded, torch.arange(padded.shape[1], device=padded.device) < lengths[:, None]


class GatedAttention(nn.Module):
    """a_k = softmax over the bag of w' (tanh(V h_k) * sigmoid(U h_k)) (Ilse et al. 2018, eq. 9)."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.meaning, self.gate = nn.Linear(width, hidden), nn.Linear(width, hidden)
        self.score = nn.Linear(hidden, 1)

    def forward(self, bag: Float[Tensor, "b n d"], present: Bool[Tensor, "b n"] | None = None) -> Float[Tensor, "b n"]:
        score = self.score(self.meaning(bag).tanh() * self.gate(bag).sigmoid()).squeeze(-1)
        return (score if present is None else score.masked_fill(~present, -torch.inf)).softmax(-1)


class GatedAttentionMil(nn.Module):
    """A bag is the sum of its vectors, weighted by attention; a linear layer judges it (Ilse et al. 2018, eq. 7, 9)."""

    def __init__(self, width: int, classes: int, *, hidden: int = 128):
        super().__init__()
        self.attention = GatedAttention(width, hidden)
        self.head = nn.Linear(width, classes)

    def forward(
        self, bag: Float[Tensor, "b n d"], present: Bool[Tensor, "b n"] | None = None
    ) -> tuple[Float[Tensor, "b classes"], Float[Tensor, "b n"]]:
        """The classes' logits, and how much each tile counted."""
        weights = self.attention(bag, present)
        return self.head(torch.einsum("bn,bnd->bd", weights, bag)), weights


class QueryMil(nn.Module):
    """Learned queries look at a bag by cross-attention, and each class has a logit of its own.

    In the manner of Agata, which the Virchow paper uses for pan-cancer detection; keys are made from the vectors and
    values from the keys, each through a GELU (remembered, unverified). One query for the whole, or several.
    """

    def __init__(self, width: int, classes: int, *, hidden: int = 256, queries: int = 1, heads: int = 4):
        super().__init__()
        self.heads = heads
        self.queries = nn.Parameter(0.02 * torch.randn(queries, hidden))
        self.key = nn.Sequential(nn.Linear(width, hidden), nn.GELU())
        self.value = nn.Sequential(nn.Linear(hidden, hidden), nn.GELU())
        self.norm = nn.LayerNorm(queries * hidden)
        self.head = nn.Linear(queries * hidden, classes)

    def forward(
        self, bag: Float[Tensor, "b n d"], present: Bool[Tensor, "b n"] | None = None
    ) -> tuple[Float[Tensor, "b classes"], Float[Tensor, "b n"]]:
        """The classes' logits, and how much each tile counted, in the mean over queries and heads."""
        keys = self.key(bag)
        key, value = (rearrange(x, "b n (h d) -> b h n d", h=self.heads) for x in (keys, self.value(keys)))
        query = rearrange(self.queries, "q (h d) -> h q d", h=self.heads)
        logits = torch.einsum("hqd,bhnd->bhqn", query, key) / query.shape[-1] ** 0.5
        if present is not None:
            logits = logits.masked_fill(~present[:, None, None], -torch.inf)
        weights = logits.softmax(-1)
        seen = rearrange(weights @ value, "b h q d -> b (q h d)")
        return self.head(self.norm(seen)), weights.mean((1, 2))
