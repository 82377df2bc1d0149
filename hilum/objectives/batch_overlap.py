"""Overlap of a whole batch as one number: all its masks are laid out as one, so that large objects weigh more."""

from jaxtyping import Float
from torch import Tensor

SMALL = 1e-7


def batch_dice(
    probability: Float[Tensor, "*b h w"], target: Float[Tensor, "*b h w"], *, smooth: float = 1.0
) -> Float[Tensor, ""]:
    """(2 |p t| + smooth) / (|p| + |t| + smooth) over all masks together."""
    shared, total = (probability * target).sum(), probability.sum() + target.sum()
    return (2 * shared + smooth) / (total + smooth)


def batch_iou(probability: Float[Tensor, "*b h w"], target: Float[Tensor, "*b h w"]) -> Float[Tensor, ""]:
    """|p t| / (|p| + |t| - |p t|) over all masks together: the soft overlap that SAM-Med2D's head learns to predict."""
    shared, total = (probability * target).sum(), probability.sum() + target.sum()
    return (shared + SMALL) / (total - shared + SMALL)
