"""How unsure an object is, in a few numbers: the mean inside its mask, and where it matters, along its boundary."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from hilum.values.answers import Segmentation

BAND = 2  # pixels on either side of the boundary, within the planes as they were acquired


@dataclass(frozen=True, slots=True)
class Unsure:
    """Nats of one object; nan where its mask is empty."""

    mean_in_mask: float
    mean_along_boundary: float
    highest: float

    def facts(self) -> dict[str, float | int | str]:
        """Plain types, with the unit and how wide the boundary is."""
        return {"unit": "nats", **asdict(self), "boundary_pixels": BAND}


def summary(answer: Segmentation, number: int) -> Unsure:
    """Of one object of an answer that says how unsure it is."""
    if answer.uncertainty is None:
        raise ValueError(f"{answer.provenance.system} does not say how unsure it is")
    section, grid = answer.image.section(), answer.image.volume().shape[1:]
    planes = section.planes(answer.masks[number].reshape(grid))
    values = section.planes(answer.uncertainty[number].reshape(grid))
    there = planes.any(axis=(1, 2))
    inside, along = planes[there], band(planes[there])
    return Unsure(_mean(values[there], inside), _mean(values[there], along), float(values.max()))


def band(planes: Bool[np.ndarray, "n h w"]) -> Bool[np.ndarray, "n h w"]:
    """The pixels of each plane within `BAND` of the mask's boundary, inside it and outside."""
    within = ndimage.generate_binary_structure(3, 1)
    within[[0, 2]] = False  # a plane's neighbours are not its boundary
    if not planes.size:
        return planes
    grown = ndimage.binary_dilation(planes, within, iterations=BAND)
    shrunk = ndimage.binary_erosion(planes, within, iterations=BAND, border_value=1)
    return grown & ~shrunk


def _mean(values: Float[np.ndarray, "n h w"], where: Bool[np.ndarray, "n h w"]) -> float:
    return float(values[where].mean()) if where.any() else float("nan")
