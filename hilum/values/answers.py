"""Answers: what a system gives back, on the user's own grid, always with its provenance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from . import geometry
from .image import Image
from .provenance import Provenance


@dataclass(frozen=True, slots=True, eq=False)
class PlaneMask:
    """One object on one plane: the probability of each pixel, and how good the system takes its mask to be (0..1).

    `uncertainty` is in nats, from systems that say how unsure they are of each pixel.
    """

    probability: Float[np.ndarray, "h w"]
    quality: float
    uncertainty: Float[np.ndarray, "h w"] | None = None

    @property
    def mask(self) -> Bool[np.ndarray, "h w"]:
        """Where the probability is over one half."""
        return self.probability > 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """Masks (objects, [z,] y, x) on the image's grid, a name and a confidence (0..1) for each; objects may overlap.

    `uncertainty` is (objects, [z,] y, x) in nats, 0 on planes where nothing was found, or None from systems that do not
    say. `image` is the image as it was read: the answer's geometry.
    """

    masks: Bool[np.ndarray, " objects *grid"]
    names: tuple[str, ...]
    scores: tuple[float, ...]
    image: Image
    provenance: Provenance
    uncertainty: Float[np.ndarray, " objects *grid"] | None = None

    def __post_init__(self) -> None:
        if self.masks.dtype != bool or self.masks.shape[1:] != self.image.grid:
            raise ValueError(f"masks are bool on the grid {self.image.grid}, got {self.masks.dtype} {self.masks.shape}")
        if not len(self.masks) == len(self.names) == len(self.scores):
            counts = len(self.masks), len(self.names), len(self.scores)
            raise ValueError("masks, names, scores: one of each per object, got {} {} {}".format(*counts))

    def voxels(self) -> tuple[int, ...]:
        """Voxels in each object."""
        return tuple(int(mask.sum()) for mask in self.masks)

    def millilitres(self) -> tuple[float, ...] | None:
        """Volume of each object; None for pictures and where there are no millimetres."""
        if self.image.space != "patient" or self.image.dimensions == 2:
            return None
        return tuple(count * geometry.voxel_ml(self.image.affine) for count in self.voxels())

    def boxes(self) -> tuple[tuple[tuple[int, ...], tuple[int, ...]] | None, ...]:
        """Tight box of each object as ((x, y[, z]) low, high), both included; None for an empty one."""
        return tuple(tight_box(mask) for mask in self.masks)

    def overlaps(self) -> tuple[tuple[str, str], ...]:
        """Pairs of objects that share voxels."""
        together = []
        for first in range(len(self.masks)):
            for second in range(first + 1, len(self.masks)):
                if (self.masks[first] & self.masks[second]).any():
                    together.append((self.names[first], self.names[second]))
        return tuple(together)


def tight_box(mask: Bool[np.ndarray, " *grid"]) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """((x, y[, z]) low, high) of a mask's voxels, both included; None if it is empty. Memory stays that of the mask."""
    low, high = [], []
    for axis in range(mask.ndim - 1, -1, -1):
        hit = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if not hit.size:
            return None
        low.append(int(hit[0]))
        high.append(int(hit[-1]))
    return tuple(low), tuple(high)


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """A value per label: raw similarity, softmax over the labels asked, calibrated probability where there is one.

    `texts` are those that were compared for each label; None where no text was (the classes of a probe).
    """

    names: tuple[str, ...]
    similarity: Float[np.ndarray, " labels"]
    softmax: Float[np.ndarray, " labels"]
    provenance: Provenance
    probability: Float[np.ndarray, " labels"] | None = None
    texts: tuple[tuple[str, ...], ...] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Reply:
    """Text from a model; `tokens` counts what was generated."""

    text: str
    tokens: int
    provenance: Provenance


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """Vectors with named axes, such as ("image", "dim"); `items` and `planes` name the image and plane of each row."""

    vectors: Float[np.ndarray, " *axes"]
    axes: tuple[str, ...]
    provenance: Provenance
    items: tuple[str, ...] | None = None
    planes: tuple[int, ...] | None = None  # counted from 0 as they are shown; a picture is its own plane 0

    def __post_init__(self) -> None:
        if len(self.axes) != self.vectors.ndim:
            raise ValueError(f"vectors {self.vectors.shape} want {self.vectors.ndim} axis names, got {self.axes}")
        for what, names in (("items", self.items), ("planes", self.planes)):
            if names is not None and len(names) != len(self.vectors):
                raise ValueError(f"{len(self.vectors)} vectors want as many {what}, got {len(names)}")


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """A list of found things, each a mapping with at least a "name"."""

    items: tuple[Mapping[str, Any], ...]
    provenance: Provenance


Answer = Segmentation | Scores | Reply | Embedding | Findings
