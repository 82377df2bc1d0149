"""The frame of SAM's predictor: longest side to the network's size, normalised, then padded at the bottom and right.

Kirillov et al. 2023, appendix A, and the published predictor. Coordinates are scaled with the image, per axis; the
answer is enlarged to the padded square, cropped, and brought to the picture's size.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from PIL import Image as Picture
from torch import Tensor

from hilum.parts.sam_prompt_encoder import SamPrompts
from hilum.values.prompts import PlanePrompt

MEAN = (123.675, 116.28, 103.53)  # ImageNet's, on 0..255, red, green, blue
DEVIATION = (58.395, 57.12, 57.375)
SURE = 10.0  # logits of a mask prompt stay within this; SAM's own rarely pass it


@dataclass(frozen=True, slots=True)
class SamFrame:
    """A picture of (height, width) inside the network's square of `side` pixels."""

    height: int
    width: int
    side: int

    @classmethod
    def of(cls, seen: dict[str, Tensor], side: int) -> Self:
        """The frame of a picture whose height and width were remembered."""
        return cls(int(seen["height"]), int(seen["width"]), side)

    @property
    def inner(self) -> tuple[int, int]:
        """Height and width of the picture within the square."""
        scale = self.side / max(self.height, self.width)
        return int(self.height * scale + 0.5), int(self.width * scale + 0.5)

    def resized(self, picture: UInt8[np.ndarray, "c h w"]) -> UInt8[np.ndarray, "c height width"]:
        """The picture with its longest side at the network's size: Pillow's bilinear filter, which averages."""
        height, width = self.inner
        planes = (Picture.fromarray(plane).resize((width, height), Picture.Resampling.BILINEAR) for plane in picture)
        return np.stack([np.asarray(plane) for plane in planes])

    def pixels(self, picture: UInt8[np.ndarray, "c h w"]) -> Float[Tensor, "1 3 side side"]:
        """The network's input; a grey picture is given to all three channels."""
        height, width = self.inner
        values = torch.from_numpy(self.resized(picture)).float().expand(3, height, width)
        mean, deviation = (torch.tensor(constants)[:, None, None] for constants in (MEAN, DEVIATION))
        return F.pad((values - mean) / deviation, (0, self.side - width, 0, self.side - height))[None]

    def scaled(self, xy: Float[np.ndarray, "*n 2"]) -> Float[Tensor, "*n 2"]:
        """Coordinates in the network's pixels."""
        height, width = self.inner
        return torch.from_numpy(xy * np.array([width / self.width, height / self.height])).float()

    def prompts(self, prompt: PlanePrompt, *, cells: int) -> SamPrompts:
        """One prompt for the network; `cells` is the side of the grid on which it reads masks."""
        some = len(prompt.points) > 0
        return SamPrompts(
            points=self.scaled(prompt.points)[None] if some else None,
            inside=torch.from_numpy(prompt.inside)[None] if some else None,
            boxes=None if prompt.box is None else self.scaled(prompt.box).reshape(1, 4),
            masks=None if prompt.mask is None else self.mask_logits(prompt.mask, cells),
        )

    def mask_logits(self, probability: Float[np.ndarray, "h w"], cells: int) -> Float[Tensor, "1 1 cells cells"]:
        """A probability as SAM wants to read it: logits on the network's square, surely nothing in the padding."""
        height, width = self.inner
        logits = torch.from_numpy(np.ascontiguousarray(probability, dtype=np.float32)).logit().clamp(-SURE, SURE)
        inner = resample(logits[None, None], height, width)
        square = F.pad(inner, (0, self.side - width, 0, self.side - height), value=-SURE)
        return resample(square, cells, cells)

    def restored(self, logits: Float[Tensor, "n m h w"]) -> Float[Tensor, "n m height width"]:
        """Mask logits at the picture's size: to the square, without the padding, to the picture."""
        height, width = self.inner
        square = F.interpolate(logits, size=(self.side, self.side), mode="bilinear", align_corners=False)
        inner = square[..., :height, :width]
        if inner.shape[-2:] == (self.height, self.width):
            return inner  # resizing to the same size would change nothing, and cost as much as the first
        return F.interpolate(inner, size=(self.height, self.width), mode="bilinear", align_corners=False)


def resample(maps: Float[Tensor, "n m h w"], height: int, width: int) -> Float[Tensor, "n m height width"]:
    """Bilinear, averaging where it shrinks."""
    return F.interpolate(maps, size=(height, width), mode="bilinear", align_corners=False, antialias=True)
