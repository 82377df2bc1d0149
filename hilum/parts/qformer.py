"""The querying transformer (Li et al. 2023, BLIP-2, sec. 3.1 and fig. 2): learned queries look at a picture, and share
their self-attention with a text. transformers' body under its names; what may see what is decided here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from hilum.parts.tokens import Tokens
from hilum.values.errors import MissingExtra

Seen = Float[Tensor, "b n seen"]
States = Float[Tensor, "b length width"]


@dataclass(frozen=True, slots=True, kw_only=True)
class QFormerSizes:
    """By default BLIP-2's: BERT-base with a look at the picture in every second layer. `seen`: width of its patches."""

    seen: int
    queries: int = 32
    width: int = 768
    layers: int = 12
    heads: int = 12
    hidden: int = 3072
    every: int = 2
    vocabulary: int = 30522
    positions: int = 512
    dropout: float = 0.1


class QFormer(nn.Module):
    """Queries and words in one body, in the four ways in which BLIP-2 uses it."""

    def __init__(self, sizes: QFormerSizes):
        super().__init__()
        self.queries = nn.Parameter(torch.zeros(1, sizes.queries, sizes.width))
        self.words = nn.Embedding(sizes.vocabulary, sizes.width, padding_idx=0)
        self.places = nn.Embedding(sizes.positions, sizes.width)
        self.body = body(sizes)
        nn.init.normal_(self.queries, std=0.02)
        for table in (self.words, self.places):
            nn.init.normal_(table.weight, std=0.02)

    def looked(self, seen: Seen) -> States:
        """The queries alone, before the picture."""
        return self._through(self.queries.expand(len(seen), -1, -1), seen, None)

    def read(self, text: Tokens) -> States:
        """The words alone."""
        return self._through(self._embedded(text), None, text.mask[:, None])

    def met(self, seen: Seen, text: Tokens) -> States:
        """Queries, then words, each of which sees all: whether picture and text belong together."""
        everyone = torch.cat([self._all_queries(text), text.mask], dim=1)
        return self._through(self._joined(text), seen, everyone[:, None])

    def told(self, seen: Seen, text: Tokens) -> States:
        """The words, each of which sees the queries and what was said before it; the queries see no word."""
        count, length = self.queries.shape[1], text.ids.shape[1]
        before = torch.ones(length, length, dtype=torch.bool, device=text.ids.device).tril()
        of_words = torch.cat([before.new_ones(length, count), before], dim=1)
        of_queries = torch.cat([before.new_ones(count, count), before.new_zeros(count, length)], dim=1)
        there = torch.cat([self._all_queries(text), text.mask], dim=1)
        allowed = torch.cat([of_queries, of_words])[None] & there[:, None]
        return self._through(self._joined(text), seen, allowed)[:, count:]

    def _all_queries(self, text: Tokens) -> Bool[Tensor, "b queries"]:
        return text.mask.new_ones(len(text.ids), self.queries.shape[1])

    def _embedded(self, text: Tokens) -> States:
        return self.words(text.ids) + self.places.weight[: text.ids.shape[1]]

    def _joined(self, text: Tokens) -> States:
        return torch.cat([self.queries.expand(len(text.ids), -1, -1), self._embedded(text)], dim=1)

    def _through(self, states: States, seen: Seen | None, allowed: Bool[Tensor, "b _ length"] | None) -> States:
        """Through the body; `allowed` says for each state (or for all alike) which it may see."""
        mask = None
        if allowed is not None:
            least = torch.finfo(states.dtype).min
            allowed = allowed.expand(-1, states.shape[1], -1)
            mask = torch.zeros(allowed.shape, device=states.device).masked_fill(~allowed, least)[:, None]
        count = 0 if seen is None else self.queries.shape[1]
        return self.body(
            query_embeds=states, query_length=count, attention_mask=mask, encoder_hidden_states=seen
        ).last_hidden_state


def body(sizes: QFormerSizes) -> nn.Module:
    """transformers' Blip2QFormerModel, with the branch for words."""
    try:
        from transformers import Blip2QFormerConfig, Blip2QFormerModel
    except ImportError as error:
        raise MissingExtra("a Q-Former", "transformers", "systems") from error
    config = Blip2QFormerConfig(
        vocab_size=sizes.vocabulary,
        hidden_size=sizes.width,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        intermediate_size=sizes.hidden,
        max_position_embeddings=sizes.positions,
        cross_attention_frequency=sizes.every,
        encoder_hidden_size=sizes.seen,
        hidden_dropout_prob=sizes.dropout,
        attention_probs_dropout_prob=sizes.dropout,
        use_qformer_text_input=True,
    )
    config._attn_implementation = "eager"
    return Blip2QFormerModel(config)
