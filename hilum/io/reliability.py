"""A reliability picture: what a probability claims (across) against what came true (up), before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from .ink import GREY, Canvas, Rgb, blank, blend, colour_of
from .lettering import coverage, letter, shortened
from .page import BODY, DIM, GAP, RULE, bound, check_picture, column, footing, grid, heading, row, save

SIDE, LEFT, BELOW, ABOVE = 264, 34, 44, 52  # px of the square, and of the room for words around it
ACROSS = 3
FINE = 4  # px of the sketch for one px of the picture
RIM = 10  # px around the square, for dots on its edge
BEFORE, AFTER = GREY, colour_of(0)

Bins = Float[np.ndarray, "bins 3"]  # mean probability, share of truth, how many


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """A label with the bins of both probabilities, and the words under its name."""

    name: str
    words: str
    before: Bins
    after: Bins


def reliability_sheet(labels: Sequence[Reliability], path: Path, *, title: str, line: str, force: bool = False) -> Path:
    """Write one PNG with a square for each label; a dot is a bin, the larger the more images are in it."""
    check_picture(path, force=force)
    squares = grid([_square(each) for each in labels], ACROSS)
    width = max(720, squares.shape[1])
    key = row([_mark("before", BEFORE), _mark("after", AFTER)], gap=18)
    return save(bound(column([heading(title, line, width), squares, footing(key, width)])), path, force=force)


def _square(label: Reliability) -> Canvas:
    canvas = blank(LEFT + SIDE + GAP, ABOVE + SIDE + BELOW)
    letter(canvas, shortened(label.name, BODY.size, SIDE), (LEFT, 0), style=BODY)
    letter(canvas, shortened(label.words, DIM.size, SIDE), (LEFT, 24), style=DIM)
    for share in (0.0, 0.5, 1.0):
        letter(canvas, f"{share:g}", (LEFT - 6, ABOVE + SIDE * (1 - share)), style=DIM, anchor="rm")
        letter(canvas, f"{share:g}", (LEFT + SIDE * share, ABOVE + SIDE + 5), style=DIM, anchor="mt")
    letter(canvas, "probability; up: share that is true", (LEFT + SIDE / 2, ABOVE + SIDE + 22), style=DIM, anchor="mt")
    corner = (LEFT - RIM, ABOVE - RIM)
    edges = [[(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)], [(0, 0), (1, 1)]]
    blend(canvas, _sketched(edges, thick=1), RULE, at=corner)
    for bins, colour in ((label.before, BEFORE), (label.after, AFTER)):
        points = [(float(claimed), float(true)) for claimed, true, _ in bins]
        most = float(np.max([label.before[:, 2].max(), label.after[:, 2].max()]))
        sizes = [3 + 6 * float(np.sqrt(count / most)) for count in bins[:, 2]]
        blend(canvas, _sketched([points], thick=2, dots=list(zip(points, sizes, strict=True))), colour, at=corner)
    return canvas


def _sketched(
    lines: Sequence[Sequence[tuple[float, float]]],
    *,
    thick: int,
    dots: Sequence[tuple[tuple[float, float], float]] = (),
) -> Float[np.ndarray, "h w"]:
    """Lines and dots on the unit square, whose origin is the lower left, as a coverage."""
    from PIL import Image, ImageDraw

    size, rim = SIDE * FINE, RIM * FINE
    sheet = Image.new("L", (size + 2 * rim,) * 2, 0)
    draw = ImageDraw.Draw(sheet)
    for line in lines:
        if len(line) > 1:
            draw.line([(rim + x * size, rim + (1 - y) * size) for x, y in line], fill=255, width=thick * FINE)
    for (x, y), radius in dots:
        across, down, reach = rim + x * size, rim + (1 - y) * size, radius * FINE
        draw.ellipse((across - reach, down - reach, across + reach, down + reach), fill=255)
    small = sheet.resize((SIDE + 2 * RIM,) * 2, Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32) / 255.0


def _mark(word: str, colour: Rgb) -> Canvas:
    canvas = blank(20 + coverage(word, DIM.size).shape[1], 30)
    blend(canvas, np.full((10, 10), 1.0, dtype=np.float32), colour, at=(2, 10))
    letter(canvas, word, (20, 15), style=DIM, anchor="lm")
    return canvas
