"""Where voxels lie. Arrays are (c, z, y, x), coordinates (x, y, z), affines voxel index -> patient millimetres in LPS.

LPS is DICOM's frame: x grows to the patient's Left, y to the Posterior, z to the Superior side. An affine's columns
are the steps of one voxel along i = x, j = y, k = z; they need not be orthogonal (gantry tilt shears them).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Affine = Float[np.ndarray, "4 4"]

LETTERS = (("R", "L"), ("A", "P"), ("I", "S"))  # per LPS axis: the side it comes from, the side it grows to


def checked_affine(affine: object) -> Affine:
    """A 4 x 4 float64 copy; refuses what is no invertible affine."""
    matrix = np.array(affine, dtype=np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise ValueError(f"an affine is 4 x 4 and finite, got shape {matrix.shape}")
    if not np.array_equal(matrix[3], [0.0, 0.0, 0.0, 1.0]):
        raise ValueError(f"an affine's last row is 0 0 0 1, got {matrix[3].tolist()}")
    size = np.linalg.norm(matrix[:3, :3], axis=0).prod()  # relative: an electron microscope's voxels are small too
    if not abs(np.linalg.det(matrix[:3, :3])) > 1e-9 * size:
        raise ValueError("an affine's columns must span space: its determinant is zero")
    matrix.setflags(write=False)
    return matrix


def apply(affine: Affine, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """Points through an affine: voxel indices (x, y, z) to LPS mm, or back with its inverse."""
    return np.asarray(points, dtype=np.float64) @ affine[:3, :3].T + affine[:3, 3]


def inverse(affine: Affine) -> Affine:
    """LPS mm -> voxel index."""
    return checked_affine(np.linalg.inv(affine))


def spacing(affine: Affine) -> Float[np.ndarray, " 3"]:
    """Length in mm of one step along x, y, z."""
    return np.linalg.norm(affine[:3, :3], axis=0)


def directions(affine: Affine) -> Float[np.ndarray, "3 3"]:
    """Unit columns: where x, y, z of the array point in LPS."""
    return affine[:3, :3] / spacing(affine)


def voxel_ml(affine: Affine) -> float:
    """Volume of one voxel in millilitres; right for sheared grids too."""
    return float(abs(np.linalg.det(affine[:3, :3]))) / 1000.0


def shear(affine: Affine) -> float:
    """Largest |cosine| between two different axes: 0 where they are orthogonal."""
    unit = directions(affine)
    return float(np.abs(unit.T @ unit - np.eye(3)).max())


def with_step(columns: Float[np.ndarray, "3 3"], origin: Float[np.ndarray, " 3"]) -> Affine:
    """An affine from the steps of one voxel along x, y, z (columns, mm) and the centre of voxel (0, 0, 0)."""
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = columns, origin
    return checked_affine(affine)


def nearest_axes(affine: Affine) -> tuple[int, int, int]:
    """For the array's x, y, z the LPS axis that each follows most closely, each LPS axis once (best assignment)."""
    weight = np.abs(directions(affine))
    orders = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    return max(orders, key=lambda order: sum(weight[lps, axis] for axis, lps in enumerate(order)))


def letters(affine: Affine, axis: int) -> tuple[str, str]:
    """Patient sides at the low and the high end of the array's axis (0 = x, 1 = y, 2 = z), such as ('R', 'L')."""
    lps = nearest_axes(affine)[axis]
    low, high = LETTERS[lps]
    return (low, high) if affine[lps, axis] > 0 else (high, low)


@dataclass(frozen=True, slots=True)
class Section:
    """How planes of a volume are shown: which array axes run down and across, and whether each is reversed.

    Axes are numbered 0 = x, 1 = y, 2 = z. In patient space a section is radiological: axial with the patient's right
    side on the left of the picture and the front on top, coronal and sagittal with the head on top. Reversing an
    array together with its affine therefore gives the same picture.
    """

    normal: int
    down: int
    across: int
    flip_down: bool = False
    flip_across: bool = False
    flip_normal: bool = False

    def __post_init__(self) -> None:
        if sorted((self.normal, self.down, self.across)) != [0, 1, 2]:
            raise ValueError(f"a section's axes are 0, 1, 2 each once, got {(self.normal, self.down, self.across)}")

    def planes(self, array: np.ndarray) -> np.ndarray:
        """(..., z, y, x) -> (..., n, h, w): all planes as shown; a view, nothing is resampled."""
        lead = tuple(range(array.ndim - 3))
        where = [array.ndim - 1 - axis for axis in (self.normal, self.down, self.across)]
        return self._flipped(array.transpose(*lead, *where))

    def volume(self, planes: np.ndarray) -> np.ndarray:
        """(..., n, h, w) -> (..., z, y, x): undoes `planes` exactly."""
        shown = self._flipped(planes)
        lead = tuple(range(planes.ndim - 3))
        position = {axis: len(lead) + place for place, axis in enumerate((self.normal, self.down, self.across))}
        return shown.transpose(*lead, position[2], position[1], position[0])

    def _flipped(self, planes: np.ndarray) -> np.ndarray:
        normal, down, across = (-1 if flip else 1 for flip in (self.flip_normal, self.flip_down, self.flip_across))
        return planes[..., ::normal, ::down, ::across]

    def shown(self, points: Float[np.ndarray, "n 3"], shape: tuple[int, int, int]) -> Float[np.ndarray, "n 3"]:
        """Voxel indices (x, y, z) of an array of shape (z, y, x) -> (across, down, plane number)."""
        size = shape[::-1]
        columns = []
        for axis, flip in self._order():
            values = points[:, axis]
            columns.append(size[axis] - 1 - values if flip else values)
        return np.stack(columns, axis=1)

    def _order(self) -> tuple[tuple[int, bool], ...]:
        return (self.across, self.flip_across), (self.down, self.flip_down), (self.normal, self.flip_normal)

    def affine(self, affine: Affine, shape: tuple[int, int, int]) -> Affine:
        """The affine of the shown volume, whose indices are (across, down, plane number)."""
        size = shape[::-1]
        to_array = np.zeros((4, 4))
        to_array[3, 3] = 1.0
        for place, (axis, flip) in enumerate(self._order()):
            to_array[axis, place] = -1.0 if flip else 1.0
            to_array[axis, 3] = size[axis] - 1 if flip else 0.0
        return checked_affine(affine @ to_array)


AS_STORED = Section(normal=2, down=1, across=0)


def section(affine: Affine, normal: int) -> Section:
    """The radiological way to show the planes across the array's axis `normal`, for an affine in patient space."""
    lps = nearest_axes(affine)
    rest = [axis for axis in (0, 1, 2) if axis != normal]
    # across shows left-right where there is one, else front-back; down shows front-back on axial planes, else head-feet
    across = min(rest, key=lambda axis: lps[axis])
    down = next(axis for axis in rest if axis != across)
    wanted_across = 1.0  # to the patient's left, or to the back
    wanted_down = -1.0 if lps[down] == 2 else 1.0  # to the feet, or to the back
    return Section(
        normal=normal,
        down=down,
        across=across,
        flip_down=bool(affine[lps[down], down] * wanted_down < 0),
        flip_across=bool(affine[lps[across], across] * wanted_across < 0),
        flip_normal=bool(affine[lps[normal], normal] < 0),
    )


def acquired_normal(affine: Affine) -> int:
    """The array axis across which a volume is best looked at: clearly the coarsest one, else the head-feet axis."""
    step = spacing(affine)
    coarsest = int(np.argmax(step))
    others = np.delete(step, coarsest)
    if step[coarsest] > 1.5 * others.max():
        return coarsest
    return nearest_axes(affine).index(2)
