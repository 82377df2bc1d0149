"""What a prompt says about every pixel of its crop: geometry maps, and grey-level evidence for inside against outside.

The evidence is a likelihood ratio of histograms (inside the box's ellipse and at positive clicks, against outside and
at negative clicks), sharpened by a few rounds of expectation and maximisation, as in GrabCut (Rother et al. 2004).
All coordinates are crop pixels as (x, y), integer = pixel centre.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

CHANNELS = 13
REACH = 2.5  # standard deviation of a click's spot, in crop pixels
ROUNDS = 2


@dataclass(frozen=True, slots=True, eq=False)
class CropPrompt:
    """Prompts of a batch of crops. `sign` is +1 inside, -1 outside, 0 no point; an absent box has `boxed` False;
    `previous` is a probability, only read where `continued`."""

    box: Float[Tensor, "b 4"]
    boxed: Bool[Tensor, " b"]
    points: Float[Tensor, "b n 2"]
    sign: Float[Tensor, "b n"]
    previous: Float[Tensor, "b 1 h w"]
    continued: Bool[Tensor, " b"]


def prompt_maps(image: Float[Tensor, "b 3 h w"], prompt: CropPrompt) -> Float[Tensor, "b c h w"]:
    """The network's input: grey, two opponent colours, box, radius, clicks, previous mask and the evidence channels."""
    planes = normalise(image)
    grey = planes.mean(1, keepdim=True)
    opponent = torch.cat([planes[:, :1] - planes[:, 1:2], planes[:, 2:] - grey], 1)
    size = image.shape[-2:]
    within, radius = box_maps(prompt.box, prompt.boxed, size)
    positive, negative = (spots(prompt.points, prompt.sign * way, size) for way in (1, -1))
    kept = prompt.continued[:, None, None, None]
    previous = torch.where(kept, 2 * prompt.previous - 1, torch.zeros_like(prompt.previous))
    seed = torch.where(prompt.boxed[:, None, None, None], torch.sigmoid(8 * (1 - radius)), wide(prompt, size))
    seed = torch.where(kept, prompt.previous, seed)
    first, joint, settled = evidence(planes, seed, within, positive, negative)
    gradient = gradient_size(grey)
    alike = likeness(grey, positive)
    maps = [grey, opponent, within, radius.clamp(max=3) / 3, positive, negative, previous]
    return torch.cat([*maps, first, joint, settled, gradient, alike], 1)


def normalise(image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """The crop's 1st to 99th percentile over all colours becomes -1..1, clipped at ±2."""
    sample = image[:, :, ::4, ::4].flatten(1)
    count = sample.shape[1]
    ranked = sample.sort(1).values
    low, high = ranked[:, count // 100, None, None, None], ranked[:, count - 1 - count // 100, None, None, None]
    return ((image - low) / (high - low).clamp(min=0.02) * 2 - 1).clamp(-2, 2)


def grid(size: tuple[int, ...]) -> tuple[Float[Tensor, "1 1 w"], Float[Tensor, "1 h 1"]]:
    return torch.arange(size[1], dtype=torch.float32)[None, None], torch.arange(size[0], dtype=torch.float32)[
        None, :, None
    ]


def box_maps(
    box: Float[Tensor, "b 4"], boxed: Bool[Tensor, " b"], size: tuple[int, ...]
) -> tuple[Float[Tensor, "b 1 h w"], Float[Tensor, "b 1 h w"]]:
    """Inside the box (+1, outside -1; 0 without one), and the radius in units of its ellipse (0 without one)."""
    x, y = grid(size)
    low_x, low_y, high_x, high_y = (value[:, None, None] for value in box.unbind(1))
    half_x, half_y = (high_x - low_x + 1) / 2, (high_y - low_y + 1) / 2
    u, v = (x - (low_x + high_x) / 2) / half_x, (y - (low_y + high_y) / 2) / half_y
    within = (torch.maximum(u.abs(), v.abs()) <= 1).float() * 2 - 1
    radius = (u * u + v * v).sqrt()
    there = boxed[:, None, None].float()
    return (within * there)[:, None], (radius * there)[:, None]


def spots(
    points: Float[Tensor, "b n 2"], chosen: Float[Tensor, "b n"], size: tuple[int, ...]
) -> Float[Tensor, "b 1 h w"]:
    """A Gaussian spot at each point whose `chosen` is positive; the largest wins."""
    x, y = grid(size)
    across = torch.exp(-((x - points[..., :1]) ** 2) / (2 * REACH**2))
    down = torch.exp(-((y[0].T[None] - points[..., 1:]) ** 2) / (2 * REACH**2)) * (chosen > 0)[..., None]
    return (down[..., :, None] * across[..., None, :]).amax(1, keepdim=True)


def wide(prompt: CropPrompt, size: tuple[int, ...]) -> Float[Tensor, "b 1 h w"]:
    """Where to learn the inside's grey levels when there is no box: around the positive clicks."""
    return spots(prompt.points, prompt.sign, size) ** 0.25


def evidence(
    planes: Float[Tensor, "b 3 h w"],
    seed: Float[Tensor, "b 1 h w"],
    within: Float[Tensor, "b 1 h w"],
    positive: Float[Tensor, "b 1 h w"],
    negative: Float[Tensor, "b 1 h w"],
) -> tuple[Float[Tensor, "b 1 h w"], ...]:
    """Grey likelihood ratio, joint (colour or multi-scale) ratio, and the ratio after EM; each in -1..1."""
    fine, coarse = grey_bins(planes), joint_bins(planes)
    boxless = (within == 0).float()
    ring = torch.where(boxless > 0, 0.3 * (1 - seed), (within < 0).float())
    inside = (seed * (1 - negative) + 8 * positive).flatten(1)
    outside = (ring * (1 - positive) + 8 * negative).flatten(1)
    first = log_ratio(fine, inside, outside, bins=(32,))
    joint = log_ratio(coarse, inside, outside, bins=(8, 8, 8))
    prior = torch.where(
        boxless > 0, 2 * seed - 1.5, torch.where(within > 0, 4 * (seed - 0.4), torch.full_like(seed, -3.0))
    )
    settled = joint
    for _ in range(ROUNDS):
        belief = torch.sigmoid(prior + 1.5 * blur(settled.reshape_as(seed)) + 4 * positive - 4 * negative)
        settled = log_ratio(coarse, belief.flatten(1), 1 - belief.flatten(1), bins=(8, 8, 8))
    return tuple(torch.tanh(value.reshape_as(seed) / 2) for value in (first, joint, blur(settled.reshape_as(seed))))


def grey_bins(planes: Float[Tensor, "b 3 h w"]) -> Int[Tensor, "b n"]:
    return ((planes.mean(1).flatten(1) + 1.25) * 12.8).long().clamp(0, 31)


def joint_bins(planes: Float[Tensor, "b 3 h w"]) -> Int[Tensor, "b n"]:
    """Colour: the three planes. Grey: the pixel and its mean at two scales, so that texture counts too."""
    colourless = ((planes - planes.mean(1, keepdim=True)).abs().amax((1, 2, 3)) < 0.02)[:, None, None, None]
    grey = planes.mean(1, keepdim=True)
    scales = torch.cat([grey, blur(grey), blur(blur(blur(grey)))], 1)
    level = ((torch.where(colourless, scales, planes) + 1.1) * 3.6).long().clamp(0, 7).flatten(2)
    return level[:, 0] * 64 + level[:, 1] * 8 + level[:, 2]


def log_ratio(
    index: Int[Tensor, "b n"], inside: Float[Tensor, "b n"], outside: Float[Tensor, "b n"], *, bins: tuple[int, ...]
) -> Float[Tensor, "b n"]:
    """log p(bin | inside) / p(bin | outside) at every pixel, of smoothed histograms, clipped at ±4."""
    total = 1
    for count in bins:
        total *= count
    weights = torch.stack([inside, outside], 1)
    counts = weights.new_zeros(len(index), 2, total).scatter_add_(2, index[:, None].expand(-1, 2, -1), weights)
    share = smooth(counts, bins)
    share = share / share.sum(2, keepdim=True).clamp(min=1e-6) + 0.15 / total
    return (share[:, 0] / share[:, 1]).log().clamp(-4, 4).gather(1, index)


def smooth(counts: Float[Tensor, "b 2 n"], bins: tuple[int, ...]) -> Float[Tensor, "b 2 n"]:
    """Neighbouring bins share counts: a [1 2 1] / 4 window along every axis of the histogram."""
    shaped = counts.reshape(*counts.shape[:2], *bins)
    for axis in range(2, shaped.ndim):
        length = shaped.shape[axis]
        ahead = torch.cat([shaped.narrow(axis, 1, length - 1), shaped.narrow(axis, length - 1, 1)], axis)
        behind = torch.cat([shaped.narrow(axis, 0, 1), shaped.narrow(axis, 0, length - 1)], axis)
        shaped = (2 * shaped + ahead + behind) / 4
    return shaped.flatten(2)


def blur(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """Mean over 5 x 5, edges repeated; as shifted sums, which are several times faster than pooling on a CPU."""
    height, width = x.shape[-2:]
    x = F.pad(x, (2, 2, 2, 2), mode="replicate")
    x = sum((x[..., k : k + width] for k in range(1, 5)), start=x[..., :width])
    return sum((x[..., k : k + height, :] for k in range(1, 5)), start=x[..., :height, :]) / 25


def gradient_size(grey: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
    """Sobel gradient length, square-root compressed."""
    around = F.pad(grey, (1, 1, 1, 1), mode="replicate")
    rows = (around[..., :-2, :] + 2 * around[..., 1:-1, :] + around[..., 2:, :]) / 4
    columns = (around[..., :-2] + 2 * around[..., 1:-1] + around[..., 2:]) / 4
    across, down = rows[..., 2:] - rows[..., :-2], columns[..., 2:, :] - columns[..., :-2, :]
    return (across**2 + down**2 + 1e-6).sqrt().sqrt()


def likeness(grey: Float[Tensor, "b 1 h w"], positive: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
    """How near each pixel's smoothed grey is to the clicked grey; 0 without a positive click."""
    soft = blur(grey)
    weight = positive.sum((2, 3), keepdim=True)
    clicked = (soft * positive).sum((2, 3), keepdim=True) / weight.clamp(min=1e-6)
    return torch.exp(-4 * (soft - clicked) ** 2) * (weight > 0)
