"""Slices and their label maps as scipy's zoom and rotate handle them, which much published training code uses."""

from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from scipy import ndimage
from torch import Tensor

TURN = 20  # degrees: the largest small turn (TransUNet's and SAMed's published training code)


def resized(plane: np.ndarray, height: int, width: int, *, order: int) -> np.ndarray:
    """Corner on corner by splines of this order, as scipy's zoom does it; untouched where it has the size."""
    if plane.shape == (height, width):
        return plane
    return ndimage.zoom(plane, (height / plane.shape[0], width / plane.shape[1]), order=order)


def three(plane: Float[np.ndarray, "h w"]) -> Float[Tensor, "1 3 h w"]:
    """Grey on all three channels; neither a mean nor a deviation is taken."""
    return torch.from_numpy(np.ascontiguousarray(plane, dtype=np.float32)).expand(1, 3, *plane.shape)


def label_map(masks: Bool[np.ndarray, "classes h w"]) -> UInt8[np.ndarray, "h w"]:
    """0 for the background, n for the n-th class; where masks overlap the last one counts."""
    labels = np.zeros(masks.shape[1:], dtype=np.uint8)
    for number, mask in enumerate(masks, 1):
        labels[mask] = number
    return labels


def varied(
    grey: Float[np.ndarray, "h w"], labels: UInt8[np.ndarray, "h w"], rng: np.random.Generator
) -> tuple[Float[np.ndarray, "h w"], UInt8[np.ndarray, "h w"]]:
    """Half of the time quarter turns and a mirror, a quarter of it a small turn, both without interpolation."""
    if rng.random() > 0.5:
        turns, axis = int(rng.integers(4)), int(rng.integers(2))
        return np.flip(np.rot90(grey, turns), axis), np.flip(np.rot90(labels, turns), axis)
    if rng.random() > 0.5:
        angle = int(rng.integers(-TURN, TURN))
        turn = partial(ndimage.rotate, angle=angle, order=0, reshape=False)
        return turn(grey), turn(labels)
    return grey, labels
