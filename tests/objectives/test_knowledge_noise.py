"""What the weights of negatives must do, since nothing else of KoBo can be held against its authors."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.objectives.contrastive import info_nce
from hilum.objectives.knowledge_noise import knowledge_guidance, knowledge_noise, overlap

CASES = st.tuples(st.integers(2, 7), st.integers(0, 10**6))


def case(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 5 * torch.randn(count, count, generator=generator, dtype=torch.float64)
    shared = torch.rand(count, count, generator=generator, dtype=torch.float64) * 0.95
    return logits, (shared + shared.T) / 2


@settings(max_examples=40, deadline=None)
@given(CASES)
def test_nothing_shared_is_info_nce(given_case):
    logits, shared = case(*given_case)
    torch.testing.assert_close(knowledge_noise(logits, torch.zeros_like(shared)), info_nce(logits))


@settings(max_examples=40, deadline=None)
@given(CASES)
def test_a_pair_that_shares_all_is_no_negative(given_case):
    """Whatever the two have to do with each other, the loss is the same, and finite."""
    logits, shared = case(*given_case)
    shared[0, 1] = shared[1, 0] = 1.0
    louder = logits.clone()
    louder[0, 1], louder[1, 0] = 40.0, -40.0
    assert torch.isfinite(knowledge_noise(logits, shared))
    torch.testing.assert_close(knowledge_noise(louder, shared), knowledge_noise(logits, shared))


@settings(max_examples=40, deadline=None)
@given(CASES)
def test_images_and_texts_may_change_places(given_case):
    logits, shared = case(*given_case)
    torch.testing.assert_close(knowledge_noise(logits.T, shared.T), knowledge_noise(logits, shared))


@settings(max_examples=40, deadline=None)
@given(CASES)
def test_the_order_of_samples_does_not_matter(given_case):
    logits, shared = case(*given_case)
    order = torch.randperm(len(logits))
    turned = knowledge_noise(logits[order][:, order], shared[order][:, order])
    torch.testing.assert_close(turned, knowledge_noise(logits, shared))


@settings(max_examples=40, deadline=None)
@given(CASES)
def test_the_more_is_shared_the_less_it_costs(given_case):
    logits, shared = case(*given_case)
    assert knowledge_noise(logits, shared) <= knowledge_noise(logits, shared / 2) + 1e-12
    assert knowledge_noise(logits, shared) >= 0


def test_all_shared_leaves_nothing_to_learn():
    logits = torch.randn(4, 4, requires_grad=True)
    error = knowledge_noise(logits, torch.ones(4, 4))
    error.backward()
    assert error == 0
    assert not logits.grad.any()


def test_the_formula_itself():
    logits, shared = case(5, 1)
    terms = []
    for scores, share in ((logits, shared), (logits.T, shared.T)):
        for i in range(5):
            rest = sum((1 - share[i, j]) * scores[i, j].exp() for j in range(5) if j != i)
            terms.append(-(scores[i, i].exp() / (scores[i, i].exp() + rest)).log())
    torch.testing.assert_close(knowledge_noise(logits, shared), torch.stack(terms).mean())


def test_images_and_texts_learn_and_knowledge_does_not():
    image, text, knowledge = (torch.randn(4, 6, requires_grad=True) for _ in range(3))
    shared = overlap(knowledge)
    total = knowledge_noise(image @ text.T, shared)
    total = total + sum(knowledge_guidance(each, knowledge, temperature=0.1) for each in (image, text))
    total.backward()
    assert image.grad.abs().sum() > 0
    assert text.grad.abs().sum() > 0
    assert knowledge.grad is None


def test_overlap_is_symmetric_between_0_and_1_and_nothing_where_nothing_is_known():
    knowledge = torch.tensor([[2.0, 0], [1, 1], [-1, 0], [0, 0]])
    shared = overlap(knowledge)
    torch.testing.assert_close(shared, shared.T)
    assert ((shared >= 0) & (shared <= 1)).all()
    assert shared[0, 0] == pytest.approx(1)
    assert shared[0, 1] == pytest.approx(0.5**0.5)
    assert shared[0, 2] == 0
    assert not shared[3].any()


def test_guidance_leaves_out_what_nothing_is_known_of_and_pulls_towards_the_own():
    knowledge = torch.eye(4)[:, :3]  # of the fourth nothing is known
    near, far = knowledge + 0.01, knowledge.roll(1, dims=0) + 0.01
    assert knowledge_guidance(near, knowledge, temperature=0.1) < knowledge_guidance(far, knowledge, temperature=0.1)
    vectors = torch.randn(4, 3, requires_grad=True)
    knowledge_guidance(vectors, knowledge, temperature=0.1).backward()
    assert not vectors.grad[3].any()
    assert vectors.grad[:3].abs().sum() > 0
    assert knowledge_guidance(vectors, torch.zeros(4, 3), temperature=0.1) == 0
