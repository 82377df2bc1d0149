"""A window of an image around a prompt, brought to a fixed number of pixels and back.

Windows lie on whole pixels and may reach over the border, where edge pixels are repeated. Pixel k of a crop of `size`
covers [k, k + 1) · width / size of the window, so that centres map as (k + 1/2) · width / size - 1/2 (half-pixel rule).
"""

import itertools
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Window:
    """Columns [left, left + width) and rows [top, top + height) of an image."""

    left: int
    top: int
    width: int
    height: int

    @classmethod
    def around(cls, box: Float[np.ndarray, "2 2"], *, scale: float, slimmest: float = 0.5) -> "Window":
        """The window `scale` times the box [low, high] (both included), at least `slimmest` as wide as long."""
        side = box[1] - box[0] + 1
        size = np.maximum(np.rint(scale * np.maximum(side, slimmest * side.max())), 8).astype(int)
        low = np.rint(box.mean(0) - (size - 1) / 2).astype(int)
        return cls(int(low[0]), int(low[1]), int(size[0]), int(size[1]))

    def holding(self, points: Float[np.ndarray, "n 2"], *, rim: float = 0.06) -> "Window":
        """This window, grown as little as it takes to hold the points with a rim (a share of its size)."""
        if not len(points):
            return self
        edge = rim * np.array([self.width, self.height])
        low = np.minimum([self.left, self.top], np.floor(points.min(0) - edge))
        high = np.maximum([self.left + self.width, self.top + self.height], np.ceil(points.max(0) + edge + 1))
        return Window(int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1]))

    def within(self, size: tuple[int, ...]) -> "Window":
        """The part of it that lies in an image of this (height, width); at least a pixel."""
        left, top = min(max(self.left, 0), size[1] - 1), min(max(self.top, 0), size[0] - 1)
        right, bottom = min(self.left + self.width, size[1]), min(self.top + self.height, size[0])
        return Window(left, top, max(right - left, 1), max(bottom - top, 1))

    def corners(self) -> Float[np.ndarray, "2 2"]:
        """Its first and last pixel, as a box."""
        low = np.array([self.left, self.top], float)
        return np.stack([low, low + np.array([self.width - 1, self.height - 1])])

    def shrunk(self, factor: float) -> "Window":
        """The same place in the image shrunk by `factor` (at most 1), to the pixel."""
        low = [round(value * factor) for value in (self.left, self.top)]
        high = [round(value * factor) for value in (self.left + self.width, self.top + self.height)]
        return Window(low[0], low[1], max(high[0] - low[0], 1), max(high[1] - low[1], 1))

    def tiles(self, count: int) -> list["Window"]:
        """`count` x `count` windows that cover this one without overlap (to the pixel)."""
        across = np.linspace(self.left, self.left + self.width, count + 1).round().astype(int)
        down = np.linspace(self.top, self.top + self.height, count + 1).round().astype(int)
        return [
            Window(int(x), int(y), int(right - x), int(bottom - y))
            for y, bottom in itertools.pairwise(down)
            for x, right in itertools.pairwise(across)
        ]

    def cut(self, image: Float[Tensor, "c h w"], size: int) -> Float[Tensor, "c size size"]:
        """The window of the image as size x size pixels; antialiased where it shrinks."""
        rows = torch.arange(self.top, self.top + self.height).clamp(0, image.shape[1] - 1)
        columns = torch.arange(self.left, self.left + self.width).clamp(0, image.shape[2] - 1)
        part = image[:, rows][:, :, columns]
        return F.interpolate(part[None], size=(size, size), mode="bilinear", antialias=True)[0]

    def paste(self, crop: Float[Tensor, "size size"], canvas: Float[Tensor, "h w"]) -> None:
        """Write the crop back over its window of the canvas, as far as it lies inside."""
        part = F.interpolate(crop[None, None], size=(self.height, self.width), mode="bilinear")[0, 0]
        height, width = canvas.shape
        top, left = max(self.top, 0), max(self.left, 0)
        bottom, right = min(self.top + self.height, height), min(self.left + self.width, width)
        if top < bottom and left < right:
            canvas[top:bottom, left:right] = part[
                top - self.top : bottom - self.top, left - self.left : right - self.left
            ]

    def to_crop(self, points: Float[np.ndarray, "n 2"], size: int) -> Float[np.ndarray, "n 2"]:
        """Image pixels to crop pixels."""
        low, side = np.array([self.left, self.top]), np.array([self.width, self.height])
        return (points - low + 0.5) / side * size - 0.5

    def box_to_crop(self, box: Float[np.ndarray, "2 2"], size: int) -> Float[np.ndarray, "2 2"]:
        """A box with both corners included keeps the outer edges of its pixels."""
        edges = self.to_crop(box + np.array([[-0.5], [0.5]]), size)
        return edges + np.array([[0.5], [-0.5]])
