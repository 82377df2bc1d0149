"""Which pixels a matcher's similarity comes from: integrated gradients on the way from the blurred picture.

Between the blurred picture and the picture itself the similarity changes by a certain amount; the gradient, averaged
over that way and times the difference of the pixels, shares this amount out among them without a rest (Sundararajan,
Taly, Yan 2017, eq. 1). Shares add up, so that pixels can be gathered in cells. A gradient at the last layer alone, as
Grad-CAM has it, goes blind where a cosine is near 1, and of a tower that ends with its class token it knows one block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..values import progress
from ..values.image import Image
from ..values.prompts import Labels
from .match import Matcher, Score, Traced
from .occlusion import blurred

if TYPE_CHECKING:
    from .system import System

STEPS = 10  # of the way, each in the middle of its part
CELLS = 14  # along either side of what the network is shown: those of a ViT-B/16


@dataclass(slots=True)
class Instead:
    """A backend that keeps the pixels it is given, and runs others in their place, open to gradients."""

    pixels: Tensor | None = None
    given: Tensor | None = None
    name: str = "torch"
    precision: str = "f32"
    notes: tuple[str, ...] = ()

    def compile(self, module: nn.Module, shape: tuple[int, ...], *, key: str) -> Callable[[Tensor], Tensor]:
        """The module itself."""

        def run(batch: Tensor) -> Tensor:
            self.given = batch
            return module(batch if self.pixels is None else self.pixels)

        return run


@dataclass(frozen=True, slots=True, eq=False)
class Shares:
    """What each pixel of the network's square adds to each label's similarity, over that of the blurred picture."""

    pixels: Float[Tensor, "labels s s"]

    def cells(self) -> Float[np.ndarray, "labels rows columns"]:
        """Gathered in cells."""
        down, across = (_gathering(length).to(self.pixels) for length in self.pixels.shape[1:])
        return (down @ self.pixels @ across.T).float().cpu().numpy()


def _gathering(length: int) -> Float[Tensor, "cells length"]:
    """How much of each pixel of a side lies in each cell."""
    cells = min(CELLS, length)
    edges, pixels = torch.linspace(0, length, cells + 1), torch.arange(length)
    return (torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)).clamp(min=0)


def shares(system: System, plane: Image, labels: Labels) -> Shares:
    """Of the picture that a plane is."""
    with resting(cast(nn.Module, system.network)), torch.no_grad():
        score = cast(Traced, system).scorer(labels)
        start, end = (_given(system, each) for each in (replace(plane, array=blurred(plane.array)), plane))
        slopes = torch.zeros(len(labels.names), *end.shape[1:], device=end.device)
        for step in progress.track(range(STEPS), "steps"):
            slopes += _slopes(system, plane, start + (step + 0.5) / STEPS * (end - start), score)
    return Shares((slopes / STEPS * (end - start)).sum(dim=1))


def _given(system: System, plane: Image) -> Float[Tensor, "1 c s s"]:
    """The pixels that the costly pass is given."""
    watch = Instead()
    cast(Matcher, system.through(watch)).see(plane)
    assert watch.given is not None  # a traced system has a costly pass
    return watch.given


def _slopes(system: System, plane: Image, pixels: Float[Tensor, "1 c s s"], score: Score) -> Tensor:
    """The gradient of each label's similarity at these pixels: (labels, c, s, s)."""
    with torch.enable_grad():
        pixels = pixels.detach().requires_grad_()
        similarity = score([cast(Matcher, system.through(Instead(pixels))).see(plane)])
        return torch.cat([torch.autograd.grad(each, pixels, retain_graph=True)[0] for each in similarity])


@contextmanager
def resting(network: nn.Module) -> Iterator[None]:
    """Within this block no parameter asks for a gradient."""
    asking = [each for each in network.parameters() if each.requires_grad]
    try:
        for each in asking:
            each.requires_grad_(False)
        yield
    finally:
        for each in asking:
            each.requires_grad_(True)
