"""A coarse grid of values laid over the picture that it comes from, smoothly, wherever the grid lies on it."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float


def laid(
    values: Float[np.ndarray, "n rows columns"], size: tuple[int, int], shows: tuple[float, float]
) -> Float[np.ndarray, "n h w"]:
    """On a picture of `size` (height, width), whose middle `shows` (height, width) the grid covers; bilinear. Where it
    does not reach, the lowest value of each map."""
    steps = [(2 * torch.arange(length) + 1 - length) / part for length, part in zip(size, shows, strict=True)]
    down, across = torch.meshgrid(*steps, indexing="ij")  # -1 to 1 from edge to edge of the grid
    places = torch.stack([across, down], dim=-1)[None].float()
    given = torch.from_numpy(values)[None].float()
    found = F.grid_sample(given, places, mode="bilinear", padding_mode="border", align_corners=False)[0]
    beyond = (down.abs() > 1) | (across.abs() > 1)
    lowest = found.masked_fill(beyond, float("inf")).amin(dim=(1, 2), keepdim=True)
    return torch.where(beyond, lowest, found).numpy()
