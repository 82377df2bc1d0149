"""A matcher without a network, for tests of what is done around one: light against words of light."""

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
from torch import nn

from hilum.capabilities.look import Seen, tensors
from hilum.capabilities.match import Matched
from hilum.capabilities.system import System
from hilum.values.image import Image
from hilum.values.prompts import Labels


class Shade(System):
    """A picture is (light, dark); so is a text that says "bright" or "dark", or names a light from 0 to 255."""

    together: ClassVar[int] = 1
    looks: ClassVar[int] = 0

    @classmethod
    def build(cls, config: None) -> nn.Module:
        return nn.Identity()

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        return cls(nn.Identity(), None, tag="none")

    def costly(self) -> None:
        return None

    def prepare(self, image: Image) -> Image:
        return image

    def see(self, plane: Image) -> Seen:
        type(self).looks += 1
        light = float(plane.display(plane.array).mean())
        return tensors(light=light)

    def vector(self, seen: Seen) -> np.ndarray:
        light = float(seen["light"])
        return np.array([light, 1 - light], dtype=np.float32)

    def worded(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([_said(text) for text in texts], dtype=np.float32)

    def matched(self, seen: Sequence[Seen], labels: Labels) -> Matched:
        texts = labels.said(("a {} picture",))
        similarity = np.array([np.mean(self.worded(each) @ self.vector(seen[0])) for each in texts], dtype=np.float32)
        share = np.exp(5 * similarity - (5 * similarity).max())
        return Matched(similarity, share / share.sum(), texts)


def _said(text: str) -> tuple[float, float]:
    light = next((int(word) / 255 for word in text.split() if word.isdigit()), None)
    if light is None:
        light = 1.0 if "bright" in text else 0.0 if "dark" in text else 0.5
    return light, 1 - light


SYSTEM = Shade
