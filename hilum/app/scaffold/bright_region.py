"""bright_region: what hangs together with the place that was pointed at, and is as bright.

A rule that works, to start from. Say here what your method does, what is public, and where you deviate from its paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch
from scipy import ndimage
from torch import nn

from hilum.capabilities.look import Seen, tensors
from hilum.capabilities.system import System
from hilum.values.answers import PlaneMask
from hilum.values.image import Image
from hilum.values.prompts import PlanePrompt


@dataclass(frozen=True, slots=True)
class Config:
    """The sizes of one set of weights. `band`: how far the light may differ, as a share of the display range."""

    band: float = 0.15


class BrightRegion(System):
    """Pixels near the light at the prompt, as far as they hang together with it."""

    configs: ClassVar[dict[str, Config]] = {"rule": Config()}  # one for each tag of the card

    @classmethod
    def build(cls, config: Config) -> nn.Module:
        """The network at these sizes; a rule has none."""
        return nn.Identity()

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """The smallest honest instance, for tests."""
        return cls.seeded(Config(), seed)

    def costly(self) -> tuple[nn.Module, tuple[int, ...]] | None:
        """The part of the network that a look pays for, with the shape of its input, for OpenVINO to compile."""
        return None

    def prepare(self, image: Image) -> Image:
        """The whole image as the method wants it, on the same grid; say with `noted` what was changed or assumed."""
        return image

    def see(self, plane: Image) -> Seen:
        """What is worth keeping of a plane (c, h, w), before anything is asked: here its light from 0 to 1."""
        return tensors(light=torch.from_numpy(plane.display(plane.array).mean(axis=0).astype(np.float32)))

    def draw(self, seen: Seen, prompt: PlanePrompt) -> PlaneMask:
        """One object on the plane: a probability for each pixel, and how good the system takes its mask to be."""
        light = seen["light"].numpy()
        seeds = _pointed_at(prompt, light.shape)
        if not seeds.any():
            return PlaneMask(np.zeros_like(light), 0.0)
        apart = np.abs(light - np.median(light[seeds])) / self.config.band
        near = (apart <= 1) & _allowed(prompt, light, seeds)
        parts, _ = ndimage.label(near)
        mask = near & np.isin(parts, np.unique(parts[seeds]))
        return PlaneMask(mask.astype(np.float32), float(1 - apart[mask].mean()) if mask.any() else 0.0)


def _pointed_at(prompt: PlanePrompt, shape: tuple[int, ...]) -> np.ndarray:
    """Clicks inside the object, a first mask, or else the middle of the box."""
    seeds = np.zeros(shape, dtype=bool)
    for x, y in np.rint(prompt.points[prompt.inside]).astype(int):
        seeds[y, x] = True
    if prompt.mask is not None:
        seeds |= prompt.mask > 0.5
    if prompt.box is not None and not seeds.any():
        left, top = np.floor(prompt.box.mean(axis=0)).astype(int)
        right, bottom = np.ceil(prompt.box.mean(axis=0)).astype(int)
        seeds[top : bottom + 1, left : right + 1] = True
    return seeds


def _allowed(prompt: PlanePrompt, light: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Inside the box if there is one, and nearer to the light of the object than to that of any click outside it."""
    allowed = np.ones(light.shape, dtype=bool)
    if prompt.box is not None:
        (left, top), (right, bottom) = np.rint(prompt.box).astype(int)
        allowed[:] = False
        allowed[top : bottom + 1, left : right + 1] = True
    inside = np.abs(light - np.median(light[seeds]))
    for x, y in np.rint(prompt.points[~prompt.inside]).astype(int):
        allowed &= inside < np.abs(light - light[y, x])
    return allowed


SYSTEM = BrightRegion
