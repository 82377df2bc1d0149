"""The best query counts; hard negatives are never one's own and follow likeness; words are asked for from before."""

import torch

from hilum.objectives.query_matching import hard_negatives, next_word_error, query_max


def test_the_best_query_counts_whatever_the_others_say():
    text = torch.randn(3, 8)
    image = torch.cat([text[:, None], -text[:, None]], dim=1)
    similarity = query_max(image, 5 * text)
    torch.testing.assert_close(similarity.diagonal(), torch.ones(3))
    torch.testing.assert_close(query_max(image.flip(1), text), similarity)


def test_a_hard_negative_is_never_its_own_and_the_likeliest_is_the_most_alike():
    similarity = torch.tensor([[9.0, 4.0, -9.0, -9.0], [0, 9, 0, 0], [1, 1, 9, 1], [-9, 5, -9, 9]])
    own = torch.arange(4)
    for share in torch.linspace(0, 1, 21):
        found = hard_negatives(similarity, share.expand(4))
        assert (found != own).all()
        assert ((found >= 0) & (found < 4)).all()
    assert hard_negatives(similarity, torch.full((4,), 0.5))[[0, 3]].tolist() == [1, 1]


def test_draws_follow_the_chances():
    similarity = torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    draws = torch.linspace(0.0005, 0.9995, 1000)
    found = torch.stack([hard_negatives(similarity, draw.expand(3))[0] for draw in draws])
    wanted = similarity[0, 1:].softmax(0)[0]
    assert abs(float((found == 1).float().mean() - wanted)) < 0.01


def test_a_word_is_asked_for_at_the_place_before_it():
    ids = torch.tensor([[5, 1, 2, 0]])
    mask = ids > 0
    scores = torch.full((1, 4, 6), -20.0)
    scores[0, 0, 1] = scores[0, 1, 2] = 20.0  # places 2 and 3 may say what they like
    assert next_word_error(scores, ids, mask) < 1e-6
    assert next_word_error(scores, torch.tensor([[5, 2, 1, 0]]), mask) > 10
    assert next_word_error(scores, ids, torch.tensor([[True, False, False, False]])) == 0
