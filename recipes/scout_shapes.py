"""Synthetic targets for scout: label scenes of random shapes (as in SynthSeg, ScribblePrompt), regions of real images.

A scene is a uint8 label map; label 1 is the target, label 2 its siblings (same grey), the others the surroundings.
Grey levels are drawn when a scene is used, so that one scene gives many images.
"""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from scipy import ndimage
from scout_data import SIDE, Object2d

LABELS = 16


def fields(rng: np.random.Generator, count: int, coarse: int) -> Float[torch.Tensor, "1 k n n"]:
    return torch.from_numpy(rng.normal(size=(1, count, coarse, coarse)).astype(np.float32))


def partition(noise: Float[torch.Tensor, "1 k n n"], low: np.ndarray, side: float, size: int) -> np.ndarray:
    """Argmax of smooth fields over the square [low, low + side) of 0..1, sampled at size x size."""
    at = (np.arange(size) + 0.5) / size * side
    x, y = np.meshgrid(low[0] + at, low[1] + at)
    grid = torch.from_numpy(np.stack([x, y], -1).astype(np.float32) * 2 - 1)[None]
    value = F.grid_sample(noise, grid, mode="bicubic", padding_mode="reflection", align_corners=False)
    return value[0].argmax(0).numpy()


def blob(rng: np.random.Generator, radius: float, middle: np.ndarray) -> Bool[np.ndarray, "s s"]:
    """A star-shaped closed curve: an ellipse whose radius carries a few random harmonics."""
    y, x = np.mgrid[:SIDE, :SIDE]
    u, v = x - middle[0], y - middle[1]
    turn, stretch = rng.uniform(0, np.pi), np.exp(rng.normal() * 0.35)
    a, b = (u * np.cos(turn) + v * np.sin(turn)) * stretch, (v * np.cos(turn) - u * np.sin(turn)) / stretch
    angle, edge = np.arctan2(b, a), np.ones_like(u, float)
    rough = rng.uniform(0, 0.35)
    for wave in range(2, 8):
        edge += rough / wave * rng.normal() * np.cos(wave * angle + rng.uniform(0, 2 * np.pi)) * 1.5
    return np.hypot(a, b) < radius * np.maximum(edge, 0.15)


def tube(rng: np.random.Generator) -> Bool[np.ndarray, "s s"]:
    """A branching tree of smooth walks, drawn with a random width."""
    drawn = np.zeros((SIDE, SIDE), bool)
    for _ in range(int(rng.integers(1, 6))):
        steps = np.cumsum(rng.normal(size=200) * 0.12) + rng.uniform(0, 2 * np.pi)
        path = np.cumsum(np.stack([np.cos(steps), np.sin(steps)], 1), 0)
        path = path / np.abs(path).max() * 42 + rng.normal(size=2) * 8 + SIDE / 2
        path = path[(np.abs(path - SIDE / 2) <= 43).all(1)]
        x, y = np.rint(path).astype(int).T
        drawn[y, x] = True
    drawn = ndimage.binary_dilation(drawn, np.ones((3, 3)))
    return ndimage.distance_transform_edt(~drawn) <= rng.uniform(0.5, 5)


def region_scene(rng: np.random.Generator) -> UInt8[np.ndarray, "s s"] | None:
    """One part of a random partition, zoomed so that its box is a third of the scene."""
    count, coarse = int(rng.integers(4, LABELS - 2)), int(rng.integers(4, 14))
    noise = fields(rng, count, coarse)
    rough = partition(noise, np.zeros(2), 1.0, 96)
    parts, found = ndimage.label(rough == rng.integers(0, count))
    sizes = np.bincount(parts.ravel(), minlength=2)[1:]
    fitting = [number + 1 for number, size in enumerate(sizes) if 60 < size < 2500]
    if not found or not fitting:
        return None
    ys, xs = np.nonzero(parts == rng.choice(fitting))
    middle = np.array([xs.min() + xs.max() + 1, ys.min() + ys.max() + 1]) / 192
    side = 3 * max(np.ptp(xs) + 1, np.ptp(ys) + 1) / 96
    fine = partition(noise, middle - side / 2, side, SIDE)
    seed = (
        int((ys[len(ys) // 2] / 96 - middle[1] + side / 2) / side * SIDE),
        int((xs[len(xs) // 2] / 96 - middle[0] + side / 2) / side * SIDE),
    )
    target, _ = ndimage.label(fine == fine[seed])
    scene = (fine + 2).astype(np.uint8)
    scene[fine == fine[seed]] = 2
    scene[target == target[seed]] = 1
    return scene


def blob_scene(rng: np.random.Generator) -> UInt8[np.ndarray, "s s"] | None:
    """A blob, ring or tree among siblings and other blobs, over a random partition."""
    scene = (partition(fields(rng, 6, int(rng.integers(3, 8))), np.zeros(2), rng.uniform(0.2, 1), SIDE) + 3).astype(
        np.uint8
    )
    if rng.random() < 0.5:
        scene[:] = 3
    for _ in range(int(rng.integers(0, 12))):
        scene[blob(rng, rng.uniform(10, 45), rng.uniform(0, SIDE, 2))] = rng.choice([2, 2, 9, 10, 11])
    middle = np.full(2, SIDE / 2) + rng.normal(size=2) * 2
    kind = rng.random()
    target = tube(rng) if kind < 0.18 else blob(rng, 42, middle)
    inner = blob(rng, rng.uniform(14, 32), middle + rng.normal(size=2) * 6)
    if 0.18 <= kind < 0.4:
        target = target & ~inner
        scene[inner] = rng.choice([2, 12, 3])
    scene[target] = 1
    if 0.4 <= kind < 0.55:
        scene[target & inner] = 1
        scene[blob(rng, rng.uniform(20, 40), middle + rng.normal(size=2) * 40)] = rng.choice([2, 13])
    return scene if (scene == 1).sum() > 200 else None


def centred(scene: UInt8[np.ndarray, "s s"]) -> bool:
    """The target's box has about the size and place that the bank promises."""
    ys, xs = np.nonzero(scene == 1)
    side = max(np.ptp(xs), np.ptp(ys)) + 1
    off = max(abs(xs.min() + xs.max() - SIDE), abs(ys.min() + ys.max() - SIDE)) / 2
    return 40 < side < 150 and off < 30


def scenes(rng: np.random.Generator, count: int) -> UInt8[np.ndarray, "n s s"]:
    kept: list[np.ndarray] = []
    while len(kept) < count:
        made = (region_scene if rng.random() < 0.45 else blob_scene)(rng)
        if made is not None and centred(made):
            kept.append(made)
    return np.stack(kept)


def regions(
    images: Iterator[tuple[np.ndarray, str]], rng: np.random.Generator, *, per_image: int
) -> Iterator[Object2d]:
    """Parts of real images between two grey levels that stand out from their rim, smoothed, filled, and filtered."""
    for image, name in images:
        grey = image.mean(2) / 255
        soft = ndimage.gaussian_filter(grey, rng.uniform(0.7, 3.0))
        levels = np.quantile(soft, np.sort(rng.uniform(0.05, 0.97, int(rng.integers(2, 6)))))
        found, given = list(components(np.digitize(soft, levels))), 0
        for place in rng.permutation(len(found)):
            if given < per_image and distinct(found[place], grey):
                yield Object2d(image, found[place], name)
                given += 1


def components(level: np.ndarray) -> Iterator[Bool[np.ndarray, "h w"]]:
    """Connected parts of each level, of a sensible size, with smooth edges and no holes."""
    for number in np.unique(level):
        parts, _ = ndimage.label(level == number)
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        for part in np.flatnonzero((sizes > 150) & (sizes < 0.3 * level.size))[:8]:
            yield ndimage.binary_fill_holes(ndimage.uniform_filter((parts == part).astype(np.float32), 5) > 0.5)


def distinct(mask: Bool[np.ndarray, "h w"], grey: Float[np.ndarray, "h w"]) -> bool:
    """Of a sensible size, not ragged, and unlike the band around it."""
    area = mask.sum()
    if not 100 < area < 0.3 * mask.size:
        return False
    border = mask[0].sum() + mask[-1].sum() + mask[:, 0].sum() + mask[:, -1].sum()
    around = tuple(slice(max(at.start - 5, 0), at.stop + 5) for at in ndimage.find_objects(mask.astype(np.uint8))[0])
    mask, grey = mask[around], grey[around]
    height, width = np.ptp(np.flatnonzero(mask.any(1))) + 1, np.ptp(np.flatnonzero(mask.any(0))) + 1
    rim = ndimage.binary_dilation(mask, iterations=4) & ~mask
    contrast = abs(grey[mask].mean() - grey[rim].mean()) / (grey[mask].std() + grey[rim].std() + 0.02)
    return (
        area > 0.3 * height * width and min(height, width) > 10 and contrast > 0.6 and border < 0.1 * (height + width)
    )
