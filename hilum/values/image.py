"""An image: pixels with geometry. Values are modality values (HU, ...); how to show them is a separate transform."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Num, UInt8

from . import geometry
from .geometry import AS_STORED, Affine, Section

Space = Literal["patient", "plane", "pixel"]


@dataclass(frozen=True, slots=True)
class Display:
    """How modality values become grey levels or colours: values low..high map to 0..1, inverted for MONOCHROME1."""

    low: float
    high: float
    inverted: bool = False

    def __post_init__(self) -> None:
        if not self.high > self.low:
            raise ValueError(f"a display window needs high > low, got {self.low} to {self.high}")

    def __call__(self, values: Num[np.ndarray, " *any"]) -> Float[np.ndarray, " *any"]:
        """Display values in 0..1, float32."""
        with np.errstate(over="ignore"):  # a value far outside a narrow window is cut off below
            scaled = (np.asarray(values, dtype=np.float32) - self.low) / (self.high - self.low)
        clipped = np.clip(scaled, 0.0, 1.0)
        return 1.0 - clipped if self.inverted else clipped


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Where an image came from, and what was assumed on the way.

    `detail` holds what the format needs to write an answer back (NIfTI: sform, qform and codes; DICOM: the files in
    slice order, the frame numbers). `notes` are the sentences that go to the provenance: stated conversions and the
    user's assumptions.
    """

    format: str = "array"
    files: tuple[Path, ...] = ()
    sha256: str | None = None
    modality: str | None = None
    unit: str | None = None
    detail: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """Pixels with geometry: `array` is (c, z, y, x) or (c, y, x), c = 1 or 3; `affine` is voxel -> mm.

    `space` says what the millimetres mean: "patient" = LPS, "plane" = lengths within the picture only (a radiograph
    with known spacing), "pixel" = no millimetres at all.
    """

    array: Num[np.ndarray, " c *grid"]
    affine: Affine
    space: Space
    display: Display
    source: Source = field(default_factory=Source)

    def __post_init__(self) -> None:
        if self.array.ndim not in (3, 4) or self.array.shape[0] not in (1, 3) or 0 in self.array.shape:
            raise ValueError(f"an image is (c, z, y, x) or (c, y, x) with 1 or 3 channels, got {self.array.shape}")
        object.__setattr__(self, "affine", geometry.checked_affine(self.affine))

    @property
    def grid(self) -> tuple[int, ...]:
        """Shape without channels: (z, y, x) or (y, x)."""
        return self.array.shape[1:]

    @property
    def dimensions(self) -> int:
        """3 for a volume, 2 for a picture."""
        return self.array.ndim - 1

    @property
    def spacing(self) -> tuple[float, ...] | None:
        """mm along x, y[, z]; None where there are no millimetres."""
        if self.space == "pixel":
            return None
        return tuple(float(step) for step in geometry.spacing(self.affine)[: self.dimensions])

    def volume(self) -> Num[np.ndarray, "c z y x"]:
        """The array with a z axis, whether it had one or not."""
        return self.array if self.dimensions == 3 else self.array[:, None]

    def shown(self) -> UInt8[np.ndarray, " *grid 3"]:
        """The whole image as 8-bit RGB by its display transform, channels last."""
        grey = np.rint(self.display(self.array) * 255.0).astype(np.uint8)
        return np.moveaxis(np.broadcast_to(grey, (3, *self.grid)), 0, -1)

    def section(self, normal: int | None = None) -> Section:
        """How its planes are shown; across the acquired direction if `normal` is not given (0 = x, 1 = y, 2 = z)."""
        if self.dimensions == 2:
            normal = 2
        if self.space != "patient":
            return AS_STORED
        return geometry.section(self.affine, geometry.acquired_normal(self.affine) if normal is None else normal)

    def plane(self, section: Section, number: int) -> Image:
        """Plane `number` of a section as a picture of its own, oriented as shown, with its own affine."""
        shape = self.volume().shape[1:]
        affine = section.affine(self.affine, shape).copy()
        affine[:3, 3] = geometry.apply(affine, np.array([[0.0, 0.0, number]]))[0]
        return replace(self, array=section.planes(self.volume())[:, number], affine=affine)

    def with_array(self, array: np.ndarray, display: Display | None = None) -> Image:
        """The same grid with other values (a stated conversion: say it with `noted`)."""
        if array.shape[1:] != self.grid:
            raise ValueError(f"the grid is {self.grid}, the new array's is {array.shape[1:]}")
        return replace(self, array=array, display=display or self.display)

    def noted(self, *sentences: str) -> Image:
        """The same image with sentences added to its notes."""
        return replace(self, source=replace(self.source, notes=(*self.source.notes, *sentences)))

    def flipped(self, axis: int) -> Image:
        """The array reversed along axis 0 = x, 1 = y, 2 = z together with its affine: the same thing in space."""
        size = self.grid[::-1][axis]
        turn = np.eye(4)
        turn[axis, axis], turn[axis, 3] = -1.0, size - 1
        array = np.flip(self.array, axis=self.array.ndim - 1 - axis)
        return replace(self, array=array, affine=self.affine @ turn)


def from_array(array: np.ndarray, *, spacing: tuple[float, ...] | None = None, modality: str | None = None) -> Image:
    """An image from a bare array (c, z, y, x) or (c, y, x); a volume must state its spacing in mm (x, y, z)."""
    dimensions = array.ndim - 1
    if spacing is None and dimensions == 3:
        raise ValueError("a volume needs its spacing in mm: from_array(array, spacing=(x, y, z))")
    step = np.ones(3)
    if spacing is not None:
        step[: len(spacing)] = spacing
    low, high = float(array.min()), float(array.max())
    space: Space = "pixel" if spacing is None else ("patient" if dimensions == 3 else "plane")
    return Image(
        array=array,
        affine=geometry.with_step(np.diag(step), np.zeros(3)),
        space=space,
        display=Display(low, high if high > low else low + 1.0),
        source=Source(modality=modality),
    )
