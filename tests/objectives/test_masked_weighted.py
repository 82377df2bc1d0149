"""Four errors: with equal worth plain InfoNCE of scaled logits, no gradient through the weights of errors."""

import torch

from hilum.objectives.contrastive import info_nce
from hilum.objectives.masked_weighted import masked_weighted


def test_equal_worth_of_one_is_info_nce():
    logits = 3 * torch.randn(5, 5)
    torch.testing.assert_close(masked_weighted(logits, torch.ones(5)), info_nce(logits))


def test_a_pair_of_no_worth_is_not_asked_for_its_own():
    """With a worth of 0 its rows say nothing: that pair's own similarity counts only against others."""
    logits, worth = 3 * torch.randn(4, 4), torch.tensor([0.0, 1.0, 1.0, 1.0])
    raised = logits.clone()
    raised[0, 0] += 1e-3
    assert masked_weighted(raised, worth) == masked_weighted(logits, worth)


def test_only_the_scaled_half_teaches_the_worth():
    logits, worth = torch.randn(4, 4), torch.rand(4, requires_grad=True)
    masked_weighted(logits, worth).backward()
    own = torch.arange(4)
    again = worth.detach().clone().requires_grad_()
    half = sum(torch.nn.functional.cross_entropy(again[:, None] * each, own) for each in (logits, logits.T)) / 4
    half.backward()
    torch.testing.assert_close(worth.grad, again.grad)


def test_both_directions_go_by_the_images_worth():
    logits = torch.randn(4, 4)
    worth = torch.tensor([2.0, 1.0, 1.0, 1.0])
    torch.testing.assert_close(masked_weighted(logits, worth), masked_weighted(logits.T, worth))
