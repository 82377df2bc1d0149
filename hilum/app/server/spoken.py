"""Prompts as they travel: JSON in the words of the command line, in voxel indices (x, y[, z]) of the image as read."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from ...values.errors import BadInput

if TYPE_CHECKING:
    from ...values.image import Image
    from ...values.prompts import Prompt

Number = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]
Place = Annotated[list[Number], Field(min_length=2, max_length=3)]
Text = Annotated[str, Field(min_length=1, max_length=1000)]
SpaceWord = Literal["voxel", "patient"]


class Said(BaseModel):
    """What all kinds share: no field that is not known, no number that is not finite."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PointsSaid(Said):
    """Clicks; `inside` says of each whether it lies in the object (left out: all do)."""

    kind: Literal["points"]
    at: Annotated[list[Place], Field(min_length=1, max_length=10_000)]
    inside: Annotated[list[bool], Field(max_length=10_000)] | None = None
    space: SpaceWord = "voxel"


class BoxSaid(Said):
    """Two corners, both included."""

    kind: Literal["box"]
    low: Place
    high: Place
    space: SpaceWord = "voxel"


class Drawn(Said):
    """Voxels that were drawn: as lines that a round pen follows, or as runs over the whole grid.

    `lines` are polylines of voxel places, `width` the pen's in voxels; in a volume the pen is flat along the axis that
    does not change along a line. `runs` are lengths, alternately of voxels left out and drawn, over the grid with x
    running fastest, then y, then z; they add up to the grid's number of voxels.
    """

    lines: Annotated[list[Annotated[list[Place], Field(min_length=1, max_length=20_000)]], Field(max_length=1000)] = []
    width: Annotated[float, Field(gt=0, le=1000)] = 1.0
    runs: Annotated[list[Annotated[int, Field(ge=0, le=2**40)]], Field(max_length=2_000_000)] | None = None


class ScribbleSaid(Said):
    """Strokes inside the object and, where there are any, outside it."""

    kind: Literal["scribble"]
    inside: Drawn
    outside: Drawn | None = None


class MaskSaid(Said):
    """A first guess that is to be bettered."""

    kind: Literal["mask"]
    drawn: Drawn


class LabelsSaid(Said):
    """Names of classes, with what is said for and against each where the system's own words are not wanted."""

    kind: Literal["labels"]
    names: Annotated[list[Text], Field(min_length=1, max_length=1000)]
    templates: Annotated[list[Text], Field(max_length=100)] = []
    texts: Annotated[list[list[Text]], Field(max_length=1000)] = []
    opposites: Annotated[list[list[Text]], Field(max_length=1000)] = []


AnySaid = Annotated[PointsSaid | BoxSaid | ScribbleSaid | MaskSaid | LabelsSaid, Field(discriminator="kind")]
SpatialSaid = Annotated[PointsSaid | BoxSaid | ScribbleSaid | MaskSaid, Field(discriminator="kind")]
ANY: TypeAdapter[Any] = TypeAdapter(AnySaid)


def prompts(said: Sequence[AnySaid], image: Image, name: str | None = None) -> tuple[Prompt, ...]:
    """The prompts, laid on the image; those of one `name` are about one object."""
    try:
        return tuple(_prompt(each, image, name) for each in said)
    except BadInput:
        raise
    except ValueError as error:  # a prompt checks itself at birth
        raise BadInput(f"{error}.") from error


def _prompt(said: AnySaid, image: Image, name: str | None) -> Prompt:
    from ...values.prompts import Box, Labels, Mask, Points, Scribble

    match said:
        case PointsSaid():
            widths = {len(place) for place in said.at}
            if len(widths) > 1:
                raise BadInput("points: some places have two numbers and some three.")
            return Points(said.at, said.inside, space=said.space, name=name)  # type: ignore[arg-type]
        case BoxSaid():
            return Box([said.low], [said.high], space=said.space, name=name)  # type: ignore[arg-type]
        case ScribbleSaid():
            inside = drawn(said.inside, image)
            if not inside.any():
                raise BadInput("scribble: no voxel was drawn inside the object.")
            return Scribble(inside, None if said.outside is None else drawn(said.outside, image), name=name)
        case MaskSaid():
            return Mask(drawn(said.drawn, image), name=name)
        case LabelsSaid():
            rows = tuple(map(tuple, said.texts)), tuple(map(tuple, said.opposites))
            return Labels(tuple(said.names), tuple(said.templates), *rows)
    raise AssertionError(said)


def drawn(said: Drawn, image: Image) -> np.ndarray:
    """Bool on the image's grid: where the pen went."""
    mask = np.zeros(image.grid, dtype=bool)
    if said.runs is not None:
        mask |= _laid(said.runs, image.grid)
    for line in said.lines:
        _stroke(mask, np.array([[*place, 0.0][:3] for place in line]), said.width, image)
    return mask


def _laid(runs: Sequence[int], grid: tuple[int, ...]) -> np.ndarray:
    count, total = int(np.prod(grid)), sum(runs)
    if total != count:
        raise BadInput(f"runs: they add up to {total} voxels, the image's grid has {count}.")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(grid)


def _stroke(mask: np.ndarray, line: np.ndarray, width: float, image: Image) -> None:
    """Marks the voxels within half a width of the line, on its plane; a voxel's centre on the line always counts."""
    volume = mask if mask.ndim == 3 else mask[None]
    last = np.array(volume.shape[::-1]) - 1
    if (line < -0.5).any() or (line > last + 0.5).any():
        raise BadInput(f"a line leaves the image of {' × '.join(map(str, last + 1))} voxels, counted from 0.")
    steps = [line[:1]]
    for start, end in pairwise(line):
        count = max(1, int(np.ceil(np.abs(end - start).max() * 2)))
        steps.append(start + (end - start) * (np.arange(1, count + 1) / count)[:, None])
    places = np.unique(np.rint(np.concatenate(steps)).astype(int), axis=0)
    for offset in _pen(width, _flat(line, image)):
        x, y, z = (np.clip(places + offset, 0, last)).T
        volume[z, y, x] = True


def _flat(line: np.ndarray, image: Image) -> int:
    """The axis across which the pen has no width: the one that the line keeps to, else the one shown."""
    still = [axis for axis in (2, 1, 0) if np.ptp(line[:, axis]) < 0.5]
    shown = image.section().normal
    return shown if shown in still or not still else still[0]


def _pen(width: float, flat: int) -> np.ndarray:
    radius = max(0.0, (width - 1.0) / 2)
    reach = int(np.floor(radius))
    steps = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    return steps[(steps[:, flat] == 0) & ((steps**2).sum(axis=1) <= radius**2)]
