"""SAM's own objective: 20 focal + Dice of the mask, the best of several where the prompt is ambiguous, and the squared
error of the predicted overlap (Kirillov et al. 2023, sec. 3 "Losses and training" and appendix A "Training algorithm").
"""

from jaxtyping import Bool, Float
from torch import Tensor

from hilum.objectives.overlap import focal_map, soft_dice
from hilum.objectives.terms import Terms

FOCAL = 20.0  # weight of the focal term beside Dice (ibid.)


def prompted_masks(
    logits: Float[Tensor, "n m h w"], quality: Float[Tensor, "n m"], masks: Float[Tensor, "n 1 h w"]
) -> Terms:
    """For each prompt only the mask with the least loss learns; the overlaps of all m masks are predicted."""
    target = masks.expand_as(logits)
    focal = FOCAL * focal_map(logits, target).mean((-2, -1))
    dice = 1 - soft_dice(logits.sigmoid(), target)
    best = (focal + dice).argmin(dim=1, keepdim=True)
    missed = (quality - overlap(logits.detach() > 0, target > 0.5)) ** 2
    return Terms({"focal": focal.gather(1, best).mean(), "dice": dice.gather(1, best).mean(), "quality": missed.mean()})


def overlap(masks: Bool[Tensor, "*b h w"], target: Bool[Tensor, "*b h w"]) -> Float[Tensor, "*b"]:
    """Intersection over union of each mask as handed out; 1 for two empty masks."""
    shared, either = (masks & target).sum((-2, -1)), (masks | target).sum((-2, -1))
    return (shared.float() + 1e-6) / (either.float() + 1e-6)
