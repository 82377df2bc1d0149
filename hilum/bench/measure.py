"""Measures of masks, and the honest floors beside them: the ellipse in the box and Otsu's threshold in the box."""

from __future__ import annotations

import warnings

import numpy as np
from jaxtyping import Bool, Float

from ..train.score import dice as dice
from ..values.errors import MissingExtra


def surface_dice(
    truth: Bool[np.ndarray, " *grid"], mask: Bool[np.ndarray, " *grid"], *, step: tuple[float, ...], tolerance: float
) -> float:
    """Normalised surface distance: the share of both surfaces within `tolerance` of the other (Nikolov et al. 2021).

    `step` is the length of a voxel along the array's axes, in the unit of the tolerance. An empty mask scores 0.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from monai.metrics.surface_dice import compute_surface_dice
    except ImportError as error:
        raise MissingExtra("the surface measure", "monai", "bench") from error
    import torch

    if not truth.any() or not mask.any():
        return float(not truth.any() and not mask.any())
    both = [torch.from_numpy(each[None, None].astype(np.float32)) for each in (mask, truth)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = compute_surface_dice(
            both[0], both[1], class_thresholds=[tolerance], include_background=True, spacing=list(step)
        )
    return float(value[0, 0])


def ellipse(low: Float[np.ndarray, " d"], high: Float[np.ndarray, " d"], grid: tuple[int, ...]) -> np.ndarray:
    """The filled ellipse (ellipsoid) that touches the box's sides: what one scores without looking at the image.

    `low`, `high` are (x, y[, z]), both included; the mask is (y, x) or (z, y, x). The half axes reach the outer edges
    of the corner pixels.
    """
    middle, half = (low + high) / 2, (high - low + 1) / 2
    axes = np.meshgrid(*(np.arange(size) for size in grid), indexing="ij")
    return np.sum([((axes[-1 - axis] - middle[axis]) / half[axis]) ** 2 for axis in range(len(grid))], axis=0) <= 1.0


def otsu(grey: Float[np.ndarray, "h w"], low: Float[np.ndarray, " 2"], high: Float[np.ndarray, " 2"]) -> np.ndarray:
    """Otsu's threshold of the grey levels in the box; the side that fills more of the box's middle is the object."""
    try:
        from skimage.filters import threshold_otsu
    except ImportError as error:
        raise MissingExtra("Otsu's threshold", "scikit-image", "bench") from error
    columns, rows = (slice(int(low[axis]), int(high[axis]) + 1) for axis in (0, 1))
    inside = grey[rows, columns]
    bright = inside > threshold_otsu(inside)
    middle = tuple(slice(size // 4, max(size // 4 + 1, 3 * size // 4)) for size in inside.shape)
    mask = np.zeros(grey.shape, dtype=bool)
    mask[rows, columns] = bright if bright[middle].mean() >= 0.5 else ~bright
    return mask


def interval(
    values: Float[np.ndarray, " n"], groups: np.ndarray, *, draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """95 % bootstrap interval of the mean, drawing whole groups (images): objects of one image stay together."""
    names, place = np.unique(groups, return_inverse=True)
    sums = np.bincount(place, weights=values, minlength=len(names))
    sizes = np.bincount(place, minlength=len(names))
    drawn = np.random.default_rng(seed).integers(0, len(names), size=(draws, len(names)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))
