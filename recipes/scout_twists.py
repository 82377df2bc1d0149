"""Situations that scout meets and plain objects in the middle of a crop do not teach.

The image ends beside the object; the target is what surrounds an object, or has several parts; one tile of a thin tree
is looked at closely, after a coarse answer; what is seen lies under stripes, as lungs under ribs.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from scout_data import SIDE
from torch import Tensor

from hilum.parts import interaction


@dataclass(frozen=True, slots=True, eq=False)
class Aim:
    """The target within its context, the image's edges there (x and y, low and high), and whether clicks must tell."""

    target: Bool[np.ndarray, "s s"]
    edges: Float[np.ndarray, "2 2"]
    told: bool = False


CONTEXT_EDGES = np.array([[0.0] * 2, [float(SIDE)] * 2])
NO_EDGES = np.array([[-8.0 * SIDE] * 2, [9.0 * SIDE] * 2])


def aimed(labels: np.ndarray, target: Bool[np.ndarray, "s s"], rng: np.random.Generator, hard: float) -> Aim:
    """Mostly the target as it is; sometimes before the image's edge; sometimes its surroundings or several parts."""
    kind = rng.random()
    if kind > 0.3 * hard or not target.any():
        return Aim(target, NO_EDGES)
    box = interaction.tight_box(target)
    side = box[1] - box[0] + 1
    room = rng.uniform(0, 0.35, (2, 2)) * (rng.random((2, 2)) < 0.7) * side
    near = np.stack([box[0] - room[0], box[1] + 1 + room[1]])
    if kind > 0.1 * hard:
        free = rng.random((2, 2)) < 0.4
        return Aim(target, np.where(free, NO_EDGES, near))
    around = np.zeros_like(target)
    low, high = np.clip(np.rint(near), 0, SIDE).astype(int)
    around[low[1] : high[1], low[0] : high[0]] = True
    several = labels.dtype != bool and rng.random() < 0.6
    found = around & (np.isin(labels, (1, 2)) if several else ~target)
    return Aim(found if found.sum() > 60 else target, near, told=True)


def within(grid: Float[Tensor, "1 h w 2"], edges: Float[np.ndarray, "2 2"]) -> tuple[Tensor, Bool[Tensor, "h w"]]:
    """The sampling grid, held inside the image's edges, and where it was inside."""
    low, high = (torch.from_numpy((edge / SIDE * 2 - 1).astype(np.float32)) for edge in edges)
    held = torch.minimum(torch.maximum(grid, low), high)
    return held, (held == grid).all(-1)[0]


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A crop of a thin tree: its affine, the box in crop pixels, whether it is boxed and has a coarse answer."""

    theta: Float[np.ndarray, "2 3"]
    box: Float[np.ndarray, " 4"]
    boxed: bool
    coarse: bool


def tile(target: Bool[np.ndarray, "s s"], rng: np.random.Generator, side: int, clicks: float, *, solid: bool) -> Tile:
    """A quarter-turned square around some pixel of the tree, near native resolution, its middle two thirds the box;
    now and then all of the tree from afar. Of a solid object a part, always after a coarse answer."""
    if rng.random() < 0.25 and not solid:
        width = 1.5 * np.exp(rng.normal() * 0.1)
        box = (np.array([-1, -1, 1, 1]) / width + 1) * side / 2 - np.array([0, 0, 1, 1])
        turn = np.rot90(np.eye(2), rng.integers(2)) * rng.choice([-1, 1], (2, 1))
        return Tile(np.concatenate([turn * width, np.zeros((2, 1))], 1), box, rng.random() > 0.4 * clicks, coarse=False)
    ys, xs = np.nonzero(target)
    chosen = rng.integers(len(xs))
    boxed = solid or rng.random() > 0.25 * clicks
    anywhere = boxed and rng.random() < 0.2  # perhaps where nothing is
    width = side * np.exp(rng.uniform(-0.25, 0.35 if boxed else 0.9))
    middle = np.array([xs[chosen], ys[chosen]]) + 0.5 - SIDE / 2 + rng.uniform(-0.3, 0.3, 2) * width * boxed
    middle = rng.uniform(-SIDE / 2, SIDE / 2, 2) if anywhere else middle
    turn = rng.integers(4) * np.pi / 2
    way = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.diag([rng.choice([-1, 1]), 1])
    theta = np.concatenate([way * width / 2, middle[:, None]], 1) / (SIDE / 2)
    rim = side / 6 * np.exp(rng.normal(size=4) * 0.1)
    box = np.array([rim[0], rim[1], side - 1 - rim[2], side - 1 - rim[3]])
    return Tile(theta, box, boxed, bool(boxed and (solid or rng.random() < 0.5)))


def boxed_in(mask: Float[Tensor, "1 h w"], box: Float[np.ndarray, " 4"]) -> Float[Tensor, "1 h w"]:
    """The mask inside the box alone."""
    kept = torch.zeros_like(mask)
    left, top, right, bottom = np.rint(box).astype(int)
    part = np.s_[:, max(top, 0) : bottom + 1, max(left, 0) : right + 1]
    kept[part] = mask[part]
    return kept


def coarsened(mask: Float[Tensor, "1 h w"], rng: np.random.Generator) -> Float[Tensor, "1 h w"]:
    """What a look from afar makes of a thin mask: block means, a threshold that loses or fattens, gaps, softness."""
    block, lost = float(np.exp(rng.uniform(0.4, 2.5))), rng.uniform(0, 0.3 if rng.random() < 0.8 else 1)
    small = [max(int(length / block), 4) for length in mask.shape[1:]]
    far = F.interpolate(mask[None], size=small, mode="bilinear", antialias=True)
    far = far * (torch.rand(far.shape) > lost) + 0.15 * torch.rand(far.shape) * float(rng.random() < 0.4)
    clouds = F.interpolate(torch.randn(1, 1, 5, 5), size=small, mode="bicubic")
    far = far + clouds.clamp(min=0) * float(rng.uniform(0, 0.4) * (rng.random() < 0.5))
    soft = torch.sigmoid(float(rng.uniform(6, 20)) * (far - float(rng.uniform(0.15, 0.5))))
    return F.interpolate(soft, size=mask.shape[1:], mode="bilinear")[0]


def striped(image: Float[Tensor, "c h w"], rng: np.random.Generator) -> Float[Tensor, "c h w"]:
    """Curved stripes over everything, as of ribs, and a slope of brightness."""
    side = image.shape[-1]
    y, x = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij")
    turn = rng.uniform(0, 2 * np.pi) if rng.random() < 0.5 else 0.0
    u, v = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
    bent = v + float(rng.normal() * 0.5) * (u - float(rng.normal() * 0.4)) ** 2
    wave = torch.sin(float(rng.uniform(8, 30)) * bent + float(rng.uniform(0, 6)))
    stripes = torch.sigmoid(float(rng.uniform(2, 8)) * (wave - float(rng.uniform(-0.3, 0.6))))
    slope = float(rng.normal() * 0.12) * u + float(rng.normal() * 0.12) * v
    return image + float(rng.uniform(0.03, 0.22) * rng.choice([-1, 1], p=(0.25, 0.75))) * stripes + slope
