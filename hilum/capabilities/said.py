"""What was said: prompts sorted by the object they mean, in voxel indices of the image, then plane by plane."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from ..values import geometry
from ..values.answers import tight_box
from ..values.errors import BadInput
from ..values.geometry import Section
from ..values.image import Image
from ..values.prompts import Box, Labels, Mask, PlanePrompt, Points, Prompt, Question, Scribble, Spatial, kind

BoxCorners = Float[np.ndarray, "2 3"]


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """All that was said of one object, in voxel indices (x, y, z); masks and strokes are (z, y, x)."""

    name: str
    points: Float[np.ndarray, "n 3"]
    inside: Bool[np.ndarray, " n"]
    boxes: tuple[BoxCorners, ...] = ()
    mask: Bool[np.ndarray, "z y x"] | None = None
    strokes_in: Bool[np.ndarray, "z y x"] | None = None
    strokes_out: Bool[np.ndarray, "z y x"] | None = None

    def normal(self) -> int | None:
        """The array axis (0 = x, 1 = y, 2 = z) across which the user drew: where boxes or strokes are flat."""
        extents = [tuple(map(tuple, box)) for box in self.boxes]
        for drawn in (self.mask, self.strokes_in):
            box = None if drawn is None else tight_box(drawn)
            extents += [] if box is None else [box]
        if not extents and len(self.points) > 1:
            extents = [(tuple(self.points.min(axis=0)), tuple(self.points.max(axis=0)))]
        flat = [axis for axis in range(3) if extents and all(low[axis] == high[axis] for low, high in extents)]
        return flat[0] if len(flat) == 1 else None

    def on(self, section: Section, shape: tuple[int, int, int]) -> dict[int, PlanePrompt]:
        """Plane number -> what was said there. A box through several planes speaks for its middle one."""
        said: dict[int, PlanePrompt] = {}
        points = section.shown(self.points, shape)
        for number in np.unique(np.rint(points[:, 2]).astype(int)):
            there = np.rint(points[:, 2]).astype(int) == number
            said[int(number)] = PlanePrompt(points=points[there, :2], inside=self.inside[there])
        for corners in self.shown_boxes(section, shape):
            number = round((corners[0, 2] + corners[1, 2]) / 2)
            said[number] = replace(said.get(number, PlanePrompt()), box=corners[:, :2])
        for field, drawn in (("mask", self.mask), ("strokes_in", self.strokes_in), ("strokes_out", self.strokes_out)):
            if drawn is not None:
                _add_planes(said, field, section.planes(drawn))
        return said

    def shown_boxes(self, section: Section, shape: tuple[int, int, int]) -> list[BoxCorners]:
        """The boxes as [low, high] in (across, down, plane number)."""
        return [np.sort(section.shown(corners, shape), axis=0) for corners in self.boxes]


def _add_planes(said: dict[int, PlanePrompt], field: str, planes: Bool[np.ndarray, "n h w"]) -> None:
    for number in np.flatnonzero(planes.any(axis=(1, 2))):
        drawn = planes[number].astype(np.float32) if field == "mask" else planes[number]
        said[int(number)] = replace(said.get(int(number), PlanePrompt()), **{field: drawn})


def objects(prompts: Iterable[Spatial], image: Image) -> tuple[Said, ...]:
    """One `Said` per object: prompts of one name belong together; an unnamed box starts an object of its own,
    and unnamed points, masks and strokes refine the one box that is there, or the box said just before them."""
    return tuple(_joined(name, group, image) for name, group in grouped(prompts).items())


def grouped(prompts: Iterable[Spatial]) -> dict[str, list[Spatial]]:
    """The prompts of each object, by its name."""
    groups: dict[str, list[Spatial]] = {}
    prompts = tuple(prompts)
    boxes = [prompt for prompt in prompts if isinstance(prompt, Box) and prompt.name is None]
    started = 0
    for prompt in prompts:
        if prompt.name is not None:
            key = prompt.name
        elif len(boxes) < 2:
            key = "object"
        else:
            started += isinstance(prompt, Box)
            if not started:
                raise BadInput(
                    f"with {len(boxes)} boxes, {kind(prompt)} must follow the box it refines, or both carry a name"
                )
            key = f"object {started}"
        groups.setdefault(key, []).append(prompt)
    return groups


def _joined(name: str, group: list[Spatial], image: Image) -> Said:
    points, inside, boxes = [np.zeros((0, 3))], [np.zeros(0, dtype=bool)], []
    drawn: dict[str, np.ndarray] = {}
    for prompt in group:
        match prompt:
            case Points():
                points.append(_within(_voxels(prompt.at, prompt.space, image), image, "point"))
                inside.append(prompt.inside)
            case Box():
                boxes.append(_box(prompt, image))
            case Mask():
                _draw(drawn, "mask", prompt.array, image)
            case Scribble():
                _draw(drawn, "strokes_in", prompt.inside, image)
                if prompt.outside is not None:
                    _draw(drawn, "strokes_out", prompt.outside, image)
    return Said(name, np.concatenate(points), np.concatenate(inside), tuple(boxes), **drawn)


def _draw(drawn: dict[str, np.ndarray], field: str, array: np.ndarray, image: Image) -> None:
    if array.shape != image.grid:
        raise BadInput(f"the {field.split('_')[0]} is {array.shape}, the image's grid is {image.grid}")
    volume = array if array.ndim == 3 else array[None]
    drawn[field] = drawn[field] | volume if field in drawn else volume


def _voxels(at: np.ndarray, space: str, image: Image) -> Float[np.ndarray, "n 3"]:
    if space == "patient":
        if image.space != "patient" or at.shape[1] != 3:
            raise BadInput("a prompt in patient millimetres is (x, y, z) and wants an image with patient geometry")
        return geometry.apply(geometry.inverse(image.affine), at)
    if at.shape[1] == 3:
        if image.dimensions == 2:
            raise BadInput(f"the image is one plane of {_size(image)} pixels: give x,y (got {_text(at[0])})")
        return at
    if image.volume().shape[1] != 1:
        raise BadInput(f"the image is a volume of {_size(image)} voxels: give x,y,z (got {_text(at[0])})")
    return np.concatenate([at, np.zeros((len(at), 1))], axis=1)


def _box(prompt: Box, image: Image) -> BoxCorners:
    corners = np.stack([prompt.low, prompt.high])
    if prompt.space == "patient" and corners.shape[1] == 3:
        choices = np.array(
            [[corners[x, 0], corners[y, 1], corners[z, 2]] for x in (0, 1) for y in (0, 1) for z in (0, 1)]
        )
        voxels = _voxels(choices, "patient", image)
        low, high = voxels.min(axis=0), voxels.max(axis=0)
    else:
        low, high = _voxels(corners, prompt.space, image)
    last = np.array(image.volume().shape[:0:-1], dtype=np.float64) - 1
    if (high < -0.5).any() or (low > last + 0.5).any():
        raise BadInput(f"the box {_text(low)}:{_text(high)} lies outside the image of {_size(image)}, counted from 0")
    return np.stack([np.clip(low, 0, last), np.clip(high, 0, last)])


def _within(at: Float[np.ndarray, "n 3"], image: Image, what: str) -> Float[np.ndarray, "n 3"]:
    last = np.array(image.volume().shape[:0:-1]) - 1
    for place in at:
        if (place < -0.5).any() or (place > last + 0.5).any():
            raise BadInput(f"the {what} {_text(place)} lies outside the image of {_size(image)}, counted from 0")
    return np.clip(at, 0, last)


def _size(image: Image) -> str:
    return " × ".join(str(size) for size in reversed(image.grid))


def _text(place: np.ndarray) -> str:
    return ",".join(f"{value:g}" for value in place)


def described(prompt: Prompt) -> Mapping[str, Any]:
    """A prompt as plain types, for the provenance; pixels are counted, not copied."""
    match prompt:
        case Points():
            said: dict[str, Any] = {"at": prompt.at.tolist(), "inside": prompt.inside.tolist(), "space": prompt.space}
        case Box():
            said = {"low": prompt.low.tolist(), "high": prompt.high.tolist(), "space": prompt.space}
        case Mask():
            said = {"voxels": int(prompt.array.sum())}
        case Scribble():
            outside = 0 if prompt.outside is None else int(prompt.outside.sum())
            said = {"inside_voxels": int(prompt.inside.sum()), "outside_voxels": outside}
        case Labels():
            said = {"names": list(prompt.names), "templates": list(prompt.templates)}
            for key, texts in (("texts", prompt.texts), ("opposites", prompt.opposites)):
                said |= {key: list(map(list, texts))} if texts else {}
        case Question():
            said = {"text": prompt.text}
        case _:
            said = {}
    name = getattr(prompt, "name", None)
    return {"kind": kind(prompt), **({} if name is None else {"name": name}), **said}
