"""A segmenter without a network, for tests of what the capability does around a system."""

from typing import Self

import numpy as np
from scipy import ndimage
from torch import nn

from hilum.capabilities.look import Seen, tensors
from hilum.capabilities.system import System
from hilum.values.answers import PlaneMask
from hilum.values.image import Image
from hilum.values.prompts import PlanePrompt


class Threshold(System):
    """Everything over one half of the display range that touches the prompt, inside the box if there is one."""

    looks = 0

    @classmethod
    def build(cls, config: None) -> nn.Module:
        return nn.Identity()

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        return cls(nn.Identity(), None)

    def costly(self) -> None:
        return None

    def prepare(self, image: Image) -> Image:
        return image.noted("thresholded at half of the window")

    def see(self, plane: Image) -> Seen:
        import torch

        type(self).looks += 1
        return tensors(bright=torch.from_numpy(plane.display(plane.array[0]) > 0.5))

    def draw(self, seen: Seen, prompt: PlanePrompt) -> PlaneMask:
        bright = seen["bright"].numpy()
        if prompt.box is not None:
            (left, top), (right, bottom) = np.rint(prompt.box).astype(int)
            inside = np.zeros_like(bright)
            inside[top : bottom + 1, left : right + 1] = True
            bright = bright & inside
        parts, _ = ndimage.label(bright)
        wanted = set(parts[prompt.mask > 0.5].ravel()) if prompt.mask is not None else set()
        wanted |= {parts[round(y), round(x)] for (x, y), yes in zip(prompt.points, prompt.inside, strict=True) if yes}
        if prompt.box is not None and prompt.mask is None and not len(prompt.points):
            wanted |= set(parts[bright])
        mask = np.isin(parts, sorted(wanted - {0})) if wanted - {0} else np.zeros_like(bright)
        return PlaneMask(mask.astype(np.float32), 0.9 if mask.any() else 0.0)


SYSTEM = Threshold
