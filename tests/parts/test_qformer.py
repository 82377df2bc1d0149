"""What may see what in a Q-Former: padding nothing, words no later word, queries no word while a text is told."""

import pytest
import torch

from hilum.parts.qformer import QFormer, QFormerSizes
from hilum.parts.tokens import Tokens

SIZES = QFormerSizes(seen=10, queries=3, width=16, layers=2, heads=2, hidden=24, vocabulary=40, positions=12)


@pytest.fixture(scope="module")
def former():
    torch.manual_seed(0)
    return QFormer(SIZES).eval()


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.inference_mode():
        yield


def words(*rows: list[int]) -> Tokens:
    length = max(map(len, rows))
    ids = torch.tensor([row + [0] * (length - len(row)) for row in rows])
    return Tokens(ids, ids > 0)


def seen(count: int = 1) -> torch.Tensor:
    return torch.randn(count, 5, 10, generator=torch.Generator().manual_seed(3))


def test_shapes(former):
    text = words([1, 5, 6], [1, 7])
    assert former.looked(seen(2)).shape == (2, 3, 16)
    assert former.read(text).shape == former.told(seen(2), text).shape == (2, 3, 16)
    assert former.met(seen(2), text).shape == (2, 6, 16)


def test_padding_counts_for_nothing(former):
    short, padded = words([1, 5, 6]), Tokens(torch.tensor([[1, 5, 6, 9, 9]]), torch.tensor([[1, 1, 1, 0, 0]]).bool())
    torch.testing.assert_close(former.read(padded)[:, :3], former.read(short))
    torch.testing.assert_close(former.met(seen(), padded)[:, :6], former.met(seen(), short))
    torch.testing.assert_close(former.told(seen(), padded)[:, :3], former.told(seen(), short))


def test_a_told_word_knows_what_was_before_it_and_the_picture(former):
    one, other = (former.told(seen(), words([1, 5, 6, last])) for last in (7, 8))
    torch.testing.assert_close(one[:, :3], other[:, :3])
    assert (one[:, 3] - other[:, 3]).abs().max() > 1e-4
    turned = former.told(seen().flip(-1), words([1, 5, 6, 7]))
    assert (one[:, 0] - turned[:, 0]).abs().max() > 1e-5


def test_a_text_read_alone_needs_no_picture_and_queries_alone_no_text(former):
    assert torch.isfinite(former.read(words([1, 5]))).all()
    met = former.met(seen(), words([1, 5]))[:, :3]
    assert (met - former.looked(seen())).abs().max() > 1e-5


def test_telling_leaves_the_queries_as_they_are_when_they_look_alone(former):
    """So that a text can be told word after word from queries that were made once."""
    count = SIZES.queries
    states = former._joined(words([1, 5, 6]))
    length = states.shape[1] - count
    allowed = torch.ones(count + length, count + length, dtype=torch.bool).tril()
    allowed[:count, :count] = True
    through = former._through(states, seen(), allowed[None])
    torch.testing.assert_close(through[:, :count], former.looked(seen()))
    torch.testing.assert_close(through[:, count:], former.told(seen(), words([1, 5, 6])))
