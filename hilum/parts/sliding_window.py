"""A network over a volume larger than its window: overlapping windows, weighted by a Gaussian, averaged.

The numbers are those of MONAI's `sliding_window_inference`, which keeps every channel of the whole volume. Here windows
go along the longest side, and each slab is handed out as soon as no further window reaches it. So the memory is bounded
by one slab: channels times the window's depth times the two other sides, in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from hilum.values import progress

SIGMA = 1 / 8  # of the window's side (MONAI's default)
LEAST = 1e-3  # weight of a corner
Corner = tuple[int, int, int]
Sides = tuple[int, int, int]
Run = Callable[[Float[Tensor, "1 1 x y z"]], Float[Tensor, "1 k x y z"]]


@dataclass(frozen=True, slots=True, eq=False)
class Slab:
    """A finished part of the answer, and where in the volume it lies."""

    place: tuple[slice, slice, slice]
    values: Float[Tensor, "k x y z"]


def slabs(volume: Float[Tensor, "x y z"], sides: Sides, run: Run, *, overlap: float = 0.5) -> Iterator[Slab]:
    """The averaged answers of `run`, slab after slab; a volume smaller than a window gets zeros around it."""
    padded, before = enclosed(volume, sides)
    axis = max(range(3), key=lambda each: padded.shape[each])
    weight = gaussian(sides)
    starts = [_starts(size, side, overlap) for size, side in zip(padded.shape, sides, strict=True)]
    across = [starts[each] if each != axis else [0] for each in range(3)]
    total, rolling = len(starts[0]) * len(starts[1]) * len(starts[2]), None
    for number, start in enumerate(starts[axis]):
        for done, corner in enumerate(product(*across), number * (total // len(starts[axis]))):
            progress.count("windows", done, total)
            there = tuple(low + start * (each == axis) for each, low in enumerate(corner))
            answer = run(padded[_window(there, sides)][None, None])[0].float()
            if rolling is None:
                rolling = _Rolling.empty(answer, padded.shape, axis)
            rolling.add(answer, weight.to(answer.device), corner)
        assert rolling is not None
        following = starts[axis][number + 1] if number + 1 < len(starts[axis]) else start + sides[axis]
        yield _cut(rolling.handed_out(following - start), (start, axis), before, volume.shape)
    progress.count("windows", total, total)


@dataclass(slots=True, eq=False)
class _Rolling:
    """Sums over the windows that lie on one slab; only its `axis` is as short as a window."""

    sums: Float[Tensor, "k x y z"]
    weights: Float[Tensor, "x y z"]
    axis: int

    @classmethod
    def empty(cls, answer: Float[Tensor, "k a b c"], shape: torch.Size, axis: int) -> _Rolling:
        sides = [answer.shape[1 + each] if each == axis else size for each, size in enumerate(shape)]
        return cls(answer.new_zeros(len(answer), *sides), answer.new_zeros(sides), axis)

    def add(self, answer: Float[Tensor, "k a b c"], weight: Float[Tensor, "a b c"], corner: tuple[int, ...]) -> None:
        there = _window(corner, answer.shape[1:])
        self.sums[(slice(None), *there)] += answer * weight
        self.weights[there] += weight

    def handed_out(self, depth: int) -> Float[Tensor, "k x y z"]:
        """The first planes, averaged; what is left moves up, and zeros follow."""
        size = self.sums.shape[1 + self.axis]
        done = self.sums.narrow(1 + self.axis, 0, depth) / self.weights.narrow(self.axis, 0, depth)
        for sums, axis in ((self.sums, 1 + self.axis), (self.weights, self.axis)):
            left = sums.narrow(axis, depth, size - depth).clone()
            sums.narrow(axis, 0, size - depth).copy_(left)
            sums.narrow(axis, size - depth, depth).zero_()
        return done


def enclosed(volume: Float[Tensor, "x y z"], sides: Sides) -> tuple[Float[Tensor, "x y z"], Corner]:
    """At least a window large on each side, with zeros evenly around; and how many of them lie before."""
    lacking = [max(side - size, 0) for size, side in zip(volume.shape, sides, strict=True)]
    pads = [(each // 2, each - each // 2) for each in lacking]
    around = [amount for pair in reversed(pads) for amount in pair]
    return (F.pad(volume, around) if any(around) else volume), (pads[0][0], pads[1][0], pads[2][0])


def gaussian(sides: Sides) -> Float[Tensor, "x y z"]:
    """The weight of a window's voxels: about 1 in the middle, never below a thousandth."""
    x, y, z = (_bell(side) for side in sides)
    weight = x[:, None, None] * y[:, None] * z
    return weight.clamp(min=max(float(weight.min()), LEAST))


def _bell(side: int) -> Float[Tensor, " side"]:
    from_middle = torch.arange(side, dtype=torch.float32) - (side - 1) / 2
    return torch.exp(-(from_middle**2) / (2 * (SIGMA * side) ** 2))


def _starts(size: int, side: int, overlap: float) -> list[int]:
    """Where windows begin; the last one ends with the volume."""
    step = max(int(side * (1 - overlap)), 1)
    return [*range(0, size - side, step), size - side]


def _window(corner: tuple[int, ...], sides: Sequence[int]) -> tuple[slice, slice, slice]:
    x, y, z = (slice(low, low + side) for low, side in zip(corner, sides, strict=True))
    return x, y, z


def _cut(values: Float[Tensor, "k x y z"], start: tuple[int, int], before: Corner, shape: torch.Size) -> Slab:
    """A slab without the zeros that were laid around the volume."""
    first, axis = start
    inner, place = [], []
    for each in range(3):
        low = first if each == axis else 0
        begin, end = max(before[each] - low, 0), min(before[each] + shape[each] - low, values.shape[1 + each])
        inner.append(slice(begin, end))
        place.append(slice(low + begin - before[each], low + end - before[each]))
    return Slab((place[0], place[1], place[2]), values[(slice(None), *inner)])
