"""The preview of a segmentation: one dark sheet that a person can judge the masks by.

A large panel shows the plane with most of the object, beside it the image alone, planes evenly through the object,
the two other directions where voxels allow, and the uncertainty. All panels are in radiological orientation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from hilum.values.answers import Segmentation
from hilum.values.geometry import Section
from hilum.values.prompts import Prompt

from . import planes
from .ink import Canvas
from .legend import key, legend
from .marks import prompted_planes
from .page import CAPTION, GAP, Box, bound, check_picture, column, footing, framed, grid, heading, row, save
from .panel import Panel, outlined, plain, uncertain
from .view import Region, View, fitted, whole
from .words import image_words, system_words

CELL = 384  # px down a small panel; the large one is as high as two of them
TALL = 2 * CELL + CAPTION + GAP


def preview(answer: Segmentation, path: Path, *, prompts: Sequence[Prompt] = (), force: bool = False) -> Path:
    """Write the preview of an answer as a PNG; `prompts` are drawn where they were given."""
    check_picture(path, force=force)
    return save(sheet(answer, prompts), path, force=force)


def sheet(answer: Segmentation, prompts: Sequence[Prompt] = ()) -> Canvas:
    """The preview as pixels."""
    shown = Shown(answer, tuple(prompts), planes.main_section(answer.image, prompts), planes.together(answer))
    pictures = shown.pictures()
    width = max(640, pictures.shape[1])
    title = heading(system_words(answer), image_words(answer.image), width)
    return bound(column([title, pictures, legend(answer, width), footing(key(prompts), width)]))


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """A part of a plane, and how it is painted."""

    section: Section
    number: int
    region: Region
    paint: Callable[[View], Panel]


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """An answer, what was asked, the section both are looked at on, and where any object is."""

    answer: Segmentation
    prompts: tuple[Prompt, ...]
    section: Section
    union: Bool[np.ndarray, "z y x"]

    def pictures(self) -> Canvas:
        """The large panel and, to its right, the small ones in two rows; a single one is as large."""
        full = whole(self.answer.image, self.section)
        asked = prompted_planes(View(self.answer.image, self.section, 0, full, (1, 1)), self.prompts)
        number = planes.best(planes.areas(self.section, self.union), asked)
        main = Shot(self.section, number, full, self.answered)
        shots = self.shots(number, asked)
        large = self.box(full, TALL)
        if len(shots) == 1:
            return row([self.cell(main, large), self.cell(shots[0], large)])
        small = self.box(planes.around(self.answer.image, self.section, self.union), CELL)
        cells = [self.cell(shot, small) for shot in shots]
        return row([self.cell(main, large), grid(cells, (len(cells) + 1) // 2)])

    def shots(self, number: int, asked: Sequence[int]) -> list[Shot]:
        """The image alone; planes through the object, close by if it is small; other directions; uncertainty."""
        image, union = self.answer.image, self.union
        full, near = whole(image, self.section), planes.around(image, self.section, union)
        others = [self.across(section) for section in planes.other_sections(image, self.section)]
        unsure = [Shot(self.section, number, near, self.unsure)] if self.answer.uncertainty is not None else []
        close = [number] if near != full else []
        room = (8 if others else 6) - 1 - len(close) - len(others) - len(unsure)
        area = planes.areas(self.section, union)
        through = planes.spread(area, room, asked=asked, without=number)
        shots = [Shot(self.section, plane, near, self.answered) for plane in sorted([*close, *through])]
        return [Shot(self.section, number, full, self.alone), *shots, *others, *unsure]

    def across(self, section: Section) -> Shot:
        """Another direction, through the centre of mass."""
        area = planes.areas(section, self.union)
        region = planes.around(self.answer.image, section, self.union)
        return Shot(section, planes.centre(area, len(area) // 2), region, self.answered)

    def box(self, region: Region, height: int) -> Box:
        """A cell of this height, as wide as the region asks for within reason."""
        wide = fitted(self.answer.image, self.section, region, (round(1.5 * height), height))[0]
        return max(wide, round(0.7 * height)), height

    def cell(self, shot: Shot, box: Box) -> Canvas:
        """A shot, painted and framed."""
        size = fitted(self.answer.image, shot.section, shot.region, box)
        return framed(shot.paint(View(self.answer.image, shot.section, shot.number, shot.region, size)), box)

    def alone(self, view: View) -> Panel:
        """The image alone."""
        return plain(view, title="image alone")

    def answered(self, view: View) -> Panel:
        """The image with the answer and what was asked."""
        close = view.region != whole(view.image, view.section)
        title = "close-up" if close else "" if view.words() else "answer"
        return outlined(view, self.answer.masks, self.prompts, title=title)

    def unsure(self, view: View) -> Panel:
        """Where the answer is unsure."""
        assert self.answer.uncertainty is not None
        return uncertain(view, self.answer.uncertainty, self.answer.masks)
