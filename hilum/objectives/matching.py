"""Second-order graph matching as an objective: two views of the same images must be matched image to image.

Nguyen et al. 2023 (LVM-Med), sec. 3. The images of a batch are the nodes of two graphs, one for each view, with edges
to the nearest neighbours in feature space. Nodes and edges that agree lower the cost of matching them; the cheapest
matching is found by a combinatorial solver; the loss is its Hamming distance to the true one, in which every image
meets itself. The solver is a step function, so its derivative is estimated: by solving again at costs shifted along
the incoming gradient (Vlastelica et al. 2020), or in the mean over noisy costs (I-MLE, Niepert et al. 2021).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from einops import repeat
from jaxtyping import Float, Int
from torch import Tensor, nn

from hilum.nn.graph import nearest_edges
from hilum.objectives.quadratic_assignment import Problem, solve

EPS = 1e-12  # under the root of a squared distance, which may be nothing in black margins


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Nodes and edges (2, e): centres in row 0, their neighbours in row 1."""

    nodes: Float[Tensor, "n f"]
    edges: Int[Tensor, "2 e"]

    @property
    def differences(self) -> Float[Tensor, "e f"]:
        """An edge's features: its centre minus its neighbour."""
        return self.nodes[self.edges[0]] - self.nodes[self.edges[1]]


@dataclass(frozen=True, slots=True)
class Estimator:
    """How the solver is differentiated. `strength` is lambda of Vlastelica et al. (eq. 3), beta of I-MLE.

    I-MLE's noise: sums of `terms` gamma variables (Niepert et al.) or, with no terms, Gumbel's.
    """

    kind: Literal["vlastelica", "imle"] = "vlastelica"
    strength: float = 80.0  # the authors' later published code
    samples: int = 1
    temperature: float = 1.0
    terms: int = 10

    @property
    def divisor(self) -> float:
        """Vlastelica's difference quotient is divided by its step; I-MLE's difference of means is the gradient."""
        return self.strength + 1e-8 if self.kind == "vlastelica" else 1.0

    def noises(self, costs: Float[Tensor, "*any"], nodes: int) -> list[Tensor]:
        """What is taken off the costs, once for each solution; nothing, without I-MLE."""
        if self.kind == "vlastelica":
            return [torch.zeros_like(costs)]
        return [self.temperature * noise(costs.shape, nodes, self.terms) for _ in range(self.samples)]


def noise(shape: torch.Size, nodes: int, terms: int) -> Float[Tensor, "*any"]:
    """Gumbel's, or the sum of gammas of which `nodes` chosen ones together are about Gumbel (Niepert et al.)."""
    if not terms:
        return -torch.empty(shape).exponential_().log()
    scales = nodes / torch.arange(1.0, terms + 1).reshape(-1, *(1 for _ in shape))
    gammas = torch.distributions.Gamma(torch.tensor(1 / nodes), torch.tensor(1.0)).sample((terms, *shape))
    return ((scales * gammas).sum(0) - torch.tensor(float(terms)).log()) / nodes


class BlackBoxMatching(torch.autograd.Function):
    """(unary costs, quadratic costs) -> (matching of nodes, matching of edges), with an estimated derivative."""

    @staticmethod
    def forward(ctx: Any, unary: Tensor, quadratic: Tensor, edges: tuple[Tensor, Tensor], estimator: Estimator) -> Any:
        """The mean over the estimator's samples; `edges` are the source's and the target's."""
        noises = list(zip(*(estimator.noises(c.detach().cpu(), len(unary)) for c in (unary, quadratic)), strict=True))
        noisy = [(unary.detach().cpu() - off, quadratic.detach().cpu() - less) for off, less in noises]
        ctx.noisy, ctx.edges, ctx.estimator = noisy, edges, estimator
        ctx.first = mean_matching(noisy, edges)
        return tuple(part.to(unary) for part in ctx.first)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Any:
        """-(first - second) / divisor, where `second` is solved at costs + strength * slope."""
        shift = [ctx.estimator.strength * slope.cpu() for slope in slopes]
        second = mean_matching([(u + shift[0], q + shift[1]) for u, q in ctx.noisy], ctx.edges)
        moved = [(after - before) / ctx.estimator.divisor for before, after in zip(ctx.first, second, strict=True)]
        return *(part.to(slope) for part, slope in zip(moved, slopes, strict=True)), None, None


def mean_matching(costs: list[tuple[Tensor, Tensor]], edges: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Of nodes and of edges, over several (unary, quadratic) costs of the same two graphs."""
    found = [matching(*pair, edges) for pair in costs]
    return torch.stack([nodes for nodes, _ in found]).mean(0), torch.stack([pairs for _, pairs in found]).mean(0)


def matching(
    unary: Float[Tensor, "n n"], quadratic: Float[Tensor, "es et"], edges: tuple[Tensor, Tensor]
) -> tuple[Float[Tensor, "n n"], Float[Tensor, "es et"]]:
    """The cheapest: ones for the chosen pairs of nodes, and for pairs of edges both of whose ends are chosen."""
    source, target = (each.cpu() for each in edges)
    places = solve(Problem(unary.double().numpy(), quadratic.double().numpy(), source.numpy(), target.numpy()))
    nodes = torch.zeros_like(unary)
    nodes[torch.arange(len(nodes)), torch.from_numpy(places)] = 1.0
    starts, ends = (nodes[source[row]][:, target[row]] for row in (0, 1))
    return nodes, starts * ends


def affinity(one: Float[Tensor, "n f"], other: Float[Tensor, "m f"]) -> Float[Tensor, "n m"]:
    """softplus of the inner products, less a half."""
    return F.softplus(one @ other.T) - 0.5


def costs(source: Graph, target: Graph, *, margin: float = 1.0) -> tuple[Float[Tensor, "n n"], Float[Tensor, "es et"]]:
    """Unary and quadratic; true pairs are dearer by the margin, so that they must be better than merely best."""
    true = torch.eye(len(source.nodes), device=source.nodes.device)
    unary = margin * true - affinity(source.nodes, target.nodes)
    return unary, -0.5 * affinity(source.differences, target.differences)


def hamming(found: Float[Tensor, "n n"]) -> Float[Tensor, ""]:
    """Wrong entries of a matching whose truth is the identity, counted in both matrices (the paper's L)."""
    true = torch.eye(len(found), device=found.device)
    return (found * (1 - true) + (1 - found) * true).sum()


def nearest_places(
    keys: tuple[Float[Tensor, "n p k"], Float[Tensor, "n q k"]],
    maps: tuple[Float[Tensor, "n p c"], Float[Tensor, "n q c"]],
    *,
    count: int | None = None,
) -> tuple[Float[Tensor, "n s c"], Float[Tensor, "n s c"]]:
    """Places of the first maps beside their nearest in the second ones, as VICRegL selects them (Bardes et al. 2022).

    Near by `keys`: the maps themselves, or where the places lie in the uncut image. With `count`, only the places
    whose nearest is nearest of all, in their own order.
    """
    with torch.no_grad():
        closest = torch.cdist(*keys).min(dim=2)
    kept = torch.arange(closest.values.shape[1], device=keys[0].device).expand_as(closest.indices)
    if count is not None:
        kept = closest.values.topk(count, largest=False).indices.sort(dim=1).values
    return taken(maps[0], kept), taken(maps[1], closest.indices.gather(1, kept))


def taken(maps: Float[Tensor, "n p c"], places: Int[Tensor, "n s"]) -> Float[Tensor, "n s c"]:
    """Each map's features at its places."""
    return maps.gather(1, places.unsqueeze(-1).expand(-1, -1, maps.shape[-1]))


def local_costs(
    keys: tuple[Float[Tensor, "g p k"], Float[Tensor, "g q k"]],
    maps: tuple[Float[Tensor, "g p c"], Float[Tensor, "g q c"]],
    *,
    count: int | None = None,
) -> Float[Tensor, "g g"]:
    """Between every image of one graph and every image of the other: how far their places and the nearest ones differ.

    The nearest are looked for anew in every pair, true or not. Were they looked for in the true pairs alone, these
    would be cheaper by construction, and the matching solved without learning anything.
    """
    images = len(maps[0])
    first, second = ("a p c -> (a b) p c", "b p c -> (a b) p c")
    paired_keys = (repeat(keys[0], first, b=images), repeat(keys[1], second, a=images))
    paired_maps = (repeat(maps[0], first, b=images), repeat(maps[1], second, a=images))
    own, nearest = nearest_places(paired_keys, paired_maps, count=count)
    return ((own - nearest).square().mean((1, 2)) + EPS).sqrt().unflatten(0, (images, images))


class GraphMatching(nn.Module):
    """The objective on two views' node features, graph by graph; `local` costs are added with a share of 1 - alpha."""

    def __init__(self, passing: nn.Module, *, neighbours: int = 5, graph: int = 10, alpha: float = 0.75):
        super().__init__()
        self.passing = passing
        self.neighbours, self.graph, self.alpha = neighbours, graph, alpha
        self.estimator = Estimator()

    def forward(
        self,
        source: Float[Tensor, "n f"],
        target: Float[Tensor, "n f"],
        local: Sequence[Float[Tensor, "g g"]] | None = None,
    ) -> Float[Tensor, ""]:
        """The mean Hamming distance over the graphs."""
        return torch.stack([hamming(found) for found in self.matchings(source, target, local)]).mean()

    def matchings(
        self,
        source: Float[Tensor, "n f"],
        target: Float[Tensor, "n f"],
        local: Sequence[Float[Tensor, "g g"]] | None = None,
    ) -> Iterator[Float[Tensor, "g g"]]:
        """One after the other, of as many images each as a graph takes."""
        if len(source) % self.graph or source.shape != target.shape:
            raise ValueError(
                f"got {tuple(source.shape)} and {tuple(target.shape)} features: give both views of a multiple of "
                f"{self.graph} images"
            )
        for start in range(0, len(source), self.graph):
            own = slice(start, start + self.graph)
            yield self.matched(source[own], target[own], None if local is None else local[start // self.graph])

    def matched(
        self,
        source: Float[Tensor, "g f"],
        target: Float[Tensor, "g f"],
        local: Float[Tensor, "g g"] | None = None,
        *,
        margin: float = 1.0,
    ) -> Float[Tensor, "g g"]:
        """One graph beside one other; the margin is for training, not for telling how many are right."""
        one, other = self.passed(source), self.passed(target)
        unary, quadratic = costs(one, other, margin=0.0)
        if local is not None:
            unary = self.alpha * unary + (1 - self.alpha) * local
        unary = unary + margin * torch.eye(len(unary), device=unary.device)
        return BlackBoxMatching.apply(unary, quadratic, (one.edges, other.edges), self.estimator)[0]

    def passed(self, nodes: Float[Tensor, "g f"]) -> Graph:
        """The graph of the nodes, after the messages."""
        edges = nearest_edges(nodes, self.neighbours)
        return Graph(self.passing(nodes, edges), edges)
