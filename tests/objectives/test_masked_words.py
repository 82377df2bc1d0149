"""Hidden words: only words are asked for, at least one, in BERT's shares; the error is at these alone."""

import numpy as np
import torch

from hilum.objectives.masked_words import COVERED, SHARE, hidden, spoken, word_error

MASK = torch.tensor([[1, 1, 1, 1, 1, 0], [1, 1, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0]]).bool()


def test_start_end_and_padding_are_no_words():
    assert spoken(MASK).tolist() == [
        [False, True, True, True, False, False],
        [False, True, False, False, False, False],
        [True, False, False, False, False, False],  # of a text without words the start
    ]


def test_only_words_are_asked_for_at_least_one_of_each_text():
    ids = torch.arange(18).reshape(3, 6) + 10
    for seed in range(20):
        found = hidden(ids, spoken(MASK), np.random.default_rng(seed), cover=4, vocabulary=100)
        assert not (found.asked & ~spoken(MASK)).any()
        assert found.asked.any(dim=1).all()
        assert torch.equal(found.ids[~found.asked], ids[~found.asked])


def test_the_shares_are_berts():
    ids = torch.full((200, 102), 50)
    words = spoken(torch.ones(200, 102, dtype=torch.bool))
    found = hidden(ids, words, np.random.default_rng(0), cover=4, vocabulary=40)
    asked = found.asked.sum()
    assert abs(float(asked / words.sum()) - SHARE) < 0.01
    assert abs(float((found.ids == 4)[found.asked].float().mean()) - COVERED) < 0.02
    assert abs(float((found.ids == 50)[found.asked].float().mean()) - 0.1) < 0.02


def test_the_error_is_at_the_words_that_are_asked_for():
    scores, ids = torch.randn(2, 4, 9, requires_grad=True), torch.randint(0, 9, (2, 4))
    asked = torch.zeros(2, 4, dtype=torch.bool)
    assert word_error(scores, ids, asked) == 0
    asked[0, 1] = True
    word_error(scores, ids, asked).backward()
    assert (scores.grad.abs().sum(-1) > 0).nonzero().tolist() == [[0, 1]]
