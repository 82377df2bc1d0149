"""Pictures as encoders grown on ImageNet want them: short side resized, middle cut out, mean and deviation removed
(ImageNet's, or those of the pictures that OpenAI's CLIP grew on).

The resizing is Pillow's, on 8-bit pictures, as in the published evaluation of many encoders; sizes are rounded as
torchvision rounds them.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image as Pillow
from torch import Tensor

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pictures, in 0..1
Statistics = tuple[tuple[float, float, float], tuple[float, float, float]]  # mean and deviation of each channel
IMAGENET: Statistics = (MEAN, DEVIATION)
OPENAI: Statistics = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))  # CLIP's
Picture = UInt8[np.ndarray, "3 h w"]


def evaluated(
    picture: Picture, side: int, *, share: float = 0.875, statistics: Statistics = IMAGENET
) -> Float[Tensor, "1 3 side side"]:
    """The middle of the picture, `side` pixels of a short side of int(side / share), bicubic."""
    opened = opened_as_rgb(picture)
    short = int(side / share)
    size = tuple(int(short * length / min(opened.size)) for length in opened.size)
    left, top = round((size[0] - side) / 2), round((size[1] - side) / 2)
    small = opened.resize((size[0], size[1]), Pillow.Resampling.BICUBIC)
    return normalised(small.crop((left, top, left + side, top + side)), statistics)


def random_crop(
    picture: Picture, side: int, rng: np.random.Generator, *, scale: tuple[float, float] = (0.2, 1.0)
) -> Float[Tensor, "1 3 side side"]:
    """A random part of the picture (share of its area, aspect 3:4 to 4:3), mirrored half of the time, bicubic."""
    opened = opened_as_rgb(picture)
    left, top, width, height = random_part(opened.size, rng, scale)
    part = opened.resize((side, side), Pillow.Resampling.BICUBIC, box=(left, top, left + width, top + height))
    return normalised(part.transpose(Pillow.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else part)


def random_part(
    size: tuple[int, int], rng: np.random.Generator, scale: tuple[float, float]
) -> tuple[int, int, int, int]:
    """left, top, width, height of a random part of a picture of this (width, height); after ten misses its middle."""
    whole_width, whole_height = size
    for _ in range(10):
        area = whole_width * whole_height * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        width, height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < width <= whole_width and 0 < height <= whole_height:
            left, top = rng.integers(0, [whole_width - width, whole_height - height], endpoint=True)
            return int(left), int(top), width, height
    side = min(size)
    return (whole_width - side) // 2, (whole_height - side) // 2, side, side


def opened_as_rgb(picture: Picture) -> Pillow.Image:
    """The picture as Pillow's."""
    return Pillow.fromarray(np.ascontiguousarray(np.moveaxis(picture, 0, -1)))  # (c, h, w) -> (h, w, c)


def normalised(picture: Pillow.Image, statistics: Statistics = IMAGENET) -> Float[Tensor, "1 3 h w"]:
    """0..255 to 0..1, less the mean, by the deviation."""
    values = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255
    mean, deviation = (torch.tensor(each).reshape(1, 3, 1, 1) for each in statistics)
    return (values - mean) / deviation
