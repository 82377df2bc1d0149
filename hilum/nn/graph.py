"""Graphs of feature vectors: edges to the nearest neighbours, and layers that pass messages along the edges.

Edges are (2, e): row 0 holds the centres, row 1 their neighbours; a message goes from row 0 into row 1.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


def nearest_edges(nodes: Float[Tensor, "n f"], count: int) -> Int[Tensor, "2 e"]:
    """From every node to the `count` others nearest to it (Euclidean); centre by centre, the nearest first."""
    if not 0 < count < len(nodes):
        raise ValueError(f"{len(nodes)} nodes cannot have {count} neighbours each: give 1 to {len(nodes) - 1}")
    with torch.no_grad():
        distance = torch.cdist(nodes, nodes).fill_diagonal_(torch.inf)
        neighbours = distance.topk(count, largest=False).indices
        centres = torch.arange(len(nodes), device=nodes.device).repeat_interleave(count)
    return torch.stack([centres, neighbours.flatten()])


class GraphConv(nn.Module):
    """h_i = W (sum of x_j over edges j -> i) + b + W' x_i (Morris et al. 2019, eq. 5, with a sum over neighbours)."""

    def __init__(self, width: int, out: int):
        super().__init__()
        self.neighbours = nn.Linear(width, out)
        self.own = nn.Linear(width, out, bias=False)

    def forward(self, nodes: Float[Tensor, "n f"], edges: Int[Tensor, "2 e"]) -> Float[Tensor, "n g"]:
        heard = torch.zeros_like(nodes).index_add(0, edges[1], nodes[edges[0]])
        return self.neighbours(heard) + self.own(nodes)


class MessagePassing(nn.Module):
    """Graph layers with ReLU and dropout between, no residual."""

    def __init__(self, width: int, *, depth: int = 2, dropout: float = 0.5):
        super().__init__()
        self.layers = nn.ModuleList(GraphConv(width, width) for _ in range(depth))
        self.between = nn.Sequential(nn.ReLU(), nn.Dropout(dropout))

    def forward(self, nodes: Float[Tensor, "n f"], edges: Int[Tensor, "2 e"]) -> Float[Tensor, "n f"]:
        for place, layer in enumerate(self.layers):
            nodes = layer(nodes if place == 0 else self.between(nodes), edges)
        return nodes
