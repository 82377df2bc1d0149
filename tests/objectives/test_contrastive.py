"""Contrast by soft targets: what it is where it is known, and what it may not depend on."""

import torch

from hilum.objectives.contrastive import info_nce, soft_semantic


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
