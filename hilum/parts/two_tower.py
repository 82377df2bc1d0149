"""Two towers: vectors of pictures beside vectors of texts, and the ways in which several texts become one class."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock
from types import MethodType
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hilum.parts.remembered import state

Texts = Sequence[Sequence[str]]  # the texts of each class
Encode = Callable[[Sequence[str]], Tensor]  # texts -> (n, dim)
Key = tuple[tuple[str, ...], tuple[tuple[int, int], ...]]  # texts, and where the weights lie and how often they changed
TEXTS = 8192  # that a network's vectors are remembered of
READING = Lock()  # several threads may ask one system
READ: WeakKeyDictionary[nn.Module, OrderedDict[Key, Tensor]] = WeakKeyDictionary()


def unit(vectors: Float[Tensor, "*n dim"]) -> Float[Tensor, "*n dim"]:
    """Of length one."""
    return F.normalize(vectors, dim=-1)


def groups(encode: Encode, texts: Texts) -> list[Float[Tensor, "n dim"]]:
    """The vectors of each class's texts, all read at once; those of the last few lists of texts are remembered."""
    flat = tuple(text for each in texts for text in each)
    return list(read_once(encode, flat).split([len(each) for each in texts]))


def read_once(encode: Encode, flat: tuple[str, ...]) -> Float[Tensor, "n dim"]:
    """The vectors of texts read together, by a system's method: once for these weights, unless a gradient is wanted."""
    system: Any = encode.__self__ if isinstance(encode, MethodType) else None
    network: nn.Module | None = None if system is None else system.network
    if network is None or torch.is_grad_enabled():
        return encode(flat)
    key = flat, tuple(state(each) for each in network.parameters())
    with READING:
        known = READ.setdefault(network, OrderedDict())
        found = known.pop(key, None)
    vectors = encode(flat) if found is None else found
    with READING:
        known[key] = vectors  # at the end: the one read last
        while len(known) > 1 and sum(map(len, known.values())) > TEXTS:
            known.popitem(last=False)
    return vectors


def mean_of_units(vectors: Sequence[Float[Tensor, "n dim"]]) -> Float[Tensor, "classes dim"]:
    """Each text's vector at length one, their mean, at length one again (CLIP's ensemble of prompts)."""
    return unit(torch.stack([unit(each).mean(dim=0) for each in vectors]))


def unit_of_mean(vectors: Sequence[Float[Tensor, "n dim"]]) -> Float[Tensor, "classes dim"]:
    """The mean of the vectors as they are, at length one: long vectors weigh more."""
    return unit(torch.stack([each.mean(dim=0) for each in vectors]))


def pair_softmax(positive: Float[Tensor, "*n"], negative: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """The positive's share of the softmax over it and its negative."""
    return torch.stack([positive, negative]).softmax(dim=0)[0]
