"""Radiographs moved at random for training, as torchvision draws it: mirror, light, turn, scale, shift, cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image as Pillow

from hilum.parts.grey_frame import Grey


@dataclass(frozen=True, slots=True, kw_only=True)
class Warp:
    """How far a film is moved: a share of brightness and contrast, degrees, scales, a share of the side."""

    light: float
    degrees: float
    scale: tuple[float, float]
    shift: float = 0.0


def warped(film: Grey, warp: Warp, rng: np.random.Generator) -> Pillow.Image:
    """Mirrored half of the time, lit otherwise, turned, scaled and shifted on black; nearest pixels."""
    from torchvision.transforms.functional import adjust_brightness, adjust_contrast, affine

    opened = Pillow.fromarray(np.ascontiguousarray(film[:, ::-1] if rng.random() < 0.5 else film))
    light = [adjust_brightness, adjust_contrast]
    for place in rng.permutation(len(light)):
        opened = light[place](opened, rng.uniform(1 - warp.light, 1 + warp.light))
    angle, scale = rng.uniform(-warp.degrees, warp.degrees), rng.uniform(*warp.scale)
    shift = [round(rng.uniform(-warp.shift, warp.shift) * length) for length in opened.size]
    return affine(opened, angle, shift, scale, [0.0, 0.0])


def cut(film: Pillow.Image, stored: int, side: int, rng: np.random.Generator) -> Grey:
    """A random square of `side` pixels from the film at `stored` pixels of each side, bilinear."""
    left, top = rng.integers(0, stored - side, size=2, endpoint=True).tolist()
    small = film.resize((stored, stored), Pillow.Resampling.BILINEAR)
    return np.array(small.crop((left, top, left + side, top + side)))
