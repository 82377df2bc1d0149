"""How SAM-Med2D's training asks: a shifted box or a click first, then points from what was wrong, or the mask alone.

Cheng et al. 2023, as the published training code does it. Coordinates are pixels of the network's square as (x, y).
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hilum.parts.interaction import largest_component, tight_box
from hilum.parts.sam_prompt_encoder import SamPrompts

COUNTS = (1, 3, 5, 9)  # points of a correction, one of these for the whole batch
SHIFT = 5  # pixels that a box is moved in training, at most, and no more than half its shorter side


def exclusive_box(mask: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "2 2"]:
    """[low, high] of the mask's largest part; the high corner is one pixel beyond it."""
    return tight_box(largest_component(mask)) + np.array([[0.0, 0.0], [1.0, 1.0]])


def shifted_box(
    mask: Bool[np.ndarray, "h w"], rng: np.random.Generator, *, most: int = SHIFT
) -> Float[np.ndarray, "2 2"]:
    """The box moved as a whole, along each axis by -m to m - 1 pixels, where m is at most half the shorter side."""
    box = exclusive_box(mask)
    m = min(most, int(0.5 * (box[1] - box[0]).min()))
    return box + (rng.integers(-m, m, size=2) if m else 0)


def inside_point(mask: Bool[np.ndarray, "h w"], rng: np.random.Generator) -> Float[np.ndarray, "1 2"]:
    """A pixel of the mask, each as likely as the other."""
    rows, columns = np.nonzero(mask)
    chosen = rng.integers(len(rows))
    return np.array([[columns[chosen], rows[chosen]]], float)


def opening(masks: Bool[np.ndarray, "n h w"], rng: np.random.Generator) -> SamPrompts:
    """The first round: a box for every mask, or a click in every mask, one as likely as the other."""
    if rng.random() < 0.5:
        boxes = np.stack([shifted_box(mask, rng) for mask in masks])
        return SamPrompts(boxes=torch.from_numpy(boxes).float().reshape(-1, 4))
    points = np.stack([inside_point(mask, rng) for mask in masks])
    return SamPrompts(torch.from_numpy(points).float(), torch.ones(len(masks), 1, dtype=torch.bool))


def error_points(
    mask: Bool[np.ndarray, "h w"], guess: Bool[np.ndarray, "h w"], count: int, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "k 2"], Bool[np.ndarray, " k"], Bool[np.ndarray, " k"]]:
    """Pixels that are wrong, drawn with replacement: where, whether they belong inside, whether there are any."""
    rows, columns = np.nonzero(mask != guess)
    if not len(rows):
        return np.zeros((count, 2)), np.zeros(count, bool), np.zeros(count, bool)
    chosen = rng.integers(len(rows), size=count)
    rows, columns = rows[chosen], columns[chosen]
    return np.stack([columns, rows], axis=1).astype(float), mask[rows, columns], np.ones(count, bool)


def correction(
    masks: Float[Tensor, "n 1 height width"],
    logits: Float[Tensor, "n 1 height width"],
    low: Float[Tensor, "n 1 h w"],
    rng: np.random.Generator,
    *,
    counts: Sequence[int] = COUNTS,
) -> SamPrompts:
    """What is said after an answer: points where it was wrong, and the answer itself as a probability; no box.

    `logits` are those of the whole square, `low` the decoder's own. An answer without error gets points that are none.
    """
    count = int(rng.choice(counts))
    pairs = zip((masks[:, 0] > 0.5).cpu().numpy(), (logits[:, 0] > 0).cpu().numpy(), strict=True)
    points = [error_points(mask, guess, count, rng) for mask, guess in pairs]
    at, inside, present = (torch.from_numpy(np.stack(part)) for part in zip(*points, strict=True))
    return SamPrompts(at.float(), inside, None, low.detach().sigmoid().cpu(), present).to(low.device)


def mask_alone(rounds: int, rng: np.random.Generator) -> set[int]:
    """The rounds of correction in which no points are said: the last one, and one between the first and the last."""
    if rounds < 3:
        raise ValueError(f"a round without points lies between the first and the last: wanted 3 or more, got {rounds}")
    return {int(rng.integers(1, rounds - 1)), rounds - 1}
