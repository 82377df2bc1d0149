"""Lettering on pictures: text as a coverage (0..1) in Pillow's own small font, orientation letters and a scale bar.

The font that every Pillow carries has plain Latin letters only; what it cannot draw is written plainly (é as e, × as
x, µ as u) or as "?", never as an empty box.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8

from hilum.values.errors import Failed

from .ink import PALE, Rgb, blend, casing

if TYPE_CHECKING:
    from PIL import ImageFont

PLAIN = str.maketrans({"×": "x", "µ": "u", "μ": "u", "–": "-", "—": "-", "−": "-", "≤": "<", "≥": ">", "’": "'"})
DRAWABLE = frozenset(map(chr, range(32, 127))) | frozenset("·…±°²")


@dataclass(frozen=True, slots=True)
class Type:
    """How words are set: height in px, colour, and the px of dark casing that keeps them legible on any picture."""

    size: int
    colour: Rgb = PALE
    halo: int = 0


@lru_cache(maxsize=512)
def coverage(words: str, size: int, stroke: int = 0) -> Float[np.ndarray, "h w"]:
    """How much of each pixel the words cover; the height depends on the size alone, so that lines stand level."""
    from PIL import Image, ImageDraw

    font, raised = _font(size), _font(round(size * 0.65))
    ascent, descent = font.getmetrics()
    runs = plain(words).replace("²", "\0²\0").split("\0")
    fonts = [raised if run == "²" else font for run in runs]
    texts = ["2" if run == "²" else run for run in runs]
    widths = [each.getlength(text) for each, text in zip(fonts, texts, strict=True)]
    sheet = Image.new("L", (max(1, int(np.ceil(sum(widths))) + 2 * stroke), ascent + descent + 2 * stroke), 0)
    draw, left = ImageDraw.Draw(sheet), float(stroke)
    for each, text, width in zip(fonts, texts, widths, strict=True):
        draw.text((left, stroke), text, font=each, fill=255, stroke_width=stroke)
        left += width
    covered = np.asarray(sheet, dtype=np.float32) / 255.0
    covered.setflags(write=False)
    return covered


def _font(size: int) -> ImageFont.FreeTypeFont:
    from PIL import ImageFont

    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise Failed(
            "pictures need a Pillow with FreeType, and this one was built without: pip install --upgrade pillow"
        )
    return font


def plain(words: str) -> str:
    """The words in letters that the font has."""
    letters = []
    for letter in words.translate(PLAIN):
        stripped = (
            letter if letter in DRAWABLE else unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
        )
        letters.append(stripped or "?")
    return "".join(letter for letter in "".join(letters) if letter in DRAWABLE)


def shortened(words: str, size: int, width: int) -> str:
    """The words, cut with an ellipsis if they would be wider than `width` px."""
    if coverage(words, size).shape[1] <= width:
        return words
    kept = words
    while kept and coverage(kept + "…", size).shape[1] > width:
        kept = kept[:-1]
    return kept.rstrip() + "…"


def letter(
    canvas: UInt8[np.ndarray, "h w 3"], words: str, at: tuple[float, float], *, style: Type, anchor: str = "lt"
) -> None:
    """Write on the canvas at (x, y) px; the anchor says which point of the words lies there: l m r, then t m b."""
    covered = coverage(words, style.size)
    share = {"l": 0.0, "t": 0.0, "m": 0.5, "r": 1.0, "b": 1.0}
    left = round(at[0] - share[anchor[0]] * covered.shape[1])
    top = round(at[1] - share[anchor[1]] * covered.shape[0])
    if style.halo:
        casing(canvas, coverage(words, style.size, style.halo), at=(left - style.halo, top - style.halo))
    blend(canvas, covered, style.colour, at=(left, top))


def edge_letters(canvas: UInt8[np.ndarray, "h w 3"], sides: tuple[str, str, str, str], *, style: Type) -> None:
    """Patient sides (left, right, top, bottom) at the middle of the picture's edges."""
    height, width = canvas.shape[:2]
    inset = style.size * 0.35 + 2
    places = ((inset, height / 2), (width - inset, height / 2), (width / 2, inset), (width / 2, height - inset))
    for side, place, anchor in zip(sides, places, ("lm", "rm", "mt", "mb"), strict=True):
        letter(canvas, side, place, style=style, anchor=anchor)


def bar_length(mm_across: float) -> float:
    """The longest of 1, 2, 5 × 10^n mm that fills at most three tenths of the picture."""
    longest = 0.3 * mm_across
    decade = 10.0 ** np.floor(np.log10(longest))
    steps = [step * decade for step in (1.0, 2.0, 5.0) if step * decade <= longest * (1 + 1e-9)]
    return float(steps[-1])


def length_words(mm: float) -> str:
    """A length as one writes it: 50 mm, 0.5 mm, 20 µm."""
    return f"{mm:g} mm" if mm >= 0.1 else f"{mm * 1000:g} µm"


def scale_bar(canvas: UInt8[np.ndarray, "h w 3"], pixels_per_mm: float, *, style: Type) -> None:
    """A bar of round length at the lower right, its length above it."""
    height, width = canvas.shape[:2]
    length = bar_length(width / pixels_per_mm)
    wide, thick = max(1, round(length * pixels_per_mm)), max(3, style.size // 5)
    right, bottom = width - style.size, height - round(style.size * 0.8)
    bar = np.ones((thick, wide), dtype=np.float32)
    casing(canvas, np.ones((thick + 4, wide + 4), dtype=np.float32), at=(right - wide - 2, bottom - thick - 2))
    blend(canvas, bar, style.colour, at=(right - wide, bottom - thick))
    small = replace(style, size=round(style.size * 0.8))
    letter(canvas, length_words(length), (right - wide / 2, bottom - thick - 4), style=small, anchor="mb")
