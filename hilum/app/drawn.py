"""Prompts that are drawn in a file: masks and scribbles, on the very grid of the image they are about."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..values.errors import BadInput
from .options import named
from .words import existing, exists

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Bool, Num

    from ..values.image import Image
    from ..values.prompts import Mask, Scribble

APART = 1e-2  # mm that corners of two grids may lie apart and still be called the same


@dataclass(frozen=True, slots=True)
class DrawnMask:
    """A mask in a file: what is not 0 is the object."""

    path: Path
    name: str | None = None

    def on(self, image: Image) -> Mask:
        """The mask, once it is known to lie on the image's grid."""
        from ..values.prompts import Mask

        return Mask((_values(self.path, image) != 0).any(axis=0), name=self.name)


@dataclass(frozen=True, slots=True)
class DrawnScribble:
    """Strokes in a file: 1 inside and 2 outside, or green and red, or one colour of any kind for inside."""

    path: Path
    name: str | None = None

    def on(self, image: Image) -> Scribble:
        """The strokes, once they are known to lie on the image's grid."""
        from ..values.prompts import Scribble

        inside, outside = _strokes(_values(self.path, image))
        if not inside.any():
            raise BadInput(f"--scribble {self.path}: no stroke inside the object was found (1, or green).")
        return Scribble(inside, outside, name=self.name)


Drawn = DrawnMask | DrawnScribble


def mask(text: str, space: object = None) -> DrawnMask:
    """`[name=]FILE`; a file has its own grid, so no space is needed."""
    name, path = _file(text, "--mask")
    return DrawnMask(path, name)


def scribble(text: str, space: object = None) -> DrawnScribble:
    """`[name=]FILE`."""
    name, path = _file(text, "--scribble")
    return DrawnScribble(path, name)


def _file(text: str, option: str) -> tuple[str | None, Path]:
    name, word = (None, text) if exists(Path(text)) else named(text, f"{option} {text}")
    return name, existing(word)


def _strokes(values: Num[np.ndarray, " c *grid"]) -> tuple[Bool[np.ndarray, " *grid"], Bool[np.ndarray, " *grid"]]:
    import numpy as np

    if len(values) == 3 and not (values == values[:1]).all():
        red, green, blue = values.astype(np.float32)
        return (green > red) & (green > blue), (red > green) & (red > blue)
    grey = values[0]
    if set(np.unique(grey)) <= {0, 1, 2}:
        return grey == 1, grey == 2
    return grey > grey.max() / 2, np.zeros(grey.shape, dtype=bool)


def _values(path: Path, image: Image) -> Num[np.ndarray, " c *grid"]:
    import numpy as np

    from ..io.read import read
    from ..values import geometry

    drawn = read(path)
    if tuple(side for side in drawn.grid if side > 1) != tuple(side for side in image.grid if side > 1):
        raise BadInput(f"{path} is {_size(drawn)}, the image is {_size(image)}: draw on the image's own grid.")
    if drawn.space == image.space == "patient":
        ends = np.array([[0, 0, 0], [side - 1 for side in image.volume().shape[:0:-1]]], dtype=np.float64)
        apart = np.abs(geometry.apply(drawn.affine, ends) - geometry.apply(image.affine, ends)).max()
        if apart > APART:
            raise BadInput(f"{path} lies up to {apart:.4g} mm away from the image: resample it to the image's grid.")
    return drawn.array.reshape(len(drawn.array), *image.grid)


def _size(image: Image) -> str:
    return " × ".join(str(side) for side in reversed(image.grid))
