"""Features of an encoder that rests, kept: a picture that was seen before is not looked at again."""

from __future__ import annotations

import hashlib

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..capabilities.system import System

Memory = dict[bytes, Tensor]


class Kept(nn.Module):
    """An encoder without gradient that remembers what it made of each picture, in f32."""

    def __init__(self, encoder: nn.Module, memory: Memory):
        super().__init__()
        self.encoder, self.memory = encoder, memory
        self.name = digest(*encoder.state_dict().values())

    def forward(self, pixels: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d i j"]:
        return torch.cat([self.one(each[None]) for each in pixels])

    def one(self, picture: Float[Tensor, "1 c h w"]) -> Float[Tensor, "1 d i j"]:
        """From memory, or by looking now."""
        key = self.name + digest(picture)
        if key not in self.memory:
            with torch.inference_mode(False), torch.no_grad(), torch.autocast(picture.device.type, enabled=False):
                self.memory[key] = self.encoder(picture.float().clone()).clone()
        return self.memory[key]


def digest(*tensors: Tensor) -> bytes:
    """A name for the values."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.digest()


def keep(system: System, memory: Memory) -> bool:
    """Puts the memory around the costly part of a system, where that is a part of its network that rests."""
    costly, network = system.costly(), system.network
    if costly is None or network is None or any(each.requires_grad for each in costly[0].parameters()):
        return False
    places = [name for name, part in network.named_modules() if part is costly[0]]
    for place in places:
        network.set_submodule(place, Kept(costly[0], memory))
    return bool(places)
