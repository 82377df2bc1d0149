"""LoRA beside layers that rest: on query and value of a fused projection, or on one linear layer.

Zhang & Liu 2023 (SAMed), after Hu et al. 2021, sec. 4.1: y = W x + b + B A x, without a scale, the key left
alone; B is zero at birth, so that a fresh network is its host.
"""

import copy
import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Update(nn.Module):
    """B A x."""

    def __init__(self, width: int, out: int, *, rank: int):
        super().__init__()
        self.down = nn.Linear(width, rank, bias=False)
        self.up = nn.Linear(rank, out, bias=False)
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Float[Tensor, "*b i"]) -> Float[Tensor, "*b o"]:
        return self.up(self.down(x))

    def matrix(self) -> Float[Tensor, "o i"]:
        """B A."""
        return self.up.weight @ self.down.weight


class QvLora(nn.Module):
    """A fused projection to query, key and value, in which query and value have updates."""

    def __init__(self, host: nn.Linear, *, rank: int):
        super().__init__()
        width = host.in_features
        self.host = host.requires_grad_(False)
        self.query, self.value = (Update(width, host.out_features // 3, rank=rank) for _ in range(2))

    def forward(self, x: Float[Tensor, "*b i"]) -> Float[Tensor, "*b o"]:
        query, key, value = self.host(x).chunk(3, dim=-1)
        return torch.cat([query + self.query(x), key, value + self.value(x)], dim=-1)

    def merged(self) -> nn.Linear:
        """One layer that does the same."""
        query, value = self.query.matrix(), self.value.matrix()
        return heavier(self.host, torch.cat([query, torch.zeros_like(query), value]))


class Lora(nn.Module):
    """A linear layer with an update."""

    def __init__(self, host: nn.Linear, *, rank: int):
        super().__init__()
        self.host = host.requires_grad_(False)
        self.update = Update(host.in_features, host.out_features, rank=rank)

    def forward(self, x: Float[Tensor, "*b i"]) -> Float[Tensor, "*b o"]:
        return self.host(x) + self.update(x)

    def merged(self) -> nn.Linear:
        """One layer that does the same."""
        return heavier(self.host, self.update.matrix())


class Resting(nn.Module):
    """A host that is not trained but for its updates; it stands apart, since files leave out what rests."""

    def __init__(self, host: nn.Module):
        super().__init__()
        self.host = only_updates(host)

    def forward(self, *given: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.host(*given)


def only_updates(network: nn.Module) -> nn.Module:
    """The same network, in which nothing but the updates wants a gradient."""
    network.requires_grad_(False)
    for part in network.modules():
        if isinstance(part, Update):
            part.requires_grad_(True)
    return network


def heavier(host: nn.Linear, change: Float[Tensor, "o i"]) -> nn.Linear:
    """The layer with a change added to its weight."""
    layer = copy.deepcopy(host)
    with torch.no_grad():
        layer.weight += change
    return layer


def merged(network: nn.Module) -> nn.Module:
    """A copy in which every update is folded into its host."""
    whole = copy.deepcopy(network)
    for name, part in list(whole.named_modules()):
        if isinstance(part, QvLora | Lora):
            whole.set_submodule(name, part.merged())
    return whole
