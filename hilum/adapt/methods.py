"""Ways to adapt: `paper` as the system's own file says, `head` the last layers alone, `lora` low-rank updates beside
every linear layer and convolution and the head as a whole (Hu et al. 2021, by peft), `wavelet` a branch of Haar details
beside the patches and the head (`parts.frequency`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..capabilities.system import System
from ..capabilities.trainable import Headed, Patched
from ..parts.frequency import beside_details, with_details
from ..values.errors import BadInput, MissingExtra
from ..weights.adapter import DOWN, UP

METHODS = ("paper", "lora", "head", "wavelet")
RATES = {"paper": 2e-4, "lora": 1e-3, "head": 1e-3, "wavelet": 1e-3}


@dataclass(frozen=True, slots=True)
class Method:
    """A method and its numbers; alpha = rank, so that the product is added as it is."""

    name: str
    rank: int = 8
    before: dict[str, Tensor] = field(default_factory=dict)
    branch: str = ""  # where a branch of details stands


def known(name: str) -> str:
    """The method's name, once it is known to be one."""
    if name not in METHODS:
        raise BadInput(f"--method {name}: choose {', '.join(METHODS)}")
    return name


def begin(system: System, name: str, *, rank: int = 8) -> Method:
    """Makes the parameters that the method trains the only ones that want a gradient; what they were is kept."""
    network: nn.Module = system.network  # type: ignore[assignment]
    before = {key: each.detach().clone() for key, each in network.state_dict().items()}
    if known(name) != "paper":
        head = _head(system)
        for key, each in network.named_parameters():
            each.requires_grad_(key.startswith(head))
        if name == "lora":
            _inject(network, head, rank)
    branch = _branched(system, rank) if name == "wavelet" else ""
    return Method(name, rank, beside_details(before, branch) if branch else before, branch)


def _branched(system: System, hidden: int) -> str:
    """Where the branch went."""
    patched: object = system
    if not isinstance(patched, Patched) or system.network is None:
        raise BadInput(f"{system.card.name} has no patches that a branch of details could stand beside: choose lora")
    with_details(system.network, patched.patches, hidden=hidden)
    return patched.patches


def _head(system: System) -> tuple[str, ...]:
    headed: object = system
    if not isinstance(headed, Headed):
        raise BadInput(f"{system.card.name} does not say which layers are its head: use --method paper")
    return headed.head


def _inject(network: nn.Module, head: tuple[str, ...], rank: int) -> None:
    """Low-rank updates beside every layer outside the head; the head stays as it is, trained as a whole."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise MissingExtra("--method lora", "peft", "systems") from error
    hosts = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and not name.startswith(head)
    ]
    wanted = {name for name, each in network.named_parameters() if each.requires_grad}
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=hosts), network)
    for name, each in network.named_parameters():
        each.requires_grad_(name in wanted or "lora_" in name)


def changed(system: System, method: Method) -> dict[str, Tensor]:
    """What the method changed, under the upstream's names: whole tensors, and low-rank pairs."""
    network: nn.Module = system.network  # type: ignore[assignment]
    state = {name: each.detach() for name, each in network.state_dict().items()}
    own: dict[str, Tensor] = {}
    for name, old in method.before.items():
        stem, _, last = name.rpartition(".")
        if f"{stem}.lora_A.default.weight" in state and last == "weight":
            upstream = upstream_name(system, name, old)
            own[upstream + DOWN] = state[f"{stem}.lora_A.default.weight"]
            own[upstream + UP] = state[f"{stem}.lora_B.default.weight"]
        elif name in state and not torch.equal(state[name], old):
            own |= {upstream_name(system, name, old): _as_stored(system, name, state[name])}
    if method.branch:
        own |= {name: each for name, each in state.items() if name.startswith(f"{method.branch}.branch.")}
    return {name: each.contiguous() for name, each in own.items()}


def upstream_name(system: System, name: str, tensor: Tensor) -> str:
    """The name that the tensor has in files."""
    return next(iter(system.table.inverse({name: tensor})))


def _as_stored(system: System, name: str, tensor: Tensor) -> Tensor:
    stored: Mapping[str, Tensor] = system.table.inverse({name: tensor})
    return next(iter(stored.values()))
