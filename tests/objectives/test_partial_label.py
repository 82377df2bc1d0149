"""Partial labels: what a data set does not label teaches nothing, and what each of the two Dices says."""

import pytest
import torch

from hilum.objectives.partial_label import partial_label_bce_dice, rowwise_dice, volume_dice


def cube(depth: int = 8) -> torch.Tensor:
    """An organ on two of eight slices."""
    target = torch.zeros(depth, 6, 6)
    target[2:4, 1:5, 1:5] = 1
    return target


def test_slices_without_the_organ_keep_the_published_dice_near_its_start():
    """A perfect answer: the whole volume's Dice is near 1, that of slices has a quarter of it."""
    assert float(volume_dice(cube(), cube())) == pytest.approx(64 / 65)
    assert float(rowwise_dice(cube(), cube())) == pytest.approx(2 / 8 * 32 / 33)


def test_organs_that_are_not_labelled_learn_nothing():
    logits = torch.zeros(2, 3, 8, 6, 6, requires_grad=True)
    target = torch.stack([cube()] * 3).expand(2, -1, -1, -1, -1)
    labelled = torch.tensor([[True, False, False], [False, True, True]])
    partial_label_bce_dice(logits, target, labelled).total.backward()
    assert torch.equal(logits.grad.abs().flatten(2).sum(-1) > 0, labelled)


@pytest.mark.parametrize("dice", ["rowwise", "volume"])
def test_a_better_answer_costs_less(dice):
    target, labelled = cube()[None, None], torch.ones(1, 1, dtype=torch.bool)
    worse, better = (partial_label_bce_dice(scale * (target - 0.5), target, labelled, dice=dice) for scale in (1, 9))
    assert all(better.parts[name] < worse.parts[name] for name in worse.parts)


def test_slices_of_unknown_labels_are_left_out_of_dice():
    target = cube()
    target[5:] = -1
    assert float(rowwise_dice(cube(), target)) == pytest.approx(2 / 5 * 32 / 33)
    assert float(volume_dice(cube(), target)) == pytest.approx(64 / 65)
    assert float(rowwise_dice(cube(), torch.full_like(target, -1))) == 1


def test_a_batch_without_any_label_is_refused():
    with pytest.raises(ValueError, match="labels any organ"):
        partial_label_bce_dice(*[torch.zeros(1, 2, 4, 4, 4)] * 2, torch.zeros(1, 2, dtype=torch.bool))
