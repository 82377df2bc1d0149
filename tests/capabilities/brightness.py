"""An encoder without a network, for tests of what is done around one."""

from typing import Self

import numpy as np
from torch import nn

from hilum.capabilities.look import Seen, tensors
from hilum.capabilities.system import System
from hilum.values.image import Image


class Brightness(System):
    """Mean, least and greatest value of a plane."""

    @classmethod
    def build(cls, config: None) -> nn.Module:
        return nn.Identity()

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        return cls(nn.Identity(), None)

    def costly(self) -> None:
        return None

    def prepare(self, image: Image) -> Image:
        return image.noted(f"{image.grid[-1]} columns were seen")

    def see(self, plane: Image) -> Seen:
        return tensors(mean=float(plane.array.mean()), low=float(plane.array.min()), high=float(plane.array.max()))

    def vector(self, seen: Seen) -> np.ndarray:
        return np.array([float(seen[name]) for name in ("mean", "low", "high")], dtype=np.float32)


SYSTEM = Brightness
