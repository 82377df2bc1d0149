"""Two towers: vectors of pictures beside vectors of texts, and the ways in which several texts become one class."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Texts = Sequence[Sequence[str]]  # the texts of each class
Encode = Callable[[Sequence[str]], Tensor]  # texts -> (n, dim)


def unit(vectors: Float[Tensor, "*n dim"]) -> Float[Tensor, "*n dim"]:
    """Of length one."""
    return F.normalize(vectors, dim=-1)


def groups(encode: Encode, texts: Texts) -> list[Float[Tensor, "n dim"]]:
    """The vectors of each class's texts, all read at once."""
    flat = [text for each in texts for text in each]
    return list(encode(flat).split([len(each) for each in texts]))


def mean_of_units(vectors: Sequence[Float[Tensor, "n dim"]]) -> Float[Tensor, "classes dim"]:
    """Each text's vector at length one, their mean, at length one again (CLIP's ensemble of prompts)."""
    return unit(torch.stack([unit(each).mean(dim=0) for each in vectors]))


def unit_of_mean(vectors: Sequence[Float[Tensor, "n dim"]]) -> Float[Tensor, "classes dim"]:
    """The mean of the vectors as they are, at length one: long vectors weigh more."""
    return unit(torch.stack([each.mean(dim=0) for each in vectors]))


def pair_softmax(positive: Float[Tensor, "*n"], negative: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """The positive's share of the softmax over it and its negative."""
    return torch.stack([positive, negative]).softmax(dim=0)[0]
