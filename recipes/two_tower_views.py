"""Views of a picture for the small two-tower model: cut, turned, brighter or darker, blurred, as files may come."""

import numpy as np
from jaxtyping import UInt8
from PIL import Image as Picture


def view(
    picture: UInt8[np.ndarray, "c h w"], side: int, rng: np.random.Generator, *, films: bool
) -> UInt8[np.ndarray, "side side 3"]:
    """A random view; films are not mirrored."""
    grey = len(picture) == 1
    image = Picture.fromarray(picture[0] if grey else np.moveaxis(picture, 0, -1))
    if rng.random() < 0.15:
        image = framed(image, rng)
    image = placed(image, side, rng)
    if not films and rng.random() < 0.5:
        image = image.transpose(Picture.Transpose.FLIP_LEFT_RIGHT)
    return toned(np.asarray(image), rng)


def framed(image: Picture.Image, rng: np.random.Generator) -> Picture.Image:
    """On a larger black or grey ground, as a figure of an article has it."""
    width, height = image.size
    large = Picture.new(image.mode, tuple(round(each * rng.uniform(1, 1.4)) for each in (width, height)))
    if rng.random() < 0.3:
        shade = int(rng.integers(256))
        large.paste(shade if image.mode == "L" else (shade,) * 3, (0, 0, *large.size))
    left, top = (int(rng.integers(0, each - own + 1)) for each, own in zip(large.size, (width, height), strict=True))
    large.paste(image, (left, top))
    return large


def placed(image: Picture.Image, side: int, rng: np.random.Generator) -> Picture.Image:
    """Its short side near `side`, then turned a little and cut to a square; now and then squeezed whole."""
    width, height = image.size
    scale = side * rng.uniform(1.0, 1.3) / min(width, height)
    across, down = (scale * rng.uniform(0.92, 1.08) for _ in range(2))
    if rng.random() < 0.15:
        across, down = side * rng.uniform(1, 1.15) / width, side * rng.uniform(1, 1.15) / height
    size = max(side, round(width * across)), max(side, round(height * down))
    image = image.resize(size, Picture.Resampling.BILINEAR)
    if rng.random() < 0.6:
        image = image.rotate(float(rng.uniform(-12, 12)), Picture.Resampling.BILINEAR)
    slack = [(each - side) / 2 for each in size]
    left, top = (int(each * (1 + np.clip(rng.normal(0, 0.6), -1, 1))) for each in slack)
    return image.crop((left, top, left + side, top + side))


def toned(pixels: UInt8[np.ndarray, "..."], rng: np.random.Generator) -> UInt8[np.ndarray, "side side 3"]:
    """Gamma, contrast, brightness, noise, sometimes without colour; a patch may be blank."""
    values = pixels.astype(np.float32) / 255
    if values.ndim == 2:
        values = values[..., None]
    elif rng.random() < 0.15:
        values = values.mean(-1, keepdims=True)
    else:
        values = values * rng.uniform(0.85, 1.15, 3).astype(np.float32)
    if rng.random() < 0.7:
        values = np.clip(values, 0, 1) ** np.float32(np.exp(rng.uniform(-0.5, 0.5)))
        values = (values - 0.5) * np.float32(rng.uniform(0.7, 1.3)) + np.float32(0.5 + rng.uniform(-0.12, 0.12))
    if rng.random() < 0.3:
        values = values + rng.normal(0, rng.uniform(0, 0.06), values.shape).astype(np.float32)
    if rng.random() < 0.2:
        tall, wide = (int(rng.integers(8, len(values) // 3)) for _ in range(2))
        top, left = int(rng.integers(len(values) - tall)), int(rng.integers(len(values) - wide))
        values[top : top + tall, left : left + wide] = np.float32(rng.random())
    values = np.clip(values * 255, 0, 255).astype(np.uint8)
    return np.broadcast_to(values, (*values.shape[:2], 3)) if values.shape[2] == 1 else values
