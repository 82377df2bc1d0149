"""From a volume's own grid to one of cubes that lies along the patient, and back to exactly the grid it came from.

Arrays here are (x, y, z): x grows to the patient's right, y to the front, z to the head (RAS), along the volume's own
axes; an oblique volume is not turned, and the shear of a tilted gantry is taken out. Affines are LPS, as everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Bool, Float, Num
from scipy.ndimage import affine_transform

from hilum.values import geometry
from hilum.values.answers import tight_box
from hilum.values.geometry import Affine

TOWARDS = (-1.0, -1.0, 1.0)  # right, front and head along LPS axes
AIR = -1024.0  # HU, where a grid reaches out of a sheared volume
SHEARED = 1e-3  # cosine between axes
EXACT = 9  # digits of an index that are kept: a volume stored in another order must give the same numbers
TIE = 1e-6  # of a cube, by which a voxel between two cubes is nearer to the lower one


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """An array (z, y, x) turned by whole axes so that its x, y, z point right, front and head, as nearly as they do."""

    order: tuple[int, int, int]  # array axes, 0 = x, that become x, y, z
    reversed: tuple[bool, bool, bool]
    affine: Affine
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, affine: Affine, grid: tuple[int, ...]) -> View:
        """For an array of shape (z, y, x) and its affine."""
        lps = geometry.nearest_axes(affine)
        order = (lps.index(0), lps.index(1), lps.index(2))
        sizes = tuple(grid[2 - axis] for axis in order)
        against = tuple(bool(affine[each, axis] * TOWARDS[each] < 0) for each, axis in enumerate(order))
        turn = np.zeros((4, 4))
        turn[3, 3] = 1.0
        for each, axis in enumerate(order):
            turn[axis, each] = -1.0 if against[each] else 1.0
            turn[axis, 3] = sizes[each] - 1 if against[each] else 0.0
        return cls(order, against, geometry.checked_affine(affine @ turn), sizes)  # type: ignore[arg-type]

    def seen(self, array: Num[np.ndarray, "z y x"]) -> Num[np.ndarray, "x y z"]:
        """A view of the array."""
        return array.transpose(*(2 - axis for axis in self.order))[self._steps()]

    def undone(self, array: Num[np.ndarray, "x y z"]) -> Num[np.ndarray, "z y x"]:
        """The way back."""
        return array[self._steps()].transpose(*(self.order.index(2 - place) for place in range(3)))

    def _steps(self) -> tuple[slice, ...]:
        return tuple(slice(None, None, -1 if against else 1) for against in self.reversed)


@dataclass(frozen=True, slots=True, eq=False)
class IsotropicGrid:
    """Cubes over a volume: `shape` (x, y, z), and the affine of their indices."""

    view: View
    shape: tuple[int, int, int]
    affine: Affine

    @classmethod
    def over(cls, affine: Affine, grid: tuple[int, ...], step: float) -> IsotropicGrid:
        """Cubes of `step` mm from the first voxel's centre to the last one's, as MONAI's `Spacing` lays them."""
        view = View.of(affine, grid)
        axes, upper = np.linalg.qr(geometry.directions(view.affine))
        axes = axes * np.sign(np.diag(upper))
        corners = np.array(list(product(*((0.0, size - 1.0) for size in view.shape))))
        along = geometry.apply(view.affine, corners) @ axes
        low, extent = along.min(axis=0), np.ptp(along, axis=0)
        x, y, z = (int(size) for size in np.round(np.round(extent / step, EXACT) + 1))
        return cls(view, (x, y, z), geometry.with_step(axes * step, axes @ low))

    def sampled(self, values: Num[np.ndarray, "z y x"], *, order: int = 1) -> Float[np.ndarray, "x y z"]:
        """The volume at the cubes' centres: linear between voxels, or the nearest (order 0)."""
        index = geometry.inverse(self.view.affine) @ self.affine
        return affine_transform(
            self.view.seen(values),
            np.round(index[:3, :3], EXACT),
            np.round(index[:3, 3], EXACT),
            output_shape=self.shape,
            output=np.float32,
            order=order,
            mode="constant" if geometry.shear(self.view.affine) > SHEARED else "nearest",
            cval=AIR if order else 0.0,
        )

    def returned(self, mask: Bool[np.ndarray, "x y z"]) -> Bool[np.ndarray, "z y x"]:
        """A mask of cubes on the volume's own grid: of each voxel, the cube that its centre lies in.

        Only the voxels around the mask are looked at.
        """
        whole = np.zeros(self.view.shape, dtype=bool)
        box = tight_box(mask)
        if box is not None:
            index = geometry.inverse(self.affine) @ self.view.affine  # voxel -> cube
            low, high = (np.array(corner[::-1]) for corner in box)  # boxes are told last axis first
            corners = np.array(list(product(*zip(low - 0.5, high + 0.5, strict=True))))
            reach = geometry.apply(geometry.inverse(index), corners)
            first = np.clip(np.floor(reach.min(axis=0)), 0, self.view.shape).astype(int)
            last = np.clip(np.ceil(reach.max(axis=0)) + 1, 0, self.view.shape).astype(int)
            part = np.pad(mask[_slices(low, high + 1)], 1).astype(np.uint8)
            offset = np.round(index[:3, :3] @ first + index[:3, 3], EXACT) - low + 1 - TIE
            if (last > first).all():
                whole[_slices(first, last)] = affine_transform(
                    part,
                    np.round(index[:3, :3], EXACT),
                    offset,
                    output_shape=tuple(last - first),
                    order=0,
                    mode="nearest",
                )
        return np.ascontiguousarray(self.view.undone(whole))


def _slices(low: np.ndarray, high: np.ndarray) -> tuple[slice, ...]:
    return tuple(slice(int(first), int(last)) for first, last in zip(low, high, strict=True))
