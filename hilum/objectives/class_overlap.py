"""Overlap of classes that exclude each other: soft Dice of a softmax against a label map."""

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

SMOOTH = 1e-5


def class_dice(logits: Float[Tensor, "b k h w"], labels: Int[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """2 |p t| / (|p²| + |t²|) of each class over the whole batch, background included; the mean over classes."""
    probability = logits.softmax(dim=1)
    target = rearrange(F.one_hot(labels, logits.shape[1]), "b h w k -> b k h w").to(logits.dtype)
    shared = (probability * target).sum((0, 2, 3))
    total = (probability**2).sum((0, 2, 3)) + (target**2).sum((0, 2, 3))
    return ((2 * shared + SMOOTH) / (total + SMOOTH)).mean()


def foreground_dice_loss(logits: Float[Tensor, "b k h w"], labels: Int[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """1 - (2 |p t| + 1) / (|p²| + |t²| + 1) of each class over the whole batch, background left out.

    As AutoSAM's published loss does, the mean is over the classes whose term is above zero; where none is, it is zero.
    """
    probability = logits.softmax(dim=1)[:, 1:]
    target = rearrange(F.one_hot(labels, logits.shape[1]), "b h w k -> b k h w")[:, 1:].to(logits.dtype)
    shared = (probability * target).sum((0, 2, 3))
    total = (probability**2).sum((0, 2, 3)) + (target**2).sum((0, 2, 3))
    terms = 1 - (2 * shared + 1) / (total + 1)
    counted = terms[terms > 0]
    return counted.mean() if len(counted) else terms.sum() * 0
