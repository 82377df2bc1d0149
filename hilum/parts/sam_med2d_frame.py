"""SAM-Med2D's square: normalised pixels, taken by the nearest neighbour or padded around, and the way back.

Cheng et al. 2023 and the published code. In training and evaluation a picture that is smaller than the square on both
sides lies in its middle, between zeros; every other one is resized, each axis on its own. The published predictor
resizes all of them. The neighbour is OpenCV's: the pixel at floor(i / (side / size)), in double precision.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped, UInt8
from torch import Tensor

from hilum.parts.sam_frame import DEVIATION, MEAN, resample
from hilum.parts.sam_prompt_encoder import SamPrompts
from hilum.values.prompts import PlanePrompt


@dataclass(frozen=True, slots=True)
class Med2dFrame:
    """A picture of (height, width) in the square of `side` pixels: `padded` around, or resized to fill it."""

    height: int
    width: int
    side: int
    padded: bool

    def __post_init__(self) -> None:
        if self.padded and max(self.height, self.width) > self.side:
            raise ValueError(f"a picture of {self.height} × {self.width} cannot lie within a square of {self.side}")

    @property
    def corner(self) -> tuple[int, int]:
        """Rows above the picture and columns left of it."""
        return ((self.side - self.height) // 2, (self.side - self.width) // 2) if self.padded else (0, 0)

    @property
    def inner(self) -> tuple[int, int]:
        """Height and width of the picture within the square."""
        return (self.height, self.width) if self.padded else (self.side, self.side)

    def square(self, masks: Bool[np.ndarray, "n h w"]) -> Bool[np.ndarray, "n side side"]:
        """Masks on the square; nothing around."""
        return np.pad(self.taken(masks), ((0, 0), *self.around))

    def taken(self, maps: Shaped[np.ndarray, "c h w"]) -> Shaped[np.ndarray, "c height width"]:
        """Maps at their size within the square."""
        if self.padded:
            return maps
        return maps[:, nearest(self.height, self.side)[:, None], nearest(self.width, self.side)]

    @property
    def around(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Rows above and below the picture, columns left and right of it."""
        (top, left), (height, width) = self.corner, self.inner
        return (top, self.side - height - top), (left, self.side - width - left)

    def pixels(self, picture: UInt8[np.ndarray, "c h w"]) -> Float[Tensor, "1 3 side side"]:
        """The network's input: normalised before it is padded; grey is given to all three channels."""
        mean, deviation = (np.array(constants)[:, None, None] for constants in (MEAN, DEVIATION))
        values = (self.taken(picture) - mean) / deviation  # a neighbour's value is the same before and after
        return torch.from_numpy(np.pad(values, ((0, 0), *self.around))).float()[None]

    def placed(self, xy: Float[np.ndarray, "*n 2"]) -> Float[Tensor, "*n 2"]:
        """Coordinates in the square's pixels, scaled per axis as the published predictor does."""
        (top, left), (height, width) = self.corner, self.inner
        scale = np.array([width / self.width, height / self.height])
        return torch.from_numpy(xy * scale + np.array([left, top])).float()

    def box(self, box: Float[np.ndarray, "2 2"]) -> Float[Tensor, "1 4"]:
        """[low, high] with both corners included, as SAM-Med2D knows boxes: the high corner is one pixel beyond."""
        return self.placed(box + np.array([[0.0, 0.0], [1.0, 1.0]])).reshape(1, 4)

    def prompts(self, prompt: PlanePrompt, *, cells: int) -> SamPrompts:
        """One prompt for the network; `cells` is the side of the grid on which it reads masks."""
        some = len(prompt.points) > 0
        return SamPrompts(
            points=self.placed(prompt.points)[None] if some else None,
            inside=torch.from_numpy(prompt.inside)[None] if some else None,
            boxes=None if prompt.box is None else self.box(prompt.box),
            masks=None if prompt.mask is None else self.probability(prompt.mask, cells),
        )

    def probability(self, mask: Float[np.ndarray, "h w"], cells: int) -> Float[Tensor, "1 1 cells cells"]:
        """A mask prompt: unlike SAM, which reads logits, SAM-Med2D was trained to read probabilities."""
        inner = torch.from_numpy(np.ascontiguousarray(mask, dtype=np.float32))[None, None]
        rows, columns = self.around
        square = F.pad(inner, (*columns, *rows)) if self.padded else inner
        return resample(square, cells, cells).clamp(0, 1)  # rounding may pass the bounds

    def restored(self, logits: Float[Tensor, "n m h w"]) -> Float[Tensor, "n m height width"]:
        """Mask logits at the picture's size: enlarged to the square, then cut out of it or resized, all bilinear."""
        whole = enlarged(logits, self.side, self.side)
        if self.padded:
            top, left = self.corner
            return whole[..., top : top + self.height, left : left + self.width]
        return enlarged(whole, self.height, self.width)


def nearest(size: int, side: int) -> Int[np.ndarray, " side"]:
    """For each of `side` pixels the one of `size` pixels that is taken for it."""
    return np.minimum(np.floor(np.arange(side) * (1 / (side / size))).astype(int), size - 1)


def enlarged(maps: Float[Tensor, "n m h w"], height: int, width: int) -> Float[Tensor, "n m height width"]:
    """Bilinear; what has the size already stays as it is."""
    if maps.shape[-2:] == (height, width):
        return maps
    return F.interpolate(maps, size=(height, width), mode="bilinear", align_corners=False)
