"""Losses of overlap between a mask's logits and its target: soft Dice, Dice with cross-entropy, focal."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

SMOOTH = 1e-5


def soft_dice(probability: Float[Tensor, "*b h w"], target: Float[Tensor, "*b h w"]) -> Float[Tensor, "*b"]:
    """2 |p t| / (|p| + |t|) over each mask (Milletari et al. 2016, with plain sums below); 1 for two empty masks."""
    shared = (probability * target).sum((-2, -1))
    total = probability.sum((-2, -1)) + target.sum((-2, -1))
    return (2 * shared + SMOOTH) / (total + SMOOTH)


def squared_dice(probability: Float[Tensor, "*b h w"], target: Float[Tensor, "*b h w"]) -> Float[Tensor, "*b"]:
    """2 |p t| / (|p²| + |t²|): the denominator of V-Net (Milletari et al. 2016, eq. 1) and of MedSAM."""
    shared = (probability * target).sum((-2, -1))
    total = (probability**2).sum((-2, -1)) + (target**2).sum((-2, -1))
    return (2 * shared + SMOOTH) / (total + SMOOTH)


def cross_entropy(logits: Float[Tensor, "*b h w"], target: Float[Tensor, "*b h w"]) -> Float[Tensor, "*b"]:
    """Binary cross-entropy, the mean over each mask."""
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean((-2, -1))


def dice_bce(logits: Float[Tensor, "*b h w"], target: Float[Tensor, "*b h w"]) -> Float[Tensor, ""]:
    """MedSAM's loss (Ma et al. 2024, eq. 2-4): 1 - squared Dice, plus cross-entropy; both the mean over masks."""
    return (1 - squared_dice(torch.sigmoid(logits), target)).mean() + cross_entropy(logits, target).mean()


def focal(
    logits: Float[Tensor, "*b h w"], target: Float[Tensor, "*b h w"], *, alpha: float = 0.25, gamma: float = 2.0
) -> Float[Tensor, ""]:
    """Cross-entropy weighed by (1 - p)^gamma of the true class (Lin et al. 2017, eq. 5), the mean over pixels."""
    return focal_map(logits, target, alpha=alpha, gamma=gamma).mean()


def focal_map(
    logits: Float[Tensor, "*b h w"], target: Float[Tensor, "*b h w"], *, alpha: float = 0.25, gamma: float = 2.0
) -> Float[Tensor, "*b h w"]:
    """The same, pixel by pixel."""
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    surprise = 1 - torch.exp(-entropy)
    balance = alpha * target + (1 - alpha) * (1 - target)
    return balance * surprise**gamma * entropy


def hard_dice(logits: Float[Tensor, "*b h w"], target: Float[Tensor, "*b h w"]) -> Float[Tensor, "*b"]:
    """Dice of the masks as handed out (logit > 0 against target > 0.5); no gradient."""
    return soft_dice((logits.detach() > 0).float(), (target > 0.5).float())


def candidate_loss(
    logits: Float[Tensor, "b k h w"],
    quality: Float[Tensor, "b k"],
    target: Float[Tensor, "b 1 h w"],
    ambiguous: Bool[Tensor, " b"],
) -> dict[str, Float[Tensor, ""]]:
    """Candidate 0 answers clear prompts, the best of the others ambiguous ones (Kirillov et al. 2023, sec. 3 'Resolving
    ambiguity'); a tenth of the mean keeps every candidate alive. `quality` learns the Dice of each candidate."""
    target = target.expand_as(logits)
    each = 1 - soft_dice(torch.sigmoid(logits), target) + cross_entropy(logits, target)
    others = each[:, 1:]
    best = torch.where(ambiguous, others.amin(1) + 0.3 * each[:, 0], each[:, 0])
    judged = F.binary_cross_entropy_with_logits(quality, hard_dice(logits, target))
    return {"mask": best.mean() + 0.1 * others.mean(), "quality": 0.2 * judged}
