"""The published training's changes of a picture (dataset/SliceLoader.py of xhu248/AutoSAM), on pictures as batches hold
them. What that file passes is certain; what it leaves to batchgenerators' defaults is remembered, unverified."""

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import ndimage

from hilum.systems.autosam import AutoSamBatch

HALF = 0.5  # the chance of most of them
BRIGHTER = (1.0, 1.0)  # mean and deviation of what is added to a channel
GAMMA = (0.5, 2.0)  # remembered
NOISE = 0.1  # the largest deviation; remembered
ANGLE = 0.1  # radians
SCALE = (0.5, 1.9)
BEND, SMOOTH = (100.0, 350.0), (40.0, 60.0)  # elastic: how far, how smooth; of pictures of 256 pixels
OF_SIDE = 256


def twisted(batch: AutoSamBatch, rng: np.random.Generator) -> AutoSamBatch:
    """Each picture in its own way, its labels along with it."""
    pairs = zip(batch.pictures.cpu().numpy(), batch.labels.cpu().numpy(), strict=True)
    found = [turned(relit(picture, rng), labels, rng) for picture, labels in pairs]
    pictures, labels = (torch.from_numpy(np.stack(each)) for each in zip(*found, strict=True))
    return AutoSamBatch(pictures.float(), labels.long()).to(batch.pictures.device)


def relit(picture: Float[np.ndarray, "c h w"], rng: np.random.Generator) -> Float[np.ndarray, "c h w"]:
    """Brighter, bent by a gamma, noisy; each with a chance of one half."""
    if rng.random() < HALF:
        picture = picture + rng.normal(*BRIGHTER, size=(len(picture), 1, 1))
    if rng.random() < HALF:
        low, span = picture.min(), max(float(np.ptp(picture)), 1e-7)
        gamma = rng.uniform(GAMMA[0], 1.0) if rng.random() < HALF else rng.uniform(1.0, GAMMA[1])
        picture = ((picture - low) / span) ** gamma * span + low
    if rng.random() < HALF:
        picture = picture + rng.normal(0.0, rng.uniform(0.0, NOISE), picture.shape)
    return picture


def turned(
    picture: Float[np.ndarray, "c h w"], labels: Int[np.ndarray, "h w"], rng: np.random.Generator
) -> tuple[Float[np.ndarray, "c h w"], Int[np.ndarray, "h w"]]:
    """Mirrored; bent always; turned and scaled with a chance of one half each."""
    if rng.random() < HALF:
        picture, labels = picture[..., ::-1], labels[..., ::-1]
    places = bent(labels.shape, rng)
    if rng.random() < HALF:
        angle = rng.uniform(-ANGLE, ANGLE)
        places = np.einsum("ij,jhw->ihw", [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], places)
    if rng.random() < HALF:
        places = places * (rng.uniform(SCALE[0], 1.0) if rng.random() < HALF else rng.uniform(1.0, SCALE[1]))
    places = places + (np.array(labels.shape)[:, None, None] - 1) / 2
    cubic = [ndimage.map_coordinates(channel, places, order=3, mode="nearest") for channel in picture]
    return np.stack(cubic), ndimage.map_coordinates(labels, places, order=0, mode="nearest")


def bent(shape: tuple[int, ...], rng: np.random.Generator) -> Float[np.ndarray, "2 h w"]:
    """Every pixel's place from the middle, moved by smooth noise; its lengths shrink with the picture."""
    small = shape[0] / OF_SIDE
    far, smooth = rng.uniform(*BEND) * small, rng.uniform(*SMOOTH) * small
    noise = [ndimage.gaussian_filter(rng.uniform(-1, 1, shape), smooth, mode="constant") for _ in shape]
    middle = (np.array(shape)[:, None, None] - 1) / 2
    return np.indices(shape) - middle + far * np.stack(noise)
