"""Quadratic assignment: which node of one graph is which node of the other, when edges count as well as nodes.

Minimise over permutations p: sum_i unary[i, p(i)] + sum of quadratic[e, f] over the edges e = (i, j) of the source and
f = (p(i), p(j)) of the target (Lawler's form). Up to eight nodes all permutations are tried. Beyond, the cost is made
linear where one stands and solved by scipy's `linear_sum_assignment`, with an exact line search between (integer
projected fixed point, Leordeanu et al. 2009); pairs are then exchanged as long as that helps. That is a good answer,
not a proven one. (`scipy.optimize.quadratic_assignment` solves Koopmans and Beckmann's form only, where quadratic
costs are products of two tables; LP-MP, which the paper names, has no package that builds.)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from itertools import combinations, permutations

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

EXACT = 8  # nodes: 40,320 permutations, which take about as long as the search beyond
STARTS = 8  # at random
STEPS = 30  # of the fixed point; it stops by itself long before
TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Problem:
    """Costs of one pair of graphs with equally many nodes."""

    unary: Float[np.ndarray, "n n"]
    quadratic: Float[np.ndarray, "es et"]
    source_edges: Int[np.ndarray, "2 es"]
    target_edges: Int[np.ndarray, "2 et"]

    @property
    def nodes(self) -> int:
        """Of each graph."""
        return len(self.unary)

    @cached_property
    def table(self) -> Float[np.ndarray, "es n n"]:
        """The cost of a source edge for each place (a, b) of its ends; nothing where the target has no such edge."""
        table = np.zeros((self.quadratic.shape[0], self.nodes, self.nodes))
        np.add.at(table, (slice(None), *self.target_edges), self.quadratic)
        return table

    def cost(self, places: Int[np.ndarray, "p n"]) -> Float[np.ndarray, " p"]:
        """Of several permutations: node i goes to places[:, i]."""
        start, end = self.source_edges
        edges = self.table[np.arange(len(start)), places[:, start], places[:, end]]
        return self.unary[np.arange(self.nodes), places].sum(1) + edges.sum(1)

    def edges_cost(self, share: Float[np.ndarray, "n n"]) -> float:
        """The quadratic part of a soft assignment."""
        start, end = self.source_edges
        return float(np.einsum("eab,ea,eb->", self.table, share[start], share[end]))

    def slope(self, share: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
        """The derivative of the cost at a soft assignment."""
        start, end = self.source_edges
        slope = self.unary.copy()
        np.add.at(slope, start, np.einsum("eab,eb->ea", self.table, share[end]))
        np.add.at(slope, end, np.einsum("eab,ea->eb", self.table, share[start]))
        return slope


def solve(problem: Problem) -> Int[np.ndarray, " n"]:
    """The cheapest permutation: exactly for small graphs, else the best that was found."""
    return exact(problem) if problem.nodes <= EXACT else approximate(problem)


@cache
def orders(nodes: int) -> Int[np.ndarray, "p n"]:
    """All permutations, in the dictionary's order."""
    return np.array(list(permutations(range(nodes))))


def exact(problem: Problem) -> Int[np.ndarray, " n"]:
    """By trying all; of equal ones the first."""
    every = orders(problem.nodes)
    return every[problem.cost(every).argmin()]


def approximate(problem: Problem) -> Int[np.ndarray, " n"]:
    """From the best nodes alone, from no opinion, and from a few permutations at random (always the same ones); each
    downhill, then exchanged; the cheapest one."""
    nodes, rng = problem.nodes, np.random.default_rng(0)
    starts = [hard(assigned(problem.unary)), np.full((nodes, nodes), 1 / nodes)]
    starts += [hard(rng.permutation(nodes)) for _ in range(STARTS)]
    downhill = {tuple(one) for start in starts for one in fixed_point(problem, start)}
    found = np.stack([exchanged(problem, np.array(one)) for one in sorted(downhill)])
    return found[problem.cost(found).argmin()]


def assigned(costs: Float[np.ndarray, "n n"]) -> Int[np.ndarray, " n"]:
    """The cheapest permutation of a linear cost."""
    return linear_sum_assignment(costs)[1]


def hard(places: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n n"]:
    """A permutation as a matrix: row i has its one at places[i]."""
    return np.eye(len(places))[places]


def fixed_point(problem: Problem, share: Float[np.ndarray, "n n"]) -> list[Int[np.ndarray, " n"]]:
    """Downhill through soft assignments; the cheapest permutation on the way, and the one nearest to the end."""
    seen = []
    for _ in range(STEPS):
        slope = problem.slope(share)
        seen.append(assigned(slope))
        way = hard(seen[-1]) - share
        fall, bend = float((slope * way).sum()), problem.edges_cost(way)
        if fall > -TINY:
            break
        share = share + way * (min(1.0, -fall / (2 * bend)) if bend > TINY else 1.0)
    costs = problem.cost(np.stack(seen))
    return [seen[int(costs.argmin())], assigned(-share)]


def exchanged(problem: Problem, places: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Two nodes change places, the best pair first, until no exchange helps."""
    pairs = np.array(list(combinations(range(problem.nodes), 2)))
    best = float(problem.cost(places[None])[0])
    while True:
        tried = np.repeat(places[None], len(pairs), axis=0)
        rows = np.arange(len(pairs))
        tried[rows, pairs[:, 0]], tried[rows, pairs[:, 1]] = places[pairs[:, 1]], places[pairs[:, 0]]
        costs = problem.cost(tried)
        if costs.min() >= best - TINY:
            return places
        places, best = tried[costs.argmin()], float(costs.min())
