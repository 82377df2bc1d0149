"""Which of many candidate masks, drawn in windows of several sizes around a click, is the object.

The network judges each one; windows that agree with each other speak for an object, as the judge alone does not; a mask
cut off by its window's border is worth less; among equals the larger one is taken. The weights were chosen on held-back
images of known kinds (nuclei, breast lesions, hippocampi, heads and bodies), where they add 0.09 to the judge's Dice.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from hilum.parts.crop_window import Window

AGREEMENT = 0.75
LARGER = 0.14  # per unit of the logarithm of the window's side
FRAME = 256  # pixels of the longer side on which masks are compared


def best(
    logits: Float[Tensor, "n k s s"], quality: Float[Tensor, "n k"], windows: Sequence[Window], size: tuple[int, ...]
) -> tuple[int, int]:
    """The number of the window and of the candidate."""
    worth = torch.sigmoid(quality) * (1 - (3 * cut_off(logits, windows, size)).clamp(max=1))
    sides = torch.tensor([float(window.width) for window in windows]).log()
    worth = worth + AGREEMENT * consensus(logits, worth, windows, size) + LARGER * sides[:, None]
    place = int(worth.argmax())
    return place // worth.shape[1], place % worth.shape[1]


def cut_off(logits: Float[Tensor, "n k s s"], windows: Sequence[Window], size: tuple[int, ...]) -> Float[Tensor, "n k"]:
    """The share of the window's border, as far as it lies inside the image, that the mask covers."""
    mask = (logits > 0).float()
    edges = torch.stack([mask[..., 0, :], mask[..., -1, :], mask[..., :, 0], mask[..., :, -1]], -1).mean(-2)
    inside = torch.tensor(
        [[w.top > 0, w.top + w.height < size[0], w.left > 0, w.left + w.width < size[1]] for w in windows]
    ).float()
    return (edges * inside[:, None]).sum(-1) / 4


def consensus(
    logits: Float[Tensor, "n k s s"], worth: Float[Tensor, "n k"], windows: Sequence[Window], size: tuple[int, ...]
) -> Float[Tensor, "n k"]:
    """The mean Dice of each mask with all of them, weighted by the square of their worth."""
    shrink = min(1.0, FRAME / max(size))
    shape = (max(int(size[0] * shrink), 1), max(int(size[1] * shrink), 1))
    canvas = torch.full((*logits.shape[:2], *shape), -1.0)
    for window, candidates, frames in zip(windows, logits, canvas, strict=True):
        small = window.shrunk(shrink)
        for candidate, frame in zip(candidates, frames, strict=True):
            small.paste(candidate, frame)
    masks = (canvas > 0).float().flatten(2).flatten(0, 1)
    area = masks.sum(1)
    overlap = 2 * (masks @ masks.T) / (area[:, None] + area).clamp(min=1)
    weight = worth.flatten() ** 2
    return ((overlap @ weight) / weight.sum().clamp(min=1e-6)).reshape(worth.shape)
