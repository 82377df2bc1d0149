"""Where a text points to in a picture: similarities of a grid of patches, smoothed, and laid over the picture.

The published way of BioViL and of what measures itself against it: smoothed by a Gaussian, brought to the square that
was cut out of the picture, with nothing (NaN) where the cut left the picture's margins.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Mode = Literal["nearest", "bilinear"]
SIGMA = 1.5  # of the Gaussian, in patches


def smoothed(similarity: Float[Tensor, "rows columns"], sigma: float = SIGMA) -> Float[np.ndarray, "rows columns"]:
    """By a Gaussian, mirrored at the border."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(similarity.float().cpu().numpy(), sigma=(sigma, sigma), order=0)


def laid_over(
    patches: Float[np.ndarray, "rows columns"],
    size: tuple[int, int],
    *,
    cut: tuple[int, int],
    mode: Mode = "nearest",
) -> Float[np.ndarray, "h w"]:
    """On a picture of `size` (height, width): the patches come from its middle square, `cut[0]` pixels of a short side
    that had been brought to `cut[1]`.

    Nearest neighbours keep the values for measuring; bilinear is for looking at.
    """
    side = cut[0] * min(size) // cut[1]
    grid = torch.from_numpy(patches)[None, None]
    square = F.interpolate(grid, size=(side, side), mode=mode, align_corners=False if mode == "bilinear" else None)
    spare = [length - side for length in size]
    margins = [(math.floor(each / 2), math.ceil(each / 2)) for each in spare]
    return np.pad(square[0, 0].numpy(), margins, constant_values=np.nan)


def stretched(
    patches: Float[np.ndarray, "rows columns"], size: tuple[int, int], *, mode: Mode = "nearest"
) -> Float[np.ndarray, "h w"]:
    """On a picture of `size` (height, width) that was brought to the patches' square as a whole."""
    grid = torch.from_numpy(patches)[None, None]
    return F.interpolate(grid, size=size, mode=mode, align_corners=False if mode == "bilinear" else None)[0, 0].numpy()
