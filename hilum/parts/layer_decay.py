"""Layer-wise decay of the learning rate: what lies deep in an encoder moves less (Clark et al. 2020; Bao et al. 2022).

Names are those of `nn.vit.Vit`: patches, positions and tokens are layer 0, block i is layer i + 1, all else the last.
"""

from __future__ import annotations

import re
from typing import Any

from torch import nn

FIRST = re.compile(r"(^|\.)(cls_token|reg_token|pos_embed|patch_embed)(\.|$)")
BLOCK = re.compile(r"(^|\.)blocks\.(?P<number>\d+)\.")


def layer_of(name: str, depth: int) -> int:
    """The layer of a parameter in an encoder of `depth` blocks: 0 to depth + 1."""
    if FIRST.search(name):
        return 0
    block = BLOCK.search(name)
    return depth + 1 if block is None else int(block["number"]) + 1


def decayed(network: nn.Module, *, depth: int, rate: float, decay: float, weight_decay: float) -> list[dict[str, Any]]:
    """Groups for an optimiser: layer i learns at rate * decay^(depth + 1 - i). Weights decay but for parameters of one
    axis, and for positions and tokens, which timm excepts as well. `share` is the layer's part of the rate."""
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, weight in network.named_parameters():
        if weight.requires_grad:
            plain = weight.ndim == 1 or name.rpartition(".")[2] in ("pos_embed", "cls_token", "reg_token")
            groups.setdefault((layer_of(name, depth), plain), []).append(weight)
    return [
        {
            "params": weights,
            "lr": rate * decay ** (depth + 1 - layer),
            "share": decay ** (depth + 1 - layer),
            "weight_decay": 0.0 if plain else weight_decay,
        }
        for (layer, plain), weights in sorted(groups.items(), key=lambda item: item[0])
    ]
