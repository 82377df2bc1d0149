"""Planes put in order in patient space: sorted by position, checked for gaps, and given one affine, sheared or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hilum.io.dicom_header import MARKS, Plane
from hilum.values import geometry
from hilum.values.errors import BadInput

SAME_DIRECTION = 1e-4  # of a cosine
SAME_PLACE = 0.05  # of the median step: closer planes lie at one place
UNEVEN, UNEVEN_MM = 0.01, 0.01  # a step may differ from the median by the larger of both ...
UNEVEN_MOST = 0.1  # ... but not by more than this part of it
MOST_DRIFT = 0.1  # of a step: how far a slice may lie from where the affine puts it
TILTED = 1e-3  # cosine between the step and a row or column: from here a note says that the grid is sheared


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """Planes from the lowest to the highest along the normal (row x column direction), and their affine to LPS mm."""

    planes: tuple[Plane, ...]
    affine: geometry.Affine
    notes: tuple[str, ...] = ()


def stack(planes: Sequence[Plane], frame: int | None, what: str) -> Stack:
    """One volume from planes with positions; where several lie at the same places, `frame` picks one, from 0."""
    volumes, mark = _volumes(planes)
    number = _chosen(volumes, mark, frame, what)
    _check_alike(volumes[number], what)
    ordered = sorted(volumes[number], key=_height)
    notes = [f"volume {number} of {len(volumes)}, told apart by {mark}"] if mark else []
    if len(ordered) == 1:
        return Stack(tuple(ordered), lone_affine(ordered[0]), tuple(notes))
    _check_steps(ordered, what)
    affine = _affine(ordered)
    if geometry.shear(affine) > TILTED:
        degrees = np.degrees(np.arcsin(min(1.0, geometry.shear(affine))))
        notes.append(f"the slices are stacked at a slant (gantry tilt) of {degrees:.2f} degrees: the affine is sheared")
    return Stack(tuple(ordered), affine, tuple(notes))


def lone_affine(plane: Plane) -> geometry.Affine:
    """The affine of one plane; its third column is the normal times the thickness, 1 mm where none is said."""
    columns = np.stack([*_in_plane(plane), _normal(plane) * (plane.thickness or 1.0)], axis=1)
    return geometry.with_step(columns, np.array(plane.position))


def check_orientation(plane: Plane) -> None:
    """Refuses directions that are not two perpendicular unit vectors."""
    row, column = _directions(plane)
    off = max(abs(row @ row - 1), abs(column @ column - 1), abs(row @ column))
    if off > 1e-3:
        raise BadInput(f"{name(plane)}: ImageOrientationPatient is not two perpendicular directions of length 1.")


def name(plane: Plane) -> str:
    """How a sentence names a plane: its file, and the frame where there are several."""
    return plane.path.name if plane.frame is None else f"frame {plane.frame} of {plane.path.name}"


def same_orientation(first: Plane, second: Plane) -> bool:
    """Whether two planes lie in parallel and their rows run alike."""
    return np.allclose(first.orientation or 0, second.orientation or 0, rtol=0, atol=SAME_DIRECTION)


def _directions(plane: Plane) -> Float[np.ndarray, "2 3"]:
    return np.array(plane.orientation).reshape(2, 3)


def _normal(plane: Plane) -> Float[np.ndarray, " 3"]:
    return np.cross(*_directions(plane))


def _height(plane: Plane) -> float:
    return float(np.array(plane.position) @ _normal(plane))


def _in_plane(plane: Plane) -> tuple[Float[np.ndarray, " 3"], Float[np.ndarray, " 3"]]:
    row, column = _directions(plane)
    across, down = plane.spacing or (1.0, 1.0)
    return row * across, column * down


def _affine(ordered: Sequence[Plane]) -> geometry.Affine:
    """The third column is the mean step of the positions, wherever it points."""
    first, last = np.array(ordered[0].position), np.array(ordered[-1].position)
    step = (last - first) / (len(ordered) - 1)
    return geometry.with_step(np.stack([*_in_plane(ordered[0]), step], axis=1), first)


def _volumes(planes: Sequence[Plane]) -> tuple[list[list[Plane]], str | None]:
    """The planes split into volumes, and the mark that tells them apart; one volume and None where none does."""
    stacks = _split(planes, MARKS.index("StackID"))
    if len(stacks) > 1 and not all(same_orientation(planes[0], plane) for plane in planes):
        return stacks, "StackID"
    if len(set(_places(planes))) == len(planes):
        return [list(planes)], None
    for place, mark in enumerate(MARKS):
        parts = _split(planes, place)
        if len(parts) > 1 and _repeat_one_place_set(parts):
            return parts, mark
    return [list(planes)], None


def _split(planes: Sequence[Plane], place: int) -> list[list[Plane]]:
    parts: dict[object, list[Plane]] = {}
    for plane in planes:
        parts.setdefault(plane.marks[place], []).append(plane)
    return [parts[mark] for mark in sorted(parts, key=_mark_order)]


def _mark_order(mark: object) -> tuple[float, str]:
    try:
        return float(str(mark)), ""
    except ValueError:
        return np.inf, str(mark)


def _repeat_one_place_set(parts: Sequence[Sequence[Plane]]) -> bool:
    """Whether each part has every place once, and all have the same places."""
    places = [_places(part) for part in parts]
    return all(len(set(part)) == len(part) and set(part) == set(places[0]) for part in places)


def _places(planes: Sequence[Plane]) -> list[tuple[float, ...]]:
    return [tuple(np.round((*(plane.position or ()), *(plane.orientation or ())), 3).tolist()) for plane in planes]


def _chosen(volumes: Sequence[Sequence[Plane]], mark: str | None, frame: int | None, what: str) -> int:
    count = len(volumes)
    if frame is None and count == 1:
        return 0
    if frame is None:
        raise BadInput(
            f"{what} holds {count} volumes told apart by {mark} ({len(volumes[0])} slices in the first): "
            f"pick one with --frame 0 to {count - 1}."
        )
    if not 0 <= frame < count:
        raise BadInput(f"{what} holds {count} volume{'s'[: count != 1]}, numbered from 0; there is no frame {frame}.")
    return frame


def _check_alike(planes: Sequence[Plane], what: str) -> None:
    groups: list[list[Plane]] = []
    for plane in planes:
        check_orientation(plane)
        for group in groups:
            if same_orientation(group[0], plane) and np.allclose(group[0].spacing or 1, plane.spacing or 1, rtol=1e-4):
                group.append(plane)
                break
        else:
            groups.append([plane])
    if len(groups) > 1:
        listed = "; ".join(f"{len(group)} along {_axis(group[0])} ({names(group)})" for group in groups)
        raise BadInput(
            f"{what} mixes slices of different orientation or pixel size, give those of one group: {listed}."
        )


def _axis(plane: Plane) -> str:
    normal = _normal(plane)
    return ("left-right", "front-back", "head-feet")[int(np.argmax(np.abs(normal)))]


def names(planes: Sequence[Plane], most: int = 4) -> str:
    """A few names, and how many more there are."""
    shown = ", ".join(name(plane) for plane in planes[:most])
    return shown if len(planes) <= most else f"{shown} and {len(planes) - most} more"


def _check_steps(ordered: Sequence[Plane], what: str) -> None:
    """Refuses doubled, missing and uneven slices, and positions that leave the line; each sentence says where."""
    positions = np.array([plane.position for plane in ordered])
    heights = np.array([_height(plane) for plane in ordered])
    gaps = np.diff(heights)
    median = float(np.median(gaps[gaps > 1e-4])) if (gaps > 1e-4).any() else 0.0
    doubled = np.flatnonzero(gaps <= max(1e-4, SAME_PLACE * median))
    if doubled.size:
        twins = sorted({index + side for index in doubled.tolist() for side in (0, 1)})
        listed = names([ordered[index] for index in twins])
        raise BadInput(f"{what} has slices at the same position: {listed}. Remove the doubles.")
    _check_gaps(ordered, heights, median, what)
    line = positions[0] + np.arange(len(ordered))[:, None] * (positions[-1] - positions[0]) / (len(ordered) - 1)
    drift = np.linalg.norm(positions - line, axis=1)
    worst = int(drift.argmax())
    if drift[worst] > MOST_DRIFT * median:
        raise BadInput(f"{what}: {name(ordered[worst])} lies {drift[worst]:.3f} mm off the line of the other slices.")


def _check_gaps(ordered: Sequence[Plane], heights: Float[np.ndarray, " n"], median: float, what: str) -> None:
    gaps = np.diff(heights)
    wrong = np.flatnonzero(np.abs(gaps - median) > _tolerance(median))
    if not wrong.size:
        return
    where = int(wrong[np.abs(gaps[wrong] - median).argmax()])
    between = f"between {name(ordered[where])} at {heights[where]:.3f} mm and {name(ordered[where + 1])} at "
    between += f"{heights[where + 1]:.3f} mm along the normal"
    missing = gaps[where] / median - 1
    if missing > 0.5 and abs(missing - round(missing)) < 0.1:
        holes = f" ({len(wrong)} such gaps)" if len(wrong) > 1 else ""
        raise BadInput(f"{what}: {round(missing)} slice{'s'[: round(missing) != 1]} missing {between}{holes}.")
    raise BadInput(
        f"{what} is not evenly spaced: {gaps[where]:.3f} mm {between}, the median step is {median:.3f} mm "
        f"({len(wrong)} of {len(gaps)} steps are off by more than {UNEVEN:.0%})."
    )


def _tolerance(step: float) -> float:
    return max(UNEVEN * step, min(UNEVEN_MM, UNEVEN_MOST * step))
