"""The values of an image as a strip: how often each occurs, and which of them the display window spreads out."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Num

from hilum.values.image import Image

from .ink import BLACK, GREY, PALE, Canvas, Rgb, blank, blend
from .lettering import letter
from .page import DIM, RULE, SMALL

ENOUGH = 2_000_000  # values that are counted; more would not change the picture
TOP, HIGH = 24, 96
NARROW = 140  # px
CHANNELS: tuple[Rgb, ...] = ((255, 110, 100), (90, 215, 130), (105, 160, 255))


def histogram(image: Image, width: int) -> Canvas:
    """Counts (square root) over the range of values, the display window marked; colours one above the other."""
    samples = [sampled(channel) for channel in image.section().planes(image.volume())]
    edges = bins(image, np.concatenate(samples), width)
    canvas = blank(width, HIGH + 54)
    letter(canvas, "values", (0, 0), style=SMALL)
    field = canvas[TOP : TOP + HIGH]
    field[:] = BLACK
    for values, colour in zip(samples, CHANNELS if len(samples) == 3 else (GREY,), strict=False):
        _bars(field, np.histogram(values, bins=edges)[0], colour)
    _window(canvas, image, float(edges[0]), float(edges[-1]))
    return canvas


def sampled(planes: Num[np.ndarray, "n h w"]) -> Num[np.ndarray, " m"]:
    """The finite values, thinned evenly where there are too many."""
    step = max(1, int(np.ceil((planes.size / ENOUGH) ** (1 / 3))))
    values = planes[::step, ::step, ::step].reshape(-1)
    return values[np.isfinite(values)].astype(np.float32)


def bins(image: Image, values: Float[np.ndarray, " m"], width: int) -> Float[np.ndarray, " n"]:
    """Edges over the window and nearly all values, with a little air; whole numbers are never split unevenly."""
    quantiles = np.quantile(values, [0.001, 0.999]) if values.size else np.zeros(2)
    low, high = min(float(quantiles[0]), image.display.low), max(float(quantiles[1]), image.display.high)
    air = 0.04 * (high - low)
    low, high = low - air, high + air
    if not np.array_equal(values, np.rint(values)) or high - low < 16:
        return np.linspace(low, high, width // 2 + 1)
    step = int(np.ceil((high - low) / width))
    return np.arange(np.floor(low) - 0.5, high + step, step)


def _bars(field: Canvas, counts: Num[np.ndarray, " n"], colour: Rgb) -> None:
    tallest = np.sqrt(np.sort(counts)[-min(3, len(counts))]) or 1.0  # the air around may dwarf all other values
    width = field.shape[1]
    heights = np.minimum(np.sqrt(counts) / tallest, 1.0)[np.arange(width) * len(counts) // width] * (HIGH - 4)
    from_foot = np.arange(HIGH)[::-1, None]
    blend(field, np.clip(heights[None] - from_foot, 0.0, 1.0).astype(np.float32) * np.float32(0.75), colour)


def _window(canvas: Canvas, image: Image, low: float, high: float) -> None:
    display, width, foot = image.display, canvas.shape[1], TOP + HIGH
    first, last = (round((edge - low) / (high - low) * (width - 1)) for edge in (display.low, display.high))
    blend(canvas[TOP:foot, first : last + 1], np.full((HIGH, last + 1 - first), 0.12, dtype=np.float32), PALE)
    ramp = np.linspace(0.0, 1.0, last + 1 - first)
    grey = np.rint((1.0 - ramp if display.inverted else ramp) * 255)
    canvas[foot + 2 : foot + 7, first : last + 1] = grey[None, :, None].astype(np.uint8)
    canvas[foot + 7, first : last + 1] = RULE
    inward = last - first > NARROW  # else the two numbers would touch between the marks
    for place, value, anchor in ((first, display.low, "rl"[inward]), (last, display.high, "lr"[inward])):
        canvas[TOP : foot + 8, place] = PALE
        letter(canvas, f"{value:.4g}", (place, foot + 10), style=DIM, anchor=f"{anchor}t")
    unit = f" {image.source.unit}" if image.source.unit else ""
    letter(canvas, f"window {display.low:.4g} to {display.high:.4g}{unit}", (width, 0), style=DIM, anchor="rt")
