"""From some planes to a volume: middle out, each mask prompts the next plane, until quality or overlap give out.

The policy is the capability's, the same for every system that works plane by plane.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..values import progress
from ..values.answers import PlaneMask, tight_box
from ..values.prompts import PlanePrompt

Draw = Callable[[int, PlanePrompt], PlaneMask]  # plane number, prompt -> mask


@dataclass(frozen=True, slots=True)
class Policy:
    """When a walk from plane to plane ends, and how much room the next plane's box gets."""

    quality: float = 0.5  # of the quality on the plane where the walk began
    overlap: float = 0.4  # Dice of neighbouring planes
    growth: float = 2.0  # a mask this many times larger than its neighbour has leaked
    smallest: int = 4  # pixels
    margin: float = 0.05  # of the neighbour's box, at least one pixel, on every side


def volume(
    anchors: dict[int, PlanePrompt], planes: range, draw: Draw, policy: Policy = Policy()
) -> dict[int, PlaneMask]:
    """Masks by plane number: the prompted planes (`anchors`) by their own prompts, the rest of `planes` walked to."""
    masks: dict[int, PlaneMask] = {}
    for number in progress.track(sorted(anchors), "prompted planes"):
        masks[number] = draw(number, anchors[number])
    done = len(anchors)
    for anchor in sorted(anchors):
        for direction in (-1, 1):
            for number in _walk(anchor, direction, anchors, planes):
                mask = draw(number, _from_neighbour(masks[number - direction], anchors[anchor], policy))
                done += 1
                progress.count("planes", done, len(planes))
                if _ends(mask, masks[number - direction], masks[anchor], policy):
                    break
                masks[number] = mask
    return masks


def _walk(anchor: int, direction: int, anchors: dict[int, PlanePrompt], planes: range) -> list[int]:
    """Plane numbers from the anchor outward, as long as no other anchor is nearer (ties go to the lower one)."""
    steps = []
    number = anchor + direction
    while number in planes and number not in anchors:
        nearest = min(anchors, key=lambda other: (abs(other - number), other))
        if nearest != anchor:
            break
        steps.append(number)
        number += direction
    return steps


def _from_neighbour(neighbour: PlaneMask, said: PlanePrompt, policy: Policy) -> PlanePrompt:
    """The neighbour's mask as a prompt: its probability, and its box with a little room, inside the user's own box."""
    bounds = tight_box(neighbour.mask)
    if bounds is None:
        return replace(said, mask=neighbour.probability, points=np.zeros((0, 2)), inside=np.zeros(0, dtype=bool))
    low, high = np.array(bounds[0], dtype=np.float64), np.array(bounds[1], dtype=np.float64)
    room = np.maximum(1.0, policy.margin * (high - low))
    low, high = low - room, high + room
    last = np.array(neighbour.mask.shape[::-1]) - 1.0
    low, high = np.clip(low, 0, last), np.clip(high, 0, last)
    if said.box is not None:
        low, high = np.maximum(low, np.minimum(said.box[0], high)), np.minimum(high, np.maximum(said.box[1], low))
    return PlanePrompt(box=np.stack([low, high]), mask=neighbour.probability)


def _ends(mask: PlaneMask, neighbour: PlaneMask, first: PlaneMask, policy: Policy) -> bool:
    area, before = int(mask.mask.sum()), int(neighbour.mask.sum())
    if area < policy.smallest or before == 0:
        return True
    if mask.quality < policy.quality * first.quality or area > policy.growth * before:
        return True
    shared = int((mask.mask & neighbour.mask).sum())
    return 2 * shared < policy.overlap * (area + before)
