"""The sheet of an explanation: the image, and beside it a map for each label or object with the colours it is in."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hilum.values.explanation import Ablation, Explanation
from hilum.values.geometry import Section

from .ink import Canvas, blank, heat
from .lettering import letter, shortened
from .page import DIM, SMALL, Box, bound, column, footing, framed, grid, heading, pillow
from .panel import Panel, heat_key, plain, signs, titled
from .view import View, fitted, whole
from .words import dice_words, image_words, system_words

CELL = 460  # px down a panel
ACROSS = 3
LEAST = 920  # px across, for the words
LINE = 22  # px down a line of words
LETTER = 7.4  # px across one of them, on average
COVERED = 0.75  # of the image where a map is highest
MOST = 10  # changes listed for an object
MARK = "A map of what moved this model. It is no finding, and no outline of one."


def write_sheet(explanation: Explanation, path: Path) -> None:
    """The sheet as a PNG."""
    pillow(sheet(explanation)).save(path, format="PNG", optimize=False)


def sheet(explanation: Explanation) -> Canvas:
    """The sheet as pixels."""
    image = explanation.image
    section = image.section()
    blocks: list[Canvas] = []
    for number, name in enumerate(explanation.names):
        view = _view(explanation, section, number)
        if not blocks or image.dimensions == 3:
            blocks.append(framed(plain(view, title="image alone"), _box(view)))
        told = [each for each in explanation.ablations if each.name == name]
        panel = framed(overlaid(explanation, number, view), _box(view))
        blocks.append(column([panel, *_changes(told, panel.shape[1])], gap=4))
    pictures = grid(blocks, ACROSS if image.dimensions == 2 else 2)
    width = max(LEAST, pictures.shape[1])
    title = heading(f"{system_words(explanation)}: where the answer comes from", image_words(image), width)
    words = [_line(line, width) for line in textwrap.wrap(explanation.method, int(width / LETTER))]
    return bound(column([title, pictures, column([*words, _line(MARK, width)], gap=0), footing(blank(1, 30), width)]))


def overlaid(explanation: Explanation, number: int, view: View) -> Panel:
    """One map over the dimmed image, with its colours; above it the name, and where the map is highest."""
    low, high = explanation.range(number)
    peak = explanation.peak(number)
    name = explanation.names[number]
    picture = view.picture()
    if peak is None:
        signs(picture, view)
        return Panel(picture, titled(view, f"{name}: nothing speaks for it"))
    height = np.clip((view.field(explanation.maps[number]) - low) / (high - low), 0.0, 1.0)
    share = COVERED * height[..., None] ** 0.75
    canvas = np.rint(picture * 0.8 * (1 - share) + heat(height, 1.0) * share).astype(np.uint8)
    signs(canvas, view)
    heat_key(canvas, (f"{low:.2g}", f"{high:.2g} {explanation.unit}"))
    return Panel(canvas, titled(view, name), "peak " + ",".join(map(str, peak)))


def _view(explanation: Explanation, section: Section, number: int) -> View:
    """The plane on which the map holds most."""
    image = explanation.image
    planes = section.planes(explanation.maps[number].reshape(image.volume().shape[1:]))
    most = int(np.maximum(planes, 0.0).sum(axis=(1, 2)).argmax())
    region = whole(image, section)
    return View(image, section, most, region, fitted(image, section, region, (round(1.5 * CELL), CELL)))


def _box(view: View) -> Box:
    return max(view.size[0], round(0.7 * CELL)), CELL


def _changes(told: Sequence[Ablation], width: int) -> list[Canvas]:
    """What became of the object, the change that mattered most first."""
    ordered = sorted(told, key=lambda each: -1.0 if each.dice is None else each.dice)
    lines = [f"{each.prompt} {each.how}: {dice_words(each)}" for each in ordered[:MOST]]
    lines += [f"and {len(told) - MOST} more"] if len(told) > MOST else []
    return [_line(line, width) for line in lines]


def _line(words: str, width: int) -> Canvas:
    canvas = blank(width, LINE)
    style = SMALL if words == MARK else DIM
    letter(canvas, shortened(words, style.size, width), (0, 2), style=style)
    return canvas
