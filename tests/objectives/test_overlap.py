"""Losses of overlap, against their definitions and against MONAI where it is installed."""

import pytest
import torch

from hilum.objectives.overlap import candidate_loss, cross_entropy, dice_bce, focal, hard_dice, soft_dice, squared_dice


def pair(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, 1, 8, 9, generator=generator)
    return logits, (torch.rand(3, 1, 8, 9, generator=generator) > 0.6).float()


def test_a_mask_overlaps_itself_wholly():
    _, target = pair()
    assert torch.allclose(soft_dice(target, target), torch.ones(3, 1))
    assert torch.allclose(squared_dice(target, target), torch.ones(3, 1))


def test_two_empty_masks_agree():
    nothing = torch.zeros(1, 4, 4)
    assert soft_dice(nothing, nothing).item() == 1.0


def test_soft_and_squared_dice_are_their_formulas():
    logits, target = pair()
    p = torch.sigmoid(logits)
    shared = (p * target).sum((-2, -1))
    assert torch.allclose(soft_dice(p, target), 2 * shared / (p + target).sum((-2, -1)), atol=1e-5)
    assert torch.allclose(squared_dice(p, target), 2 * shared / (p**2 + target**2).sum((-2, -1)), atol=1e-5)


def test_dice_bce_is_the_published_loss():
    """MedSAM trains with MONAI's DiceLoss(sigmoid, squared_pred, mean) plus BCEWithLogitsLoss(mean)."""
    losses = pytest.importorskip("monai.losses")
    logits, target = pair()
    theirs = losses.DiceLoss(sigmoid=True, squared_pred=True, reduction="mean")(logits, target)
    theirs = theirs + torch.nn.BCEWithLogitsLoss()(logits, target)
    assert torch.allclose(dice_bce(logits, target), theirs, atol=1e-6)


def test_focal_without_focus_is_half_the_cross_entropy():
    logits, target = pair()
    plain = cross_entropy(logits, target).mean()
    assert torch.allclose(focal(logits, target, alpha=0.5, gamma=0.0), plain / 2)


def test_focal_cares_less_for_what_is_already_right():
    target = torch.ones(1, 1, 2, 2)
    sure, unsure = focal(torch.full_like(target, 4.0), target), focal(torch.zeros_like(target), target)
    assert sure < unsure / 1000


def test_hard_dice_counts_pixels():
    logits = torch.tensor([[[1.0, -1.0], [1.0, -1.0]]])
    target = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    assert hard_dice(logits, target).item() == pytest.approx(0.5, abs=1e-4)


def test_clear_prompts_train_the_first_candidate_and_open_ones_the_best_other():
    target = torch.zeros(2, 1, 8, 8)
    target[:, :, 2:6, 2:6] = 1
    right, wrong = 8 * (2 * target - 1), 8 * (1 - 2 * target)
    first_right = torch.cat([right, wrong, wrong], 1)
    second_right = torch.cat([wrong, wrong, right], 1)
    quality, clear = torch.zeros(2, 3), torch.tensor([False, False])
    assert (
        candidate_loss(first_right, quality, target, clear)["mask"]
        < candidate_loss(second_right, quality, target, clear)["mask"]
    )
    assert (
        candidate_loss(second_right, quality, target, ~clear)["mask"]
        < candidate_loss(first_right, quality, target, ~clear)["mask"]
    )


def test_quality_is_taught_the_dice_of_each_candidate():
    logits, target = pair()
    quality = torch.zeros(3, 1).requires_grad_()
    logits = torch.cat([logits, logits], 1)
    both = torch.cat([quality, quality], 1)
    candidate_loss(logits, both, target, torch.zeros(3, dtype=torch.bool))["quality"].backward()
    wanted = hard_dice(logits, target.expand_as(logits)).mean(1)
    assert torch.equal(quality.grad[:, 0] < 0, wanted > 0.5)


def test_candidate_masks_are_not_pulled_by_their_judge():
    logits, target = pair()
    logits = torch.cat([logits, logits], 1).requires_grad_()
    quality = torch.zeros(3, 2, requires_grad=True)
    candidate_loss(logits, quality, target, torch.zeros(3, dtype=torch.bool))["quality"].backward()
    assert logits.grad is None
