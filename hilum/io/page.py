"""A page: panels, legend and words set out on a dark sheet, and the sheet written to a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hilum.values.errors import BadInput
from hilum.values.notice import NOTICE

from .atomic import check_target, replacing
from .ink import BLACK, GREY, NIGHT, Canvas, Rgb, blank, paste
from .lettering import Type, coverage, letter, shortened
from .panel import Panel

if TYPE_CHECKING:
    from PIL import Image as Pillow

GAP = 14
MARGIN = 28
CAPTION = 26
Box = tuple[int, int]  # width, height of a cell
RULE: Rgb = (52, 56, 63)
TITLE, BODY, SMALL, DIM = Type(25), Type(17), Type(15), Type(15, GREY)


def framed(panel: Panel, box: Box) -> Canvas:
    """A panel in a cell: its words, and its picture in the middle of a black field of the box's (width, height)."""
    canvas = blank(box[0], box[1] + CAPTION)
    canvas[CAPTION:] = BLACK
    height, width = panel.picture.shape[:2]
    paste(canvas, panel.picture, ((box[0] - width) // 2, CAPTION + (box[1] - height) // 2))
    room = box[0] - coverage(panel.aside, DIM.size).shape[1] - 10
    letter(canvas, shortened(panel.title, SMALL.size, room), (0, CAPTION / 2 - 1), style=SMALL, anchor="lm")
    letter(canvas, panel.aside, (box[0], CAPTION / 2 - 1), style=DIM, anchor="rm")
    return canvas


def row(blocks: Sequence[Canvas], gap: int = GAP) -> Canvas:
    """Blocks side by side, level at the top."""
    height = max(block.shape[0] for block in blocks)
    canvas = blank(sum(block.shape[1] for block in blocks) + gap * (len(blocks) - 1), height)
    left = 0
    for block in blocks:
        paste(canvas, block, (left, 0))
        left += block.shape[1] + gap
    return canvas


def column(blocks: Sequence[Canvas], gap: int = GAP) -> Canvas:
    """Blocks one under the other, flush left."""
    width = max(block.shape[1] for block in blocks)
    canvas = blank(width, sum(block.shape[0] for block in blocks) + gap * (len(blocks) - 1))
    top = 0
    for block in blocks:
        paste(canvas, block, (0, top))
        top += block.shape[0] + gap
    return canvas


def grid(blocks: Sequence[Canvas], across: int) -> Canvas:
    """Blocks in rows of `across`."""
    return column([row(blocks[start : start + across]) for start in range(0, len(blocks), across)])


def heading(title: str, line: str, width: int, *, aside: str = "") -> Canvas:
    """A title with an aside at its right, and one quieter line below."""
    canvas = blank(width, 66)
    room = width - coverage(aside, BODY.size).shape[1] - 2 * GAP
    letter(canvas, shortened(title, TITLE.size, room), (0, 0), style=TITLE)
    letter(canvas, aside, (width, 7), style=BODY, anchor="rt")
    letter(canvas, shortened(line, DIM.size, width), (0, 38), style=DIM)
    return canvas


def footing(key: Canvas, width: int) -> Canvas:
    """A thin rule, the key to the marks, and at the right what these pictures are not."""
    canvas = blank(width, 40)
    canvas[0] = RULE
    shown = key[:, :width]
    paste(canvas, shown, (0, 8))
    letter(canvas, NOTICE, (width, 8 + 15), style=DIM, anchor="rm")
    return canvas


def bound(canvas: Canvas) -> Canvas:
    """The sheet with its margin."""
    height, width = canvas.shape[:2]
    sheet = blank(width + 2 * MARGIN, height + 2 * MARGIN, NIGHT)
    paste(sheet, canvas, (MARGIN, MARGIN))
    return sheet


def pillow(canvas: Canvas) -> Pillow.Image:
    """The sheet as Pillow knows it."""
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(canvas))


def check_picture(path: Path, *, force: bool = False) -> None:
    """Refuses a path that no picture could be written to, before any work is done for it."""
    if path.suffix.lower() != ".png":
        raise BadInput(f"pictures are written as PNG: {path.name} should end with .png.")
    check_target(path, force=force)


def save(canvas: Canvas, path: Path, *, force: bool = False) -> Path:
    """Write the sheet as PNG, whole or not at all."""
    with replacing(path, force=force) as temporary:
        pillow(canvas).save(temporary, format="PNG", optimize=False)
    return path
