"""SAM as its predictor asks it: a picture of 8 bit is seen once, then asked often (Kirillov et al. 2023, app. A)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hilum.parts.sam import Sam
from hilum.parts.sam_frame import SamFrame
from hilum.values.answers import PlaneMask
from hilum.values.image import Image
from hilum.values.prompts import PlanePrompt


@dataclass(frozen=True, slots=True, eq=False)
class SamPredictor:
    """A SAM, what runs its image encoder, the side of the square that this takes, and who speaks through it."""

    network: Sam
    run: Callable[[Tensor], Tensor]
    side: int
    name: str

    def prepare(self, image: Image) -> Image:
        """8 bit per channel; what is not so already is shown through its display window."""
        if image.array.dtype == np.uint8 and not image.display.inverted:
            return image
        shown = np.rint(image.display(image.array) * 255).astype(np.uint8)
        window = f"{image.display.low:g} to {image.display.high:g}"
        return image.with_array(shown).noted(f"{self.name} saw the display window {window} in 8 bit")

    def see(self, plane: Image) -> dict[str, Tensor]:
        """The embedding of a plane of 8 bit, and its size."""
        height, width = plane.grid
        pixels = SamFrame(height, width, self.side).pixels(plane.array)
        return {"embedding": self.run(pixels), "height": torch.tensor(height), "width": torch.tensor(width)}

    @torch.inference_mode()
    def draw(self, seen: dict[str, Tensor], prompt: PlanePrompt) -> PlaneMask:
        """The mask for a prompt, and the overlap that SAM predicts for it; its threshold, logit 0, is one half.

        One click and nothing else may mean a part or the whole (Kirillov et al. 2023, sec. 3): the best judged of
        three masks answers it.
        """
        frame, embedding = SamFrame.of(seen, self.side), seen["embedding"]
        prompts = frame.prompts(prompt, cells=4 * embedding.shape[-1]).to(embedding.device)
        among = slice(1, None) if ambiguous(prompt) else slice(0, 1)
        logits, quality = self.network.ask(embedding, prompts, only=among)
        chosen = int(quality[0, among].argmax())
        probability = frame.restored(logits[:, chosen, None])[0, 0].sigmoid()
        return PlaneMask(probability.cpu().numpy(), float(quality[0, among][chosen].clamp(0, 1)))


def ambiguous(prompt: PlanePrompt) -> bool:
    """A single click and nothing else."""
    return len(prompt.points) == 1 and prompt.box is None and prompt.mask is None
