"""Small, label-keeping changes of a sample: mirrored, a quarter turned, brighter or darker, more or less contrast."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..capabilities.trainable import Sample
from ..values.image import Display


def varied(sample: Sample, rng: np.random.Generator) -> Sample:
    """The sample with its array mirrored at random and its display window moved and stretched by up to a tenth.

    The plane loses its place in the patient on the way: it is for training, not for answers.
    """
    image, masks = sample.image, sample.masks
    array = image.array
    for axis in (-1, -2):
        if rng.random() < 0.5:
            array, masks = np.flip(array, axis), np.flip(masks, axis)
    if rng.random() < 0.5 and array.shape[-1] == array.shape[-2]:
        array, masks = np.rot90(array, axes=(-2, -1)), np.rot90(masks, axes=(-2, -1))
    low, high = image.display.low, image.display.high
    moved, stretched = (float(share) * (high - low) for share in rng.uniform(-0.1, 0.1, 2))
    display = Display(low + moved, high + moved + stretched, image.display.inverted)
    return Sample(replace(image, array=np.ascontiguousarray(array), display=display), np.ascontiguousarray(masks))
