"""Contrast by soft targets: what it is where it is known, and what it may not depend on."""

import torch

from hilum.objectives.contrastive import claim_or_denial, info_nce, soft_semantic, true_pairs


def test_findings_of_their_own_make_it_info_nce():
    """Each pair has one finding that no other has, and is sure of it: the soft targets are hard ones."""
    torch.manual_seed(0)
    logits = 3 * torch.randn(5, 5)
    sure = 6.0 * torch.eye(5)
    torch.testing.assert_close(soft_semantic(logits, sure, sure), info_nce(logits), atol=1e-5, rtol=0)


def test_who_says_the_same_is_no_negative():
    """Two films of one finding: either text is as good, so that exchanging their columns changes nothing."""
    torch.manual_seed(0)
    logits = torch.randn(4, 4)
    known = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 0]])
    exchanged = logits[:, [1, 0, 2, 3]]
    torch.testing.assert_close(soft_semantic(exchanged, known, known), soft_semantic(logits, known, known))
    assert (info_nce(exchanged) - info_nce(logits)).abs() > 1e-3


def test_films_and_texts_may_be_of_different_number_and_order():
    torch.manual_seed(0)
    logits, films, texts = torch.randn(3, 5, requires_grad=True), torch.randn(3, 7).sign(), torch.randn(5, 7).sign()
    order = torch.randperm(5)
    loss = soft_semantic(logits, films, texts)
    torch.testing.assert_close(soft_semantic(logits[:, order], films, texts[order]), loss)
    loss.backward()
    assert logits.grad.isfinite().all()


def test_with_its_own_text_alone_true_it_is_info_nce():
    torch.manual_seed(0)
    logits = torch.randn(5, 5)
    torch.testing.assert_close(true_pairs(logits, torch.eye(5).bool()), info_nce(logits))


def test_a_true_text_of_another_is_drawn_near_and_a_text_that_is_true_of_none_is_left_out():
    logits = torch.zeros(3, 3, requires_grad=True)
    true = torch.tensor([[True, True, False], [False, True, False], [False, False, False]])
    true_pairs(logits, true).backward()
    assert (logits.grad[0, :2] < 0).all()  # both texts of the first image
    assert logits.grad[1, 0] > 0
    assert logits.grad[2, 2] == 0  # neither its row nor its column has a true one


def test_the_denial_wins_where_nothing_is_there():
    claim, denial = torch.zeros(2, requires_grad=True), torch.zeros(2, requires_grad=True)
    claim_or_denial(claim, denial, torch.tensor([True, False])).backward()
    assert claim.grad[0] < 0 < claim.grad[1]
    assert torch.equal(claim.grad, -denial.grad)
