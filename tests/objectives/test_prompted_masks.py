"""SAM's objective on masks that can be counted by hand."""

import pytest
import torch

from hilum.objectives.overlap import focal, soft_dice
from hilum.objectives.prompted_masks import FOCAL, overlap, prompted_masks


def test_only_the_best_of_three_masks_learns_and_all_overlaps_are_judged():
    torch.manual_seed(0)
    target = torch.zeros(1, 1, 8, 8)
    target[..., 2:6, 2:6] = 1
    logits = torch.randn(1, 3, 8, 8)
    logits[:, 1] = 6 * (target[:, 0] * 2 - 1)
    logits.requires_grad_(True)
    quality = torch.full((1, 3), 0.5, requires_grad=True)
    found = prompted_masks(logits, quality, target)
    numbers = found.numbers()
    assert numbers["focal"] == pytest.approx(FOCAL * float(focal(logits.detach()[:, 1:2], target)), rel=1e-5)
    assert numbers["dice"] == pytest.approx(
        1 - float(soft_dice(logits.detach()[:, 1].sigmoid(), target[:, 0])), abs=1e-5
    )
    found.total.backward()
    assert not logits.grad[:, (0, 2)].any()
    assert logits.grad[:, 1].any()
    assert quality.grad.all()


def test_overlap_is_intersection_over_union():
    mask, target = torch.zeros(2, 4, 4, dtype=torch.bool), torch.zeros(2, 4, 4, dtype=torch.bool)
    mask[0, :2], target[0, 1:3] = True, True
    assert overlap(mask, target).tolist() == pytest.approx([1 / 3, 1.0])
