"""SAM's own objective: 20 focal + Dice of the mask, the best of several where the prompt is ambiguous, and the squared
error of the predicted overlap (Kirillov et al. 2023, sec. 3 "Losses and training" and appendix A "Training algorithm").
"""

from collections.abc import Callable

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from hilum.objectives.overlap import focal_map, soft_dice
from hilum.objectives.terms import Terms

FOCAL = 20.0  # weight of the focal term beside Dice (ibid.)


PerPixel = Callable[[Tensor, Tensor], Tensor]


def focal(logits: Float[Tensor, "n m h w"], target: Float[Tensor, "n m h w"]) -> Float[Tensor, "n m"]:
    """The paper's term per pixel, weighted."""
    return FOCAL * focal_map(logits, target).mean((-2, -1))


def entropy(logits: Float[Tensor, "n m h w"], target: Float[Tensor, "n m h w"]) -> Float[Tensor, "n m"]:
    """Ours, for the start from random weights: there the focal term holds small networks at the empty mask."""
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean((-2, -1))


def prompted_masks(
    logits: Float[Tensor, "n m h w"],
    quality: Float[Tensor, "n m"],
    masks: Float[Tensor, "n 1 h w"],
    per_pixel: PerPixel = focal,
) -> Terms:
    """For each prompt only the mask with the least loss learns; the overlaps of all m masks are predicted."""
    target = masks.expand_as(logits)
    pixels = per_pixel(logits, target)
    dice = 1 - soft_dice(logits.sigmoid(), target)
    best = (pixels + dice).argmin(dim=1, keepdim=True)
    missed = (quality - overlap(logits.detach() > 0, target > 0.5)) ** 2
    terms = {per_pixel.__name__: pixels, "dice": dice}
    return Terms({name: term.gather(1, best).mean() for name, term in terms.items()} | {"quality": missed.mean()})


def overlap(masks: Bool[Tensor, "*b h w"], target: Bool[Tensor, "*b h w"]) -> Float[Tensor, "*b"]:
    """Intersection over union of each mask as handed out; 1 for two empty masks."""
    shared, either = (masks & target).sum((-2, -1)), (masks | target).sum((-2, -1))
    return (shared.float() + 1e-6) / (either.float() + 1e-6)
