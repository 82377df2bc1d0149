"""Aggregators of bags: order and padding do not matter, gradients flow, a witness in a bag is found."""

import pytest
import torch

from hilum.objectives.multi_label import multi_label
from hilum.parts.mil import GatedAttentionMil, QueryMil, bagged

WIDTH = 12
MAKERS = {
    "gated": lambda: GatedAttentionMil(WIDTH, 3, hidden=16),
    "query": lambda: QueryMil(WIDTH, 3, hidden=16, heads=2),
    "queries": lambda: QueryMil(WIDTH, 3, hidden=16, queries=3, heads=4),
}


@pytest.fixture(params=MAKERS)
def aggregator(request):
    torch.manual_seed(0)
    return MAKERS[request.param]()


def test_the_order_of_tiles_does_not_matter(aggregator):
    bag = torch.randn(2, 9, WIDTH)
    order = torch.randperm(9)
    logits, weights = aggregator(bag)
    shuffled, moved = aggregator(bag[:, order])
    torch.testing.assert_close(shuffled, logits)
    torch.testing.assert_close(moved, weights[:, order])
    torch.testing.assert_close(weights.sum(-1), torch.ones(2))


def test_padding_counts_for_nothing(aggregator):
    bags = [torch.randn(length, WIDTH) for length in (4, 9, 1)]
    logits, weights = aggregator(*bagged(bags))
    for place, bag in enumerate(bags):
        torch.testing.assert_close(logits[place], aggregator(bag[None])[0][0])
        assert (weights[place, len(bag) :] == 0).all()


def test_every_weight_and_tile_gets_a_gradient(aggregator):
    bags = [torch.randn(length, WIDTH, requires_grad=True) for length in (4, 7)]
    logits, _ = aggregator(*bagged(bags))
    multi_label(logits, torch.tensor([[0.0, 1, 1], [1, float("nan"), 0]])).backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in aggregator.parameters())
    assert all(bag.grad.any(dim=1).all() for bag in bags)


def bags_with_a_witness(count: int, generator: torch.Generator) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Half of the bags hold one tile of a kind that the others lack; everything else is noise."""
    bags, labels = [], (torch.arange(count) % 2).float()
    for label in labels:
        bag = torch.randn(int(torch.randint(5, 20, (), generator=generator)), WIDTH, generator=generator)
        if label:
            bag[0, :3] += 4.0
        bags.append(bag)
    return bags, labels[:, None]


@pytest.mark.parametrize(
    "make", [lambda: GatedAttentionMil(WIDTH, 1, hidden=16), lambda: QueryMil(WIDTH, 1, hidden=32)]
)
def test_a_witness_is_learned_from_the_labels_of_bags(make):
    """On bags never seen: the answer, and where the witness is."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    aggregator = make()
    optimiser = torch.optim.Adam(aggregator.parameters(), lr=1e-2)
    for _ in range(150):
        bags, labels = bags_with_a_witness(32, generator)
        loss = multi_label(aggregator(*bagged(bags))[0], labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    bags, labels = bags_with_a_witness(200, generator)
    logits, weights = aggregator(*bagged(bags))
    assert ((logits > 0) == (labels > 0)).float().mean() > 0.9
    assert (weights[1::2].argmax(1) == 0).float().mean() > 0.9


def test_unknown_labels_count_for_nothing():
    logits = torch.tensor([[2.0, -1.0], [0.5, 3.0]])
    some = torch.tensor([[1.0, float("nan")], [float("nan"), 0.0]])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits[[0, 1], [0, 1]], torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(multi_label(logits, some), expected)


def test_an_empty_bag_is_refused():
    with pytest.raises(ValueError, match="a bag without a vector"):
        bagged([torch.randn(3, WIDTH), torch.randn(0, WIDTH)])
