"""Random views of pictures: cut out, flipped, recoloured, blurred; each knows where it lies in its picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as vf


@dataclass(frozen=True, slots=True)
class Cut:
    """A view's side in pixels, and which shares of the picture's area it may show."""

    side: int
    area: tuple[float, float]
    recolour: v2.Transform


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """Cut pictures in 0..1; `boxes` are (top, left, height, width) in shares of the uncut pictures."""

    pixels: Float[Tensor, "n 3 side side"]
    boxes: Float[Tensor, "n 4"]
    flipped: Bool[Tensor, " n"]

    def places(self, rows: int, columns: int) -> Float[Tensor, "n p 2"]:
        """Where the centres of a grid's cells lie in the uncut pictures, row by row, as (y, x) shares."""
        y, x = ((torch.arange(n, device=self.boxes.device) + 0.5) / n for n in (rows, columns))
        top, left, height, width = self.boxes.T.unsqueeze(-1)
        across = torch.where(self.flipped[:, None], 1 - x, x)
        grid = torch.stack(
            [
                (top + y * height)[:, :, None].expand(-1, -1, columns),
                (left + across * width)[:, None].expand(-1, rows, -1),
            ],
            dim=-1,
        )
        return grid.flatten(1, 2)

    def to(self, device: torch.device) -> "View":
        """The same view on a device."""
        return View(self.pixels.to(device), self.boxes.to(device), self.flipped.to(device))


def recolour(strength: float = 1.0) -> v2.Transform:
    """Brightness, contrast, saturation, hue; sometimes grey; often blurred (the manner of DINO and VICReg)."""
    jitter = v2.ColorJitter(0.4 * strength, 0.4 * strength, 0.2 * strength, 0.1 * strength)
    blur = v2.GaussianBlur(9, (0.1, 2.0))
    return v2.Compose([v2.RandomApply([jitter], 0.8), v2.RandomGrayscale(0.2), v2.RandomApply([blur], 0.5)])


def view(pictures: Sequence[UInt8[Tensor, "3 h w"]], cut: Cut) -> View:
    """A random view of each picture."""
    pixels, boxes, flipped = [], [], torch.rand(len(pictures)) < 0.5
    for picture, flip in zip(pictures, flipped, strict=True):
        top, left, height, width = v2.RandomResizedCrop(cut.side, cut.area).make_params([picture]).values()
        small = vf.resized_crop(picture, top, left, height, width, [cut.side, cut.side], antialias=True)
        small = cut.recolour(small.float() / 255)
        pixels.append(vf.horizontal_flip(small) if flip else small)
        boxes.append([top / picture.shape[1], left / picture.shape[2], height / picture.shape[1]])
        boxes[-1].append(width / picture.shape[2])
    return View(torch.stack(pixels).clamp(0, 1), torch.tensor(boxes), flipped)
