"""Whole beside whole, and words beside places: a picture's vector against a text's, and each word against the part of
the picture that it attends to.

The local part is that of Huang et al. 2021 (GLoRIA, sec. 3.2), which BioViL's authors cite; how theirs differs from it
is not public. Temperatures and weight are remembered, unverified, and therefore arguments.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from hilum.objectives.contrastive import info_nce


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One side of the pairs: a vector of the whole, vectors of its parts, and which of these are there."""

    whole: Float[Tensor, "n d"]
    parts: Float[Tensor, "n p d"]
    present: Bool[Tensor, "n p"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Temperatures:
    """Of the wholes; of a word's attention over places; of the sum over words; of the local similarities."""

    whole: float = 0.5
    attention: float = 0.25
    words: float = 0.2
    local: float = 0.1


def local_global(
    image: Side, text: Side, *, temperatures: Temperatures | None = None, local: float = 0.5
) -> dict[str, Float[Tensor, ""]]:
    """Both parts by name, the local one weighted."""
    by = temperatures or Temperatures()
    whole = info_nce(F.normalize(image.whole, dim=-1) @ F.normalize(text.whole, dim=-1).T / by.whole)
    return {"global": whole, "local": local * info_nce(local_similarity(image, text, by) / by.local)}


def local_similarity(image: Side, text: Side, by: Temperatures) -> Float[Tensor, "n m"]:
    """Of every picture (row) with every text (column): the soft maximum over a text's words of the cosine between the
    word and the mean of the places, weighted by its attention to them (ibid., eq. 3 to 5)."""
    places, words = F.normalize(image.parts, dim=-1), F.normalize(text.parts, dim=-1)
    cosine = torch.einsum("npd,mwd->nmwp", places, words)
    attention = (cosine / by.attention).masked_fill(~image.present[:, None, None], -torch.inf).softmax(-1)
    context = torch.einsum("nmwp,npd->nmwd", attention, places)
    agreement = torch.einsum("nmwd,mwd->nmw", F.normalize(context, dim=-1), words)
    return by.words * (agreement / by.words).masked_fill(~text.present[None], -torch.inf).logsumexp(-1)
