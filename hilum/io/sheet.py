"""Sheets: an image alone for `hilum inspect`, and the contact sheet that the demo ends with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hilum.values.answers import Segmentation
from hilum.values.geometry import Section
from hilum.values.image import Image
from hilum.values.prompts import Prompt

from . import planes
from .histogram import histogram
from .ink import Canvas
from .legend import key, legend
from .marks import prompted_planes
from .page import GAP, Box, bound, check_picture, column, footing, framed, grid, heading, pillow, row, save
from .panel import Panel, filled, outlined, plain, prompted
from .view import View, fitted, whole
from .words import format_words, image_words, system_words

if TYPE_CHECKING:
    from PIL import Image as Pillow

CELL = 384
PICTURE = 768  # px down an image that is a single plane
WIDE, SQUARE = (460, CELL), (CELL, CELL)  # cells of the contact sheet
ACROSS = 4
MOST = 12  # planes of the main section


def picture(image: Image) -> Pillow.Image:
    """The image alone as one sheet: its planes with letters and scale, and a histogram of its values."""
    return pillow(overview(image))


def inspect_sheet(image: Image, path: Path, *, force: bool = False) -> Path:
    """Write the sheet of an image alone as a PNG."""
    check_picture(path, force=force)
    return save(overview(image), path, force=force)


def overview(image: Image) -> Canvas:
    """The sheet of an image alone, as pixels."""
    views = _views(image)
    cells = [framed(plain(view), box) for view, box in views]
    pictures = grid(cells, ACROSS)
    width = max(640, pictures.shape[1])
    title = heading(format_words(image), image_words(image), width)
    return bound(column([title, pictures, histogram(image, width), footing(key(()), width)]))


def _views(image: Image) -> list[tuple[View, Box]]:
    """Planes evenly through the volume, then the two other directions through its middle."""
    section = planes.main_section(image)
    others = planes.other_sections(image, section)
    numbers = planes.evenly(planes.visible(image, section), MOST - len(others))
    shots = [(section, number) for number in numbers]
    shots += [(other, image.volume().shape[3 - other.normal] // 2) for other in others]
    box = _box(image, section, PICTURE if len(shots) == 1 else CELL)
    return [(_view(image, section, number, box), box) for section, number in shots]


def _box(image: Image, section: Section, height: int) -> Box:
    wide = fitted(image, section, whole(image, section), (round(1.5 * height), height))[0]
    return max(wide, round(0.7 * height)), height


def _view(image: Image, section: Section, number: int, box: Box) -> View:
    region = whole(image, section)
    return View(image, section, number, region, fitted(image, section, region, box))


@dataclass(frozen=True, slots=True, eq=False)
class SheetRow:
    """One line of a contact sheet: the file's name, the answer, what was asked, and how long it took."""

    file: str
    answer: Segmentation
    prompts: tuple[Prompt, ...]
    seconds: float


def contact_sheet(rows: Sequence[SheetRow], path: Path, *, title: str = "hilum", force: bool = False) -> Path:
    """Write one PNG with a line per row: input, prompt, mask, contour; with its ml, confidence and seconds."""
    check_picture(path, force=force)
    return save(contacts(rows, title), path, force=force)


def contacts(rows: Sequence[SheetRow], title: str) -> Canvas:
    """The contact sheet as pixels."""
    lines = [_line(each) for each in rows]
    width = max(640, *(line.shape[1] for line in lines))
    systems = dict.fromkeys(system_words(each.answer) for each in rows)
    asked = [prompt for each in rows for prompt in each.prompts]
    parts = [heading(title, " · ".join(systems), width), *lines, footing(key(asked), width)]
    return bound(column(parts, gap=2 * GAP))


def _line(line: SheetRow) -> Canvas:
    """A row's title, its four panels and its legend."""
    answer = line.answer
    panels = row([framed(panel, box) for panel, box in _panels(line)])
    words = f"{format_words(answer.image)} · {image_words(answer.image)}"
    width = panels.shape[1]
    return column([heading(line.file, words, width, aside=f"{line.seconds:.2f} s"), panels, legend(answer, width)])


def _panels(line: SheetRow) -> list[tuple[Panel, Box]]:
    answer, image = line.answer, line.answer.image
    section, union = planes.main_section(image, line.prompts), planes.together(answer)
    asked = prompted_planes(_view(image, section, 0, WIDE), line.prompts)
    view = _view(image, section, planes.asked_best(planes.areas(section, union), asked), WIDE)
    region = planes.around(image, section, union, margin=1.4)
    near = View(image, section, view.number, region, fitted(image, section, region, SQUARE))
    panels = [
        plain(view, title="image"),
        prompted(view, line.prompts, title="prompt"),
        filled(view, answer.masks, title="mask"),
    ]
    return [*((panel, WIDE) for panel in panels), (outlined(near, answer.masks, title="contour"), SQUARE)]
