"""Dice of classes against MONAI's, which was written by others."""

import torch

from hilum.objectives.class_overlap import SMOOTH, class_dice


def test_class_dice_is_monais_with_squares_over_the_batch():
    from monai.losses import DiceLoss

    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(3, 5, 12, 10, generator=generator)
    labels = torch.randint(0, 4, (3, 12, 10), generator=generator)  # the last class is nowhere
    theirs = DiceLoss(
        softmax=True, to_onehot_y=True, squared_pred=True, batch=True, smooth_nr=SMOOTH, smooth_dr=SMOOTH
    )(logits, labels[:, None])
    torch.testing.assert_close(1 - class_dice(logits, labels), theirs, atol=1e-6, rtol=1e-6)


def test_a_perfect_answer_is_one_and_an_inverted_one_nearly_nothing():
    labels = torch.tensor([[[0, 1], [1, 0]]])
    sure = 60.0 * torch.nn.functional.one_hot(labels, 2).permute(0, 3, 1, 2)
    torch.testing.assert_close(class_dice(sure, labels), torch.tensor(1.0))
    assert float(class_dice(sure, 1 - labels)) < 1e-5
