"""BERT (Devlin et al. 2019), the text tower of many systems, as transformers builds it and under its names.

What a system makes of the states (the first, the mean over the words, or over the padding as well) is its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from hilum.values.errors import MissingExtra

Attention = Literal["eager", "sdpa"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BertSizes:
    """By default those of BERT-base, uncased (Devlin et al. 2019, sec. 3), with the words of its file."""

    vocabulary: int = 30522
    width: int = 768
    layers: int = 12
    heads: int = 12
    hidden: int = 3072
    positions: int = 512
    kinds: int = 2  # of segments
    pad: int = 0  # the id that texts are padded with
    dropout: float = 0.1


def bert(sizes: BertSizes, *, pooler: bool = False, attention: Attention = "eager") -> nn.Module:
    """transformers.BertModel with fresh weights; `pooler` adds the tanh layer on the first state."""
    try:
        from transformers import BertConfig, BertModel
    except ImportError as error:
        raise MissingExtra("BERT", "transformers", "systems") from error
    config = BertConfig(
        vocab_size=sizes.vocabulary,
        hidden_size=sizes.width,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        intermediate_size=sizes.hidden,
        max_position_embeddings=sizes.positions,
        type_vocab_size=sizes.kinds,
        pad_token_id=sizes.pad,
        hidden_dropout_prob=sizes.dropout,
        attention_probs_dropout_prob=sizes.dropout,
    )
    network = BertModel(config, add_pooling_layer=pooler)
    network.set_attn_implementation(attention)
    return network


def last(
    network: nn.Module, ids: Int[Tensor, "n length"], mask: Bool[Tensor, "n length"]
) -> Float[Tensor, "n length d"]:
    """The last layer's states; `mask` says which ids are not padding."""
    return network(input_ids=ids, attention_mask=mask.long()).last_hidden_state


def first(network: nn.Module, ids: Int[Tensor, "n length"], mask: Bool[Tensor, "n length"]) -> Float[Tensor, "n d"]:
    """The last layer's state of the first id; places that are padding in every text are not read: they are masked."""
    longest = int(mask.any(dim=0).nonzero().max()) + 1
    return last(network, ids[:, :longest], mask[:, :longest])[:, 0]


def states(
    network: nn.Module, ids: Int[Tensor, "n length"], mask: Bool[Tensor, "n length"]
) -> tuple[Float[Tensor, "n length d"], ...]:
    """All states: [0] are the embeddings, [1] the first layer's, [-1] the last one's."""
    return network(input_ids=ids, attention_mask=mask.long(), output_hidden_states=True).hidden_states


def pooled(network: nn.Module, ids: Int[Tensor, "n length"], mask: Bool[Tensor, "n length"]) -> Float[Tensor, "n d"]:
    """What the pooler makes of the first state; for a network with one."""
    return network(input_ids=ids, attention_mask=mask.long()).pooler_output
