"""Phantoms for the contract: small, seeded, with geometry that is not the identity."""

import numpy as np
import pytest

from hilum import registry
from hilum.values import geometry
from hilum.values.image import Display, Image, Source
from hilum.values.prompts import Box, Mask, Points, Scribble

SHAPE = (5, 44, 52)  # z, y, x


def _rotation(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def ellipsoid(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    return sum((axis / radius) ** 2 for axis, radius in zip(axes, (0.9, 0.5, 0.6)[-len(shape) :], strict=True)) < 1


def volume(modality: str | None) -> Image:
    """A bright ellipsoid on noise, oblique and anisotropic, in patient space."""
    noise = np.random.default_rng(3).normal(0, 20, SHAPE)
    array = (100.0 * ellipsoid() + noise).astype(np.float32)[None]
    affine = geometry.with_step(_rotation(12) @ np.diag([0.8, 0.9, 3.0]), np.array([-20.0, 10.0, 4.0]))
    return Image(array, affine, "patient", Display(-60.0, 160.0), Source(modality=modality))


def picture(modality: str | None) -> Image:
    """The middle plane of the volume as a picture of its own."""
    whole = volume(modality)
    return whole.plane(whole.section(2), 2)


def fitting(name: str) -> Image:
    """A picture; a volume for a system whose card says why it looks at no picture."""
    pictures = "picture" not in (registry.card(name).excuses or {})
    return (picture if pictures else volume)(modality_of(name))


def prompt(kind: str, image: Image):
    """A prompt of this kind on the ellipsoid."""
    shape = image.grid
    here = ellipsoid(SHAPE)[2] if image.dimensions == 2 else ellipsoid()
    middle = [size // 2 for size in reversed(shape)]
    match kind:
        case "points":
            return Points([middle, [2, 3, *middle[2:]]], [True, False])
        case "box":
            low, high = np.array(middle) - 10, np.array(middle) + 10
            low[2:], high[2:] = middle[2:], middle[2:]
            return Box(low, high)
        case "mask":
            return Mask(here)
        case "scribble":
            stroke = np.zeros(shape, dtype=bool)
            stroke[..., shape[-2] // 2, middle[0] - 6 : middle[0] + 6] = True
            if image.dimensions == 3:
                stroke[: middle[2]] = stroke[middle[2] + 1 :] = False
            return Scribble(stroke)
    raise AssertionError(f"no phantom prompt of kind {kind}: add one here")


def mirrored(said, image: Image, axis: int):
    """The prompt that says the same thing of the image flipped along x (0) or y (1)."""
    size = image.grid[::-1][axis]
    place = -1 - axis
    match said:
        case Points():
            at = said.at.copy()
            at[:, axis] = size - 1 - at[:, axis]
            return Points(at, said.inside)
        case Box():
            low, high = said.low.copy(), said.high.copy()
            low[axis], high[axis] = size - 1 - said.high[axis], size - 1 - said.low[axis]
            return Box(low, high)
        case Mask():
            return Mask(np.flip(said.array, place))
        case Scribble():
            return Scribble(np.flip(said.inside, place))
    raise AssertionError(said)


def modality_of(name: str) -> str | None:
    """A modality that the card names, or None where it takes any."""
    modalities = registry.card(name).modalities
    return None if "any" in modalities else modalities[0]


ALL = registry.names()
SEGMENTERS = registry.names(capability="segment")
EMBEDDERS = registry.names(capability="embed")
MATCHERS = registry.names(capability="match", accepts="labels")
SPATIAL = [
    (name, kind)
    for name in SEGMENTERS
    for kind in registry.card(name).accepts
    if kind in ("points", "box", "mask", "scribble")
]
PROMPTED = sorted({name for name, _ in SPATIAL})
UNPROMPTED = sorted(set(SEGMENTERS) - set(PROMPTED))  # they name what they find


def a_prompt(name: str, image: Image):
    """The first spatial prompt that the card takes."""
    return prompt(next(kind for system, kind in SPATIAL if system == name), image)


@pytest.fixture(scope="session")
def tiny():
    """Each system's tiny instance, made once."""
    made = {}

    def of(name: str):
        if name not in made:
            made[name] = registry.find(name).tiny()
        return made[name]

    return of


def excused(name: str, test: str) -> None:
    """Skips with the card's own reason."""
    reason = (registry.card(name).excuses or {}).get(test)
    if reason:
        pytest.skip(f"{name} is excused: {reason}")
