"""BERT's head for masked words: which word stands at a place, by the words' own embeddings (Devlin et al. 2019)."""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class WordHead(nn.Module):
    """States to scores of all words; the last matrix is the table of embeddings, which is handed in."""

    def __init__(self, width: int, vocabulary: int, *, eps: float = 1e-12):
        super().__init__()
        self.transform = nn.Sequential(
            OrderedDict(dense=nn.Linear(width, width), act=nn.GELU(), LayerNorm=nn.LayerNorm(width, eps))
        )
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(
        self, states: Float[Tensor, "*b width"], words: Float[Tensor, "vocabulary width"]
    ) -> Float[Tensor, "*b vocabulary"]:
        return F.linear(self.transform(states), words, self.bias)
