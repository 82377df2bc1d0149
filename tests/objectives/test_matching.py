"""Second-order graph matching: solvers beside enumeration and scipy's, derivatives, noise, selections."""

import numpy as np
import pytest
import torch

from hilum.nn.graph import GraphConv, MessagePassing, nearest_edges
from hilum.objectives import quadratic_assignment as qap
from hilum.objectives.matching import (
    BlackBoxMatching,
    Estimator,
    Graph,
    GraphMatching,
    costs,
    hamming,
    local_costs,
    nearest_places,
    noise,
)


def random_problem(seed: int, nodes: int, neighbours: int = 3) -> qap.Problem:
    rng = np.random.default_rng(seed)
    edges = [nearest_edges(torch.from_numpy(rng.normal(size=(nodes, 4))), neighbours).numpy() for _ in range(2)]
    sizes = [each.shape[1] for each in edges]
    return qap.Problem(rng.normal(size=(nodes, nodes)), rng.normal(size=sizes), *edges)


def by_hand(problem: qap.Problem, places: np.ndarray) -> float:
    total = sum(problem.unary[i, places[i]] for i in range(problem.nodes))
    for e, (i, j) in enumerate(problem.source_edges.T):
        for f, (a, b) in enumerate(problem.target_edges.T):
            total += problem.quadratic[e, f] * (places[i] == a) * (places[j] == b)
    return total


def test_the_cost_is_that_of_the_definition():
    problem, rng = random_problem(0, 6), np.random.default_rng(1)
    every = np.stack([rng.permutation(6) for _ in range(8)])
    np.testing.assert_allclose(problem.cost(every), [by_hand(problem, one) for one in every])
    share = qap.hard(every[0])
    assert problem.edges_cost(share) + (problem.unary * share).sum() == pytest.approx(by_hand(problem, every[0]))


def test_the_slope_is_the_derivative():
    problem, rng = random_problem(2, 5), np.random.default_rng(3)
    share, way = rng.random((5, 5)), rng.normal(size=(5, 5))
    step = 1e-6

    def value(at: np.ndarray) -> float:
        return problem.edges_cost(at) + float((problem.unary * at).sum())

    measured = (value(share + step * way) - value(share - step * way)) / (2 * step)
    assert measured == pytest.approx(float((problem.slope(share) * way).sum()), rel=1e-6)


def test_the_search_finds_the_exact_answer_or_one_near_it():
    """Eight nodes can be enumerated: the search is optimal in most random problems, and never far."""
    gaps = []
    for seed in range(20):
        problem = random_problem(seed, 8)
        best = problem.cost(qap.exact(problem)[None])[0]
        found = problem.cost(qap.approximate(problem)[None])[0]
        assert found >= best - 1e-9
        gaps.append((found - best) / abs(best))
    assert np.mean(np.array(gaps) < 1e-9) >= 0.75
    assert np.mean(gaps) < 0.01


def test_not_worse_than_scipys_solver_where_that_one_applies():
    """Products of two tables over complete graphs: Koopmans and Beckmann's form, scipy's only one."""
    from scipy.optimize import quadratic_assignment

    nodes, rng, wins = 12, np.random.default_rng(0), 0
    edges = np.array([(i, j) for i in range(nodes) for j in range(nodes) if i != j]).T
    for _ in range(8):
        flow, distance = (rng.random((nodes, nodes)) * (1 - np.eye(nodes)) for _ in range(2))
        problem = qap.Problem(np.zeros((nodes, nodes)), np.outer(flow[*edges], distance[*edges]), edges, edges)
        ours = problem.cost(qap.solve(problem)[None])[0]
        theirs = quadratic_assignment(flow, distance, options={"rng": np.random.default_rng(0)}).fun
        assert ours < 1.05 * theirs
        wins += ours <= theirs + 1e-9
    assert wins >= 4


def test_a_true_matching_is_found_again():
    """Nodes of a graph in another order are matched to themselves, at every size."""
    for nodes in (4, 8, 12):
        points = torch.randn(nodes, 16, generator=torch.Generator().manual_seed(nodes))
        order = torch.randperm(nodes, generator=torch.Generator().manual_seed(1))
        source, target = (Graph(x, nearest_edges(x, 3)) for x in (points, points[order]))
        unary, quadratic = costs(source, target, margin=0.0)
        found, edges = BlackBoxMatching.apply(unary, quadratic, (source.edges, target.edges), Estimator())
        assert torch.equal(found.argmax(1), order.argsort())
        assert edges.sum() == 3 * nodes  # every edge meets itself


def test_a_graph_layer_sums_what_comes_in():
    layer, nodes = GraphConv(3, 2), torch.randn(4, 3)
    edges = torch.tensor([[0, 2, 1], [1, 1, 3]])
    expected = [
        layer.own(nodes[i]) + layer.neighbours(nodes[edges[0][edges[1] == i]].sum(0)) for i in range(len(nodes))
    ]
    torch.testing.assert_close(layer(nodes, edges), torch.stack(expected))


def test_edges_lead_to_the_nearest_others():
    nodes = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    assert nearest_edges(nodes, 2).tolist() == [[0, 0, 1, 1, 2, 2, 3, 3], [1, 2, 0, 2, 1, 0, 2, 1]]
    with pytest.raises(ValueError, match="4 nodes cannot have 4 neighbours"):
        nearest_edges(nodes, 4)


def test_hamming_counts_both_sides_of_a_swap():
    assert float(hamming(torch.eye(4))) == 0
    assert float(hamming(torch.eye(4)[[1, 0, 2, 3]])) == 4


def a_wrong_matching() -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
    """Costs that prefer a swap of the first two nodes."""
    unary = -2 * torch.eye(4)[[1, 0, 2, 3]]
    edges = torch.tensor([[0, 1], [1, 2]])
    return unary.requires_grad_(), torch.zeros(2, 2, requires_grad=True), (edges, edges)


def test_the_derivative_makes_true_pairs_cheaper_and_wrong_ones_dearer():
    unary, quadratic, edges = a_wrong_matching()
    found, _ = BlackBoxMatching.apply(unary, quadratic, edges, Estimator())
    hamming(found).backward()
    downhill = -unary.grad
    assert (downhill[[0, 1], [0, 1]] < 0).all()  # a step downhill takes cost off the true pairs
    assert (downhill[[0, 1], [1, 0]] > 0).all()
    assert torch.equal(unary.grad[2:], torch.zeros(2, 4))
    assert float(unary.grad.abs().max()) == pytest.approx(1 / 80)


def test_imle_is_a_mean_over_noise_and_points_the_same_way():
    torch.manual_seed(0)
    unary, quadratic, edges = a_wrong_matching()
    estimator = Estimator("imle", strength=10.0, samples=40, temperature=4.0)
    found, _ = BlackBoxMatching.apply(unary, quadratic, edges, estimator)
    assert ((found > 0) & (found < 1)).any()
    torch.testing.assert_close(found.sum(0), torch.ones(4))
    hamming(found).backward()
    assert (unary.grad[[0, 1], [0, 1]] > 0).all()
    assert (unary.grad[[0, 1], [1, 0]] < 0).all()
    torch.manual_seed(0)
    again, _ = BlackBoxMatching.apply(unary - unary.grad, quadratic, edges, estimator)
    assert hamming(again) < hamming(found)


def test_several_gammas_together_are_gumbels():
    """The sum over the chosen ones has Gumbel's mean (Euler's constant) and variance (pi squared over six)."""
    torch.manual_seed(0)
    for draws in (noise(torch.Size((40_000, 5)), 5, 50).sum(1), noise(torch.Size((40_000,)), 5, 0)):
        assert float(draws.mean()) == pytest.approx(0.5772, abs=0.05)
        assert float(draws.var()) == pytest.approx(np.pi**2 / 6, abs=0.12)


def test_places_and_their_nearest():
    keys = (torch.tensor([[[0.0], [5.0], [9.0]]]), torch.tensor([[[9.1], [4.0], [0.3]]]))
    maps = (torch.tensor([[[1.0], [2.0], [3.0]]]), torch.tensor([[[10.0], [20.0], [30.0]]]))
    all_of_them = nearest_places(keys, maps)
    assert [part.flatten().tolist() for part in all_of_them] == [[1, 2, 3], [30, 20, 10]]
    two = nearest_places(keys, maps, count=2)
    assert [part.flatten().tolist() for part in two] == [[1, 3], [30, 10]]


def test_local_costs_are_those_of_every_pair_by_itself():
    torch.manual_seed(0)
    keys, maps = ([torch.randn(3, places, width) for places in (5, 7)] for width in (2, 4))
    costs_found = local_costs(tuple(keys), tuple(maps), count=2)
    for a in range(3):
        for b in range(3):
            own, near = nearest_places((keys[0][[a]], keys[1][[b]]), (maps[0][[a]], maps[1][[b]]), count=2)
            assert float(costs_found[a, b]) == pytest.approx(float((own - near).square().mean().sqrt()), rel=1e-5)


def test_local_costs_of_unrelated_pictures_do_not_tell_the_true_pairs():
    """A picture and another one have the same cost in the mean, paired or not: nothing is solved by construction."""
    torch.manual_seed(0)
    maps = (torch.randn(40, 9, 4), torch.randn(40, 9, 4))
    found = local_costs(maps, maps, count=4)
    true, other = found.diagonal(), found[~torch.eye(40, dtype=torch.bool)]
    assert abs(float(true.mean() - other.mean())) < 3 * float(other.std()) / 40**0.5


def test_local_costs_of_equal_pictures_have_a_finite_slope():
    maps = torch.zeros(2, 3, 4, requires_grad=True)
    local_costs((maps, maps), (maps, maps)).sum().backward()
    assert maps.grad.isfinite().all()


@pytest.mark.parametrize("graph", [6, 9])
def test_two_views_learn_to_match(graph):
    """A linear encoder that sees noise beside the signal learns to look at the signal: fewer wrong pairs than at birth.

    The layers of messages are trained too; nine nodes go through the search.
    """
    torch.manual_seed(0)
    encoder = torch.nn.Linear(12, 8)
    objective = GraphMatching(MessagePassing(8, dropout=0.0), neighbours=3, graph=graph)
    optimiser = torch.optim.Adam([*encoder.parameters(), *objective.parameters()], lr=1e-2)
    losses = []
    for _ in range(150):
        signal = torch.randn(2 * graph, 4)
        views = [encoder(torch.cat([signal, 0.3 * torch.randn(2 * graph, 8)], 1)) for _ in range(2)]
        loss = objective(*views)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-20:]) < 0.6 * np.mean(losses[:20])


def test_local_costs_are_weighed_in_and_reach_the_maps():
    torch.manual_seed(0)
    objective = GraphMatching(MessagePassing(8), neighbours=2, graph=5)
    maps = [torch.randn(5, 6, 3, requires_grad=True) for _ in range(2)]
    local = [local_costs((maps[0], maps[1]), (maps[0], maps[1]))]
    nodes = torch.randn(2, 5, 8, requires_grad=True)
    objective(nodes[0], nodes[1], local).backward()
    assert all(each.grad is not None and each.grad.any() for each in (*maps, nodes))


def test_half_a_graph_is_refused():
    objective = GraphMatching(MessagePassing(4), neighbours=2, graph=5)
    with pytest.raises(ValueError, match="multiple of 5"):
        objective(torch.randn(7, 4), torch.randn(7, 4))
