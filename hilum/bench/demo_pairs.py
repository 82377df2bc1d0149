"""Demo pairs: pictures that come with the base install, structures outlined by hand, and phantoms made by code.

The outlines in demo_pairs.json were drawn by eye on pictures of pydicom's own test files. They are good to a pixel or
two, enough to tell a system that sees from one that does not; they are no data set to measure with.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from ..io.read import read
from ..values.answers import tight_box
from ..values.card import Card
from ..values.contract import ANY
from ..values.image import Image, from_array
from ..values.prompts import Box, Points

OUTLINES = Path(__file__).with_name("demo_pairs.json")
PHANTOM = 256  # pixels a side


@dataclass(frozen=True, slots=True, eq=False)
class Structure:
    """One structure of a picture, and where it is."""

    name: str
    truth: Bool[np.ndarray, "h w"]

    @property
    def corners(self) -> tuple[Float[np.ndarray, " 2"], Float[np.ndarray, " 2"]]:
        """Tight box (x, y), both corners included."""
        box = tight_box(self.truth)
        assert box is not None  # every outline holds pixels
        return np.array(box[0], float), np.array(box[1], float)

    def box(self) -> Box:
        """The box a user would draw."""
        return Box(*self.corners)

    def click(self) -> Points:
        """One click, at the pixel deepest inside."""
        from ..parts.interaction import middle_of

        return Points(np.array([middle_of(self.truth)]))


@dataclass(frozen=True, slots=True, eq=False)
class Demo:
    """One picture with its structures."""

    title: str
    image: Image
    structures: tuple[Structure, ...]


def demos(card: Card) -> Iterator[Demo]:
    """The pictures whose modality the card takes; phantoms say none, and are for all."""
    for picture in json.loads(OUTLINES.read_text(encoding="utf-8")):
        path = _shipped(picture["file"])
        image = None if path is None else read(path)
        if image is not None and (ANY in card.modalities or image.source.modality in card.modalities):
            yield Demo(picture["title"], image, tuple(_structures(picture["objects"], image.grid)))
    yield phantom()


def _shipped(name: str) -> Path | None:
    from pydicom.data import get_testdata_file

    found = get_testdata_file(name, download=False)
    return None if found is None else Path(str(found))


def _structures(objects: list[dict], grid: tuple[int, ...]) -> Iterator[Structure]:
    for each in objects:
        yield Structure(each["name"], filled(np.array(each["outline"], float), grid))


def filled(outline: Float[np.ndarray, "n 2"], grid: tuple[int, ...]) -> Bool[np.ndarray, "h w"]:
    """Pixels whose centres lie within a closed outline of (x, y) points, by the even-odd rule."""
    y, x = np.indices(grid, dtype=float)
    inside = np.zeros(grid, dtype=bool)
    for (x0, y0), (x1, y1) in zip(outline, np.roll(outline, -1, axis=0), strict=True):
        if y0 != y1:
            crossed = (y0 > y) != (y1 > y)
            inside ^= crossed & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return inside


def phantom(seed: int = 0) -> Demo:
    """A crescent, a corner and a star on noise: shapes that no ellipse in a box fits."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((PHANTOM, PHANTOM), dtype=float)
    angle, reach = np.arctan2(y - 186, x - 90), np.hypot(y - 186, x - 90)
    shapes = {
        "crescent": (np.hypot(y - 70, x - 70) < 45) & (np.hypot(y - 70, x - 92) > 38) & (x < 88),
        "corner": (abs(x - 190) < 45) & (abs(y - 75) < 45) & ((x < 175) | (y > 90)),
        "star": reach < 34 + 16 * np.cos(5 * angle),
    }
    levels = dict(zip(shapes, (150.0, 60.0, 200.0), strict=True))
    picture = 105 + sum((levels[name] - 105) * shape for name, shape in shapes.items())
    noisy = np.clip(picture + rng.normal(0, 8, picture.shape), 0, 255).astype(np.uint8)
    structures = tuple(Structure(name, shape) for name, shape in shapes.items())
    return Demo("phantom", from_array(np.repeat(noisy[None], 3, axis=0)), structures)
