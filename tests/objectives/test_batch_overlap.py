"""Overlap of a whole batch: by hand, and beside monai's losses."""

import pytest
import torch

from hilum.objectives.batch_overlap import batch_dice, batch_iou
from hilum.objectives.overlap import focal


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = (torch.rand(3, 1, 12, 10, generator=generator) > 0.7).float()
    return 3 * torch.randn(3, 1, 12, 10, generator=generator), target


def test_the_batch_is_one_mask():
    probability = torch.tensor([[[1.0, 1.0]], [[0.0, 0.5]]])
    target = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    assert float(batch_dice(probability, target)) == pytest.approx((2 * 1.5 + 1) / (4.5 + 1))
    assert float(batch_iou(probability, target)) == pytest.approx(1.5 / 3.0)


def test_two_empty_masks_agree():
    nothing = torch.zeros(2, 4, 4)
    assert float(batch_dice(nothing, nothing)) == 1
    assert float(batch_iou(nothing, nothing)) == 1


def test_dice_and_focal_are_monais(pair):
    losses = pytest.importorskip("monai.losses")
    logits, target = pair
    dice = losses.DiceLoss(sigmoid=True, batch=True, smooth_nr=1.0, smooth_dr=1.0)
    assert float(1 - batch_dice(logits.sigmoid(), target)) == pytest.approx(float(dice(logits, target)), abs=1e-6)
    theirs = losses.FocalLoss(alpha=0.25, gamma=2.0)(logits, target)
    assert float(focal(logits, target)) == pytest.approx(float(theirs), abs=1e-6)
