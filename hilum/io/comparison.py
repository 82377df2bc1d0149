"""A sheet on which several systems say what they make of the same labels: the picture, and a bar for each label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hilum.values.answers import Scores
from hilum.values.image import Image

from .ink import Canvas, blank, blend, colour_of
from .legend import key
from .lettering import letter, shortened
from .page import BODY, DIM, GAP, RULE, SMALL, bound, check_picture, column, footing, framed, grid, heading, row, save
from .panel import plain
from .view import View, fitted, whole
from .words import format_words, image_words

HIGH = 560  # px down the picture
NAME, BAR, NUMBERS = 190, 240, 130  # px across a block: the label, its bar, its numbers
HEAD, LINE, THICK = 34, 26, 14
MOST = 24  # labels that a block shows


def comparison_sheet(
    image: Image, answers: Sequence[Scores], path: Path, *, title: str = "hilum", force: bool = False
) -> Path:
    """Write one PNG: the picture at the left, a block for each system at the right."""
    check_picture(path, force=force)
    return save(comparison(image, answers, title), path, force=force)


def comparison(image: Image, answers: Sequence[Scores], title: str) -> Canvas:
    """The sheet as pixels."""
    blocks = [block(answer) for answer in answers]
    across = 1 if sum(each.shape[0] + GAP for each in blocks) <= 1.3 * HIGH else 2
    content = row([_picture(image), grid(blocks, across)], gap=2 * GAP)
    width = content.shape[1]
    line = f"{format_words(image)} · {image_words(image)}"
    note = blank(width, 22)
    words = (
        "Bars: probability where a system is calibrated, else its softmax. Similarities have a scale of their own each."
    )
    letter(note, shortened(words, DIM.size, width), (0, 0), style=DIM)
    return bound(column([heading(title, line, width), content, note, footing(key(()), width)]))


def _picture(image: Image) -> Canvas:
    section = image.section()
    region = whole(image, section)
    size = fitted(image, section, region, (round(1.2 * HIGH), HIGH))
    return framed(plain(View(image, section, 0, region, size)), (max(size[0], round(0.5 * HIGH)), HIGH))


def block(answer: Scores) -> Canvas:
    """A system's name, and of each label its bar, its share or probability, and its similarity."""
    shown = answer.softmax if answer.probability is None else answer.probability
    count = min(len(answer.names), MOST)
    canvas = blank(NAME + BAR + NUMBERS, HEAD + LINE * count + (LINE if len(answer.names) > MOST else 0))
    word = "softmax" if answer.probability is None else "probability"
    letter(canvas, shortened(answer.provenance.weights, BODY.size, NAME + BAR - 100), (0, 4), style=BODY)
    letter(canvas, word, (NAME + BAR, 6), style=DIM, anchor="rt")
    letter(canvas, "similarity", (NAME + BAR + NUMBERS, 6), style=DIM, anchor="rt")
    for number in range(count):
        _bar(canvas, answer, number, float(shown[number]))
    if len(answer.names) > MOST:
        letter(canvas, f"and {len(answer.names) - MOST} more", (0, HEAD + LINE * count), style=DIM)
    return canvas


def _bar(canvas: Canvas, answer: Scores, number: int, value: float) -> None:
    top = HEAD + LINE * number
    middle = top + LINE / 2
    letter(canvas, shortened(answer.names[number], SMALL.size, NAME - 12), (0, middle), style=SMALL, anchor="lm")
    at = (NAME, round(middle - THICK / 2))
    blend(canvas, np.ones((THICK, BAR), dtype=np.float32), RULE, at=at)
    filled = round(BAR * min(max(value, 0.0), 1.0))
    blend(canvas, np.ones((THICK, filled), dtype=np.float32), colour_of(number), at=at)
    letter(canvas, f"{value:.3f}", (NAME + BAR + 10, middle), style=SMALL, anchor="lm")
    right = (NAME + BAR + NUMBERS, middle)
    letter(canvas, f"{float(answer.similarity[number]):.3f}", right, style=DIM, anchor="rm")
