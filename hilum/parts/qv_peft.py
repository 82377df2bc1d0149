"""LoRA of query and value, to and from peft's, which puts one pair of factors beside the whole fused projection.

peft trains the key with them. What leaves the key alone is said with twice the rank: B's rows of the key are zero, and
the factors of query and value stand in blocks. What comes back must have such zeros, else it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from hilum.values.errors import BadInput

PREFIX = "base_model.model."
HOST = "image_encoder.blocks.{layer}.attn.qkv"  # segment-anything's name; transformers': vision_encoder.layers.{layer}…


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """B and A of one update."""

    down: Float[Tensor, "r i"]
    up: Float[Tensor, "o r"]


def fused(query: Factors, value: Factors) -> Factors:
    """One pair beside query, key and value that changes the key by nothing."""
    up = torch.cat(
        [
            F.pad(query.up, (0, value.up.shape[1])),
            value.up.new_zeros(len(query.up), query.up.shape[1] + value.up.shape[1]),
            F.pad(value.up, (query.up.shape[1], 0)),
        ]
    )
    return Factors(torch.cat([query.down, value.down]), up)


def parted(whole: Factors, *, scale: float = 1.0) -> tuple[Factors, Factors]:
    """The updates of query and of value; factors that only the other one uses are left out."""
    query, key, value = whole.up.chunk(3)
    if key.any():
        raise BadInput("this LoRA changes the key too: only updates of query and value can be taken over")
    found = []
    for up in (query, value):
        used = up.any(dim=0)
        found.append(Factors(whole.down[used], scale * up[:, used]))
    return found[0], found[1]


def to_peft(own: Mapping[str, Tensor], *, host: str = HOST) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and configuration of a peft adapter, from w_a_000, w_b_000, …; what else there is is left out."""
    count = sum(name.startswith("w_a_") for name in own)
    if not count:
        raise BadInput(
            "there is no w_a_000 among these tensors: they are not LoRA of query and value as SAMed stores it"
        )
    tensors: dict[str, Tensor] = {}
    for layer in range(count // 2):
        query, value = (Factors(own[f"w_a_{n:03d}"], own[f"w_b_{n:03d}"]) for n in (2 * layer, 2 * layer + 1))
        both, name = fused(query, value), PREFIX + host.format(layer=layer)
        tensors |= {f"{name}.lora_A.weight": both.down.contiguous(), f"{name}.lora_B.weight": both.up.contiguous()}
    rank = 2 * len(own["w_a_000"])
    pattern = ".*" + re.escape(host).replace(r"\{layer\}", r"\d+")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": rank, "target_modules": pattern, "bias": "none"}
    return tensors, config


def from_peft(tensors: Mapping[str, Tensor], config: Mapping[str, Any], *, host: str = HOST) -> dict[str, Tensor]:
    """w_a_000, w_b_000, … from a peft adapter that leaves the key alone; all updates get the largest rank needed."""
    if config.get("use_rslora") or config.get("use_dora"):
        raise BadInput("this adapter is not plain LoRA (rsLoRA or DoRA): it cannot be taken over")
    scale = config["lora_alpha"] / config["r"]
    pattern = re.compile(re.escape(PREFIX + host).replace(r"\{layer\}", r"(\d+)") + r"\.lora_A\.weight")
    layers = sorted(int(found[1]) for name in tensors if (found := pattern.fullmatch(name)))
    if layers != list(range(len(layers))) or 2 * len(layers) != len(tensors):
        raise BadInput(f"this adapter does not change every {host}, and nothing else")
    updates: list[Factors] = []
    for layer in layers:
        name = PREFIX + host.format(layer=layer)
        whole = Factors(tensors[f"{name}.lora_A.weight"], tensors[f"{name}.lora_B.weight"])
        updates += parted(whole, scale=scale)
    rank = max(len(update.down) for update in updates)
    named: dict[str, Tensor] = {}
    for number, update in enumerate(updates):
        more = rank - len(update.down)
        named[f"w_a_{number:03d}"] = F.pad(update.down, (0, 0, 0, more))
        named[f"w_b_{number:03d}"] = F.pad(update.up, (0, more))
    return named
