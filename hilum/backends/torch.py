"""Torch as a backend: f32, no gradients, every device; the reference that the others are measured against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Torch:
    """Runs the module itself. Channels-last input was tried on a CPU and brought nothing (ResNet-50, U-Net)."""

    device: torch.device
    name: str = "torch"
    precision: str = "f32"
    notes: tuple[str, ...] = ()

    def compile(self, module: nn.Module, shape: tuple[int, ...], *, key: str) -> Callable[[Tensor], Tensor]:
        """Nothing is compiled: any shape is taken."""
        module.eval()

        def run(batch: Tensor) -> Tensor:
            with torch.inference_mode():
                return module(batch.to(self.device))

        return run
