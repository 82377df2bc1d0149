"""Small labelled cases made by code: a bright ellipse on noise, for training in seconds."""

import numpy as np

from hilum.capabilities.trainable import Sample
from hilum.train.samples import Case
from hilum.values.image import from_array


def blob(seed: int, side: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """Grey levels and the ellipse's mask."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    cx, cy = rng.uniform(0.4, 0.6, 2) * side
    mask = ((x - cx) / (0.25 * side)) ** 2 + ((y - cy) / (0.18 * side)) ** 2 < 1
    grey = np.clip(60 + 120 * mask + rng.normal(0, 25, mask.shape), 0, 255).astype(np.uint8)
    return grey, mask


def cases(seeds) -> list[Case]:
    """One sample in each."""
    made = []
    for seed in seeds:
        grey, mask = blob(seed)
        made.append(Case(f"blobs/{seed}", (Sample(from_array(grey[None]), mask[None]),)))
    return made
