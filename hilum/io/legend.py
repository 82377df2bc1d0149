"""The legend: which colour is which object, how sure the answer is of it, how large it is; and what the marks mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hilum.values.answers import Segmentation
from hilum.values.prompts import Box, Mask, Points, Prompt, Scribble

from .ink import INSIDE, OUTSIDE, PALE, Canvas, Rgb, blank, blend, colour_of, inner_edge
from .lettering import coverage, letter, shortened
from .marks import click, frame
from .page import BODY, DIM, GAP, column, row
from .words import confidence_words, size_words

ENTRY = 320  # px across one entry
MOST = 24  # entries shown before the rest is only counted
ICON = 24  # px across a mark in the key


def legend(answer: Segmentation, width: int) -> Canvas:
    """An entry per object in the answer's order, in as many columns as fit; of very many the largest only."""
    counts, sizes = answer.voxels(), size_words(answer)
    shown = sorted(sorted(range(len(counts)), key=lambda number: -counts[number])[:MOST])
    entries = [_entry(answer, number, sizes[number]) for number in shown]
    if len(shown) < len(answer.masks):
        entries.append(_words(f"and {len(answer.masks) - len(shown)} smaller ones"))
    across = max(1, (width + GAP) // (ENTRY + GAP))
    entries = entries or [_words("no object was found")]
    return column([row(entries[start : start + across]) for start in range(0, len(entries), across)], gap=10)


def _entry(answer: Segmentation, number: int, size: str) -> Canvas:
    canvas = blank(ENTRY, 46)
    _swatch(canvas, colour_of(number))
    letter(canvas, shortened(answer.names[number], BODY.size, ENTRY - 34), (34, 0), style=BODY)
    letter(canvas, f"{size} · {confidence_words(answer.scores[number])}", (34, 24), style=DIM)
    return canvas


def _swatch(canvas: Canvas, colour: Rgb) -> None:
    tile = np.pad(np.ones((22, 22), dtype=bool), 1)
    blend(canvas, tile * np.float32(0.3), colour, at=(0, 10))
    blend(canvas, inner_edge(tile, 2).astype(np.float32), colour, at=(0, 10))


def _words(words: str) -> Canvas:
    canvas = blank(ENTRY, 46)
    letter(canvas, words, (0, 13), style=DIM)
    return canvas


def key(prompts: Sequence[Prompt]) -> Canvas:
    """The marks that were used, each with its word; one empty px if there are none."""
    entries = [_mark(word, paint) for word, (used, paint) in KEY.items() if any(used(prompt) for prompt in prompts)]
    return row(entries, gap=18) if entries else blank(1, 30)


def _mark(word: str, paint: Callable[[Canvas], None]) -> Canvas:
    canvas = blank(ICON + 6 + coverage(word, DIM.size).shape[1], 30)
    paint(canvas[3 : 3 + ICON, :ICON])
    letter(canvas, word, (ICON + 6, 15), style=DIM, anchor="lm")
    return canvas


def _stroke(colour: Rgb) -> Callable[[Canvas], None]:
    return lambda canvas: blend(canvas, np.full((4, 18), 0.9, dtype=np.float32), colour, at=(3, 10))


def _dots(canvas: Canvas) -> None:
    edge = inner_edge(np.pad(np.ones((14, 18), dtype=bool), 1), 2)
    down, across = np.indices(edge.shape)
    blend(canvas, (edge & ((down + across) // 4 % 2 == 0)).astype(np.float32), PALE, at=(2, 4))


KEY: dict[str, tuple[Callable[[Prompt], bool], Callable[[Canvas], None]]] = {
    "box": (lambda prompt: isinstance(prompt, Box), lambda canvas: frame(canvas, (3, 5, 21, 19))),
    "inside": (
        lambda prompt: isinstance(prompt, Points) and bool(prompt.inside.any()),
        lambda canvas: click(canvas, (12, 12), INSIDE),
    ),
    "outside": (
        lambda prompt: isinstance(prompt, Points) and not prompt.inside.all(),
        lambda canvas: click(canvas, (12, 12), OUTSIDE),
    ),
    "drawn inside": (lambda prompt: isinstance(prompt, Scribble) and bool(prompt.inside.any()), _stroke(INSIDE)),
    "drawn outside": (lambda prompt: isinstance(prompt, Scribble) and prompt.outside is not None, _stroke(OUTSIDE)),
    "mask given": (lambda prompt: isinstance(prompt, Mask), _dots),
}
