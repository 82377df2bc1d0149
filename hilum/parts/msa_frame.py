"""Medical SAM Adapter's pictures, to the square and back: stretched, 0..1, enlarged by the nearest pixel."""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Num
from PIL import Image as Picture
from torch import Tensor


def squared(picture: Num[np.ndarray, "c h w"], side: int) -> Float[Tensor, "3 side side"]:
    """Stretched to the square by Pillow's bilinear filter, which averages, in 0..1; a grey picture three times."""
    planes = (Picture.fromarray(plane).resize((side, side), Picture.Resampling.BILINEAR) for plane in picture)
    square = torch.from_numpy(np.stack([np.asarray(plane) for plane in planes]))
    return (square / 255 if picture.dtype == np.uint8 else square).expand(3, side, side)


def enlarged(logits: Float[Tensor, "n m h w"], height: int, width: int) -> Float[Tensor, "n m height width"]:
    """Each pixel from the nearest one, as published."""
    return F.interpolate(logits, size=(height, width), mode="nearest")


def nearest(masks: Bool[np.ndarray, "*k h w"], side: int) -> Bool[np.ndarray, "*k side side"]:
    """The masks at another size, each pixel from the nearest one."""
    rows, columns = (((np.arange(side) + 0.5) * size / side).astype(int) for size in masks.shape[-2:])
    return masks[..., rows[:, None], columns[None, :]]


def click(mask: Bool[np.ndarray, "h w"], rng: np.random.Generator) -> tuple[tuple[float, float], bool]:
    """A pixel (x, y) of the object at random, or one outside where a slice does not show it."""
    inside = bool(mask.any())
    rows, columns = np.nonzero(mask if inside else ~mask)
    at = rng.integers(len(rows))
    return (float(columns[at]), float(rows[at])), inside
