"""What every volume and picture file comes down to: values, where they lie if the file says, and what must be said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Float, Num

from hilum.values import geometry
from hilum.values.errors import BadInput
from hilum.values.geometry import Affine
from hilum.values.image import Display, Image, Source, Space

from .payload import sha256

NARROWEST = 1e-30  # a display window below it is zero in float32 arithmetic
LARGEST = 1e37  # values beyond it overflow in float32 arithmetic
FARTHEST = 1e7  # mm from the origin; no patient is ten kilometres long
SAMPLE = 1_000_000  # values that the display window is estimated from


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """A decoded file. `columns` are the steps of one voxel along x, y, z and `origin` voxel (0, 0, 0), both in LPS mm;
    None where the file does not say. `hint` completes the sentence that refuses a volume without them."""

    path: Path
    format: str
    values: Num[np.ndarray, " c *grid"]
    columns: Float[np.ndarray, "3 3"] | None = None
    origin: Float[np.ndarray, " 3"] = field(default_factory=lambda: np.zeros(3))
    hint: str = ""
    window: tuple[float, float] | None = None
    data_file: Path | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def settled(stored: Stored, spacing: tuple[float, ...] | None) -> Image:
    """The image of a decoded file; `spacing` (mm along x, y[, z]) is the user's word where the file has none."""
    name, dimensions = stored.path.name, stored.values.ndim - 1
    stated = None if spacing is None else checked_spacing(spacing, dimensions)
    values, repairs = finite(stored.values, name)
    low, high = stored.window or (0.0, 0.0)
    low, high = (low, high) if high - low > NARROWEST else robust_window(values)
    affine, notes = _placed(stored, stated)
    files = (stored.path,) if stored.data_file is None else (stored.path, stored.data_file)
    return Image(
        array=values,
        affine=affine,
        space=_space(dimensions, known=stored.columns is not None or stated is not None),
        display=Display(low, high),
        source=Source(
            format=stored.format,
            files=files,
            sha256=sha256(*files),
            detail=MappingProxyType(dict(stored.detail)),
            notes=(*stored.notes, *repairs, *notes),
        ),
    )


def _space(dimensions: int, *, known: bool) -> Space:
    if dimensions == 3:
        return "patient"
    return "plane" if known else "pixel"


def _placed(stored: Stored, stated: tuple[float, ...] | None) -> tuple[Affine, tuple[str, ...]]:
    name, dimensions = stored.path.name, stored.values.ndim - 1
    if stored.columns is not None:
        affine = checked(name, stored.columns, stored.origin)
        known = geometry.spacing(affine)[:dimensions]
        if stated is not None and not np.allclose(known, stated, rtol=1e-3, atol=0.0):
            raise BadInput(
                f"{name} says its spacing is {numbers(known)} mm; --spacing {numbers(stated)} contradicts it."
            )
        return affine, ()
    if stated is None and dimensions == 3:
        raise BadInput(f"{name} does not say where its voxels lie{stored.hint}. State it in mm: --spacing x,y,z.")
    steps = np.ones(3)
    if stated is None:
        return geometry.with_step(np.diag(steps), np.zeros(3)), ()
    steps[:dimensions] = stated
    note = f"the spacing {numbers(stated)} mm was stated by the user; the file does not say it"
    return geometry.with_step(np.diag(steps), np.zeros(3)), (note,)


def checked(name: str, columns: Float[np.ndarray, "3 3"], origin: Float[np.ndarray, " 3"]) -> Affine:
    """The affine of steps and origin; what no patient could have is refused with the file's name."""
    if not (np.abs(columns) < FARTHEST).all() or not (np.abs(origin) < FARTHEST).all():
        raise BadInput(f"{name} places its voxels kilometres away or nowhere: its geometry is damaged.")
    try:
        return geometry.with_step(columns, origin)
    except ValueError as error:
        raise BadInput(f"{name} has a damaged geometry: {error}.") from error


def with_normal(columns: Float[np.ndarray, "3 3"], depth: int) -> Float[np.ndarray, "3 3"]:
    """A grid of one plane whose third step is zero gets a step of 1 mm across the plane, so that it spans space."""
    if depth != 1 or columns[:, 2].any():
        return columns
    normal = np.cross(columns[:, 0], columns[:, 1])
    length = np.linalg.norm(normal)
    return columns if length == 0 else np.column_stack([columns[:, :2], normal / length])


def checked_spacing(spacing: tuple[float, ...], dimensions: int) -> tuple[float, ...]:
    """The user's spacing, one number above 0 per axis."""
    steps = tuple(float(step) for step in spacing)
    if len(steps) != dimensions or not all(1e-6 < step < 1e4 for step in steps):
        wanted = "x,y,z" if dimensions == 3 else "x,y"
        raise BadInput(f"--spacing wants {dimensions} lengths in mm ({wanted}) above 0, got {numbers(steps)}.")
    return steps


def checked_type(dtype: np.dtype[Any], name: str) -> np.dtype[Any]:
    """A number type that we can read; complex and extended ones are refused by name."""
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise BadInput(f"{name} holds values of type {dtype}: hilum reads whole numbers and floats of up to 64 bits.")
    return dtype


def native(payload: bytearray, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Num[np.ndarray, " *shape"]:
    """Bytes as an array in this machine's byte order."""
    array = np.frombuffer(payload, dtype=dtype).reshape(shape)
    return array if dtype.isnative else array.astype(dtype.newbyteorder("="))


def finite(values: Num[np.ndarray, " c *grid"], name: str) -> tuple[Num[np.ndarray, " c *grid"], tuple[str, ...]]:
    """Values without NaN and infinities (the finite minimum or maximum takes their place), and the note of it."""
    if values.dtype.kind != "f":
        return values, ()
    good = np.isfinite(values)
    if not good.any():
        raise BadInput(f"{name} holds no finite value.")
    low, high = float(values.min(where=good, initial=np.inf)), float(values.max(where=good, initial=-np.inf))
    if max(abs(low), abs(high)) > LARGEST:
        raise BadInput(f"{name} holds values from {low:g} to {high:g}, beyond what can be computed with.")
    if good.all():
        return values, ()
    note = f"{int((~good).sum()):,} values are not finite and were replaced by the finite minimum {low:g}"
    return np.nan_to_num(values, nan=low, posinf=high, neginf=low), (note,)


def robust_window(values: Num[np.ndarray, " *any"]) -> tuple[float, float]:
    """The 0.5th to 99.5th percentile, over a regular sample of large arrays; widened where they coincide."""
    flat = values.reshape(-1)
    low, high = (float(value) for value in np.percentile(flat[:: flat.size // SAMPLE | 1], (0.5, 99.5)))
    if not high - low > NARROWEST:
        low, high = float(values.min()), float(values.max())
    return low, high if high - low > NARROWEST else low + max(1.0, abs(low) * 1e-6)


def picked(count: int, frame: int | None, name: str) -> int:
    """Which of `count` volumes or pages; `frame` counts from 0, and must be said where there are several."""
    if frame is None and count > 1:
        raise BadInput(f"{name} holds {count} frames: choose one with --frame 0 to {count - 1}.")
    if not 0 <= (frame or 0) < count:
        raise BadInput(
            f"{name} holds {count} frame{'s' if count > 1 else ''}, counted from 0; --frame {frame} is none."
        )
    return frame or 0


def numbers(values: object) -> str:
    """Lengths as one writes them: 0.7, 0.9, 2.5."""
    return ", ".join(f"{value:g}" for value in np.asarray(values, dtype=np.float64).reshape(-1))
