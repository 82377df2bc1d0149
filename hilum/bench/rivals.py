"""Two rivals that need no foundation model: gradients' histograms with a ridge, and thumbnails with the nearest one.

A system that is not above them on the same folds has shown nothing. Histograms of oriented gradients: Dalal and Triggs
2005, by scikit-image; the ridge classifier chooses its penalty by generalised cross-validation (scikit-learn).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image as Pillow
from scipy.special import softmax

from ..values.errors import MissingExtra
from ..values.image import Image
from .classes import Labels, Scores

Square = UInt8[np.ndarray, "side side"]
Features = Float[np.ndarray, "n dim"]
Fit = Callable[[Features, Labels, Features, int], Scores]  # known features, their labels, those asked about, classes
SIDE, CELL, THUMBNAIL = 128, 16, 8  # pixels
PENALTIES = tuple(np.logspace(0, 5, 11))


def square(image: Image, side: int = SIDE) -> Square:
    """The middle square of an image as it is shown, grey, `side` pixels; of a volume its middle plane."""
    section = image.section()
    plane = image.plane(section, section.planes(image.volume()).shape[1] // 2)
    grey = np.clip(plane.display(plane.array).mean(axis=0) * 255, 0, 255).round().astype(np.uint8)
    return middle(grey, side)


def middle(grey: UInt8[np.ndarray, "h w"], side: int = SIDE) -> Square:
    """The middle square, its short side brought to `side`, bilinear."""
    scale = side / min(grey.shape)
    size = max(side, round(grey.shape[1] * scale)), max(side, round(grey.shape[0] * scale))
    small = Pillow.fromarray(grey).resize(size, Pillow.Resampling.BILINEAR)
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    return np.asarray(small.crop((left, top, left + side, top + side)))


def gradients(squares: Sequence[Square]) -> Float[np.ndarray, "n dim"]:
    """Nine directions in cells of 16 pixels, blocks of two by two cells."""
    try:
        from skimage.feature import hog
    except ImportError as error:
        raise MissingExtra("the rival by gradients", "scikit-image", "bench") from error
    return np.stack([hog(each, 9, (CELL, CELL), (2, 2)) for each in squares])


def thumbnails(squares: Sequence[Square]) -> Float[np.ndarray, "n 64"]:
    """Eight by eight pixels in 0..1."""
    return np.stack([middle(each, THUMBNAIL).ravel() / 255 for each in squares])


def ridge(known: Float[np.ndarray, "n d"], labels: Labels, asked: Float[np.ndarray, "m d"], classes: int) -> Scores:
    """A softmax over the decisions of a ridge classifier on standardised features; classes weigh alike."""
    try:
        from sklearn.linear_model import RidgeClassifierCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        raise MissingExtra("the rival by gradients", "scikit-learn", "bench") from error
    model = make_pipeline(StandardScaler(), RidgeClassifierCV(PENALTIES, class_weight="balanced"))
    decision = model.fit(known, labels).decision_function(asked)
    decision = np.stack([-decision, decision], axis=1) / 2 if decision.ndim == 1 else decision
    scores = np.zeros((len(asked), classes))
    scores[:, np.unique(labels)] = softmax(2 * decision, axis=1)
    return scores


def nearest(known: Float[np.ndarray, "n d"], labels: Labels, asked: Float[np.ndarray, "m d"], classes: int) -> Scores:
    """The class of the nearest known one (Euclidean)."""
    apart = (asked**2).sum(1)[:, None] - 2 * asked @ known.T + (known**2).sum(1)
    return np.eye(classes)[labels[apart.argmin(axis=1)]]
