"""Networks whose weights are still to come: made without memory and without drawing a number."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class Hollow(TorchFunctionMode):
    """Inside, torch's layers are made without memory: their weights, which they ask for by `torch.empty(..., device=)`,
    are on the meta device.

    Buffers that libraries compute at birth and do not store (positions, masks, windows) are real, as they must be.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = dict(kwargs or {})
        if func is torch.empty and given.get("device", self) is None:
            given["device"] = "meta"
        return func(*args, **given)
