"""SAM zero-shot on medical images — Shi, Qiu, Abaxi, Wei, Lo, Yuan, Generalist Vision Foundation Models for Medical
Imaging: A Case Study of Segment Anything Model on Zero-Shot Medical Segmentation (Diagnostics 2023).

The study takes the Segment Anything Model (Kirillov et al. 2023) as it was published and asks what it finds in medical
images: prompted, and in "everything" mode, where a grid of clicks proposes all objects. Nothing is trained.
A picture is brought to 8-bit colour, its longest side to 1024 pixels; a ViT looks at it once; every prompt after that
is cheap. One click is ambiguous: three masks are drawn and the one that SAM itself rates highest is given. Clearer
prompts are answered by SAM's first mask token, which was trained for them.
Public are SAM's weights (B, L and H); the study's own repository holds no code. Deviation: a picture that is not 8-bit
is shown through its own display window first, since SAM knows nothing else.
"""

from __future__ import annotations

from typing import ClassVar, Self

import torch
from torch import nn

from hilum.capabilities.look import Seen
from hilum.capabilities.system import System
from hilum.parts.sam import BASE, HUGE, LARGE, POCKET, TINY, Sam, SamConfig, sam
from hilum.parts.sam_everything import Sweep, everything
from hilum.parts.sam_frame import SamFrame
from hilum.parts.sam_predictor import SamPredictor
from hilum.values.answers import PlaneMask
from hilum.values.image import Image
from hilum.values.prompts import PlanePrompt
from hilum.weights.tables.sam import UPSTREAM


class SamStudy(System):
    """SAM as published."""

    configs: ClassVar[dict[str, SamConfig]] = {"vit_b": BASE, "vit_l": LARGE, "vit_h": HUGE, "pocket": POCKET}
    table = UPSTREAM
    network: Sam
    sweep = Sweep()

    @classmethod
    def build(cls, config: SamConfig) -> Sam:
        return sam(config)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        return cls.seeded(TINY, seed)

    def costly(self) -> tuple[nn.Module, tuple[int, ...]]:
        return self.network.image_encoder, (1, 3, self.config.image_size, self.config.image_size)

    @property
    def predictor(self) -> SamPredictor:
        """How a picture is seen, and a prompt answered."""
        return SamPredictor(self.network, self.run, self.config.image_size, self.card.name)

    def prepare(self, image: Image) -> Image:
        """8 bit per channel; what is not so already is shown through its display window."""
        return self.predictor.prepare(image)

    def see(self, plane: Image) -> Seen:
        """The embedding of one plane."""
        return self.predictor.see(plane)

    def draw(self, seen: Seen, prompt: PlanePrompt) -> PlaneMask:
        """The mask for a prompt, and the overlap that SAM predicts for it."""
        return self.predictor.draw(seen, prompt)

    @torch.inference_mode()
    def everything(self, seen: Seen) -> list[PlaneMask]:
        """Masks of all that a grid of clicks finds, best first."""
        frame = SamFrame.of(seen, self.config.image_size)
        return list(everything(self.network, seen["embedding"], frame, self.sweep))


SYSTEM = SamStudy
