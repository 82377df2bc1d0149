"""What each prompt of an object is worth: left out, or, where it is the only one, moved and made smaller or larger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from ..values import progress
from ..values.answers import Segmentation, tight_box
from ..values.errors import BadInput
from ..values.explanation import Ablation
from ..values.image import Image
from ..values.prompts import Box, Mask, Points, Scribble, Spatial

if TYPE_CHECKING:
    from .look import Look

TENTH = 0.1  # of the side of a box, or of the object's where a click is moved


@dataclass(frozen=True, slots=True)
class Change:
    """Which prompt of an object is changed and how, and what is said of the object then."""

    prompt: str
    how: str
    said: tuple[Spatial, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Shaken:
    """One object's answers to all changes: how often each voxel flips, and each answer beside the full one."""

    flips: Float[np.ndarray, " *grid"]
    ablations: tuple[Ablation, ...]


def shaken(look: Look, name: str, said: Sequence[Spatial], full: Bool[np.ndarray, " *grid"]) -> Shaken:
    """Asks the look again for each change of what was said of one object."""
    flips, told, answered = np.zeros(full.shape, dtype=np.float32), [], 0
    for change in progress.track(list(changes(said, full, look.images[0])), f"prompts of {name}"):
        mask = _asked(look, name, change.said)
        if mask is not None:
            flips += mask != full
            answered += 1
        dice = None if mask is None else overlap(mask, full)
        told.append(Ablation(name, change.prompt, change.how, dice))
    return Shaken(flips / max(answered, 1), tuple(told))


def _asked(look: Look, name: str, said: tuple[Spatial, ...]) -> Bool[np.ndarray, " *grid"] | None:
    """The object's mask; None where the system refuses what is left."""
    try:
        answer = look.ask(*(replace(prompt, name=name) for prompt in said))
    except BadInput:
        return None
    return cast(Segmentation, answer).masks[0]


def overlap(mask: Bool[np.ndarray, " *grid"], full: Bool[np.ndarray, " *grid"]) -> float:
    """Dice; 1 where both are empty."""
    both = int(mask.sum()) + int(full.sum())
    return 2 * int((mask & full).sum()) / both if both else 1.0


def changes(said: Sequence[Spatial], full: Bool[np.ndarray, " *grid"], image: Image) -> Iterator[Change]:
    """Each prompt left out; where nothing would be left that speaks for the object, it is varied instead."""
    parts = [part for prompt in said for part in _parts(prompt)]
    for place, (word, prompt) in enumerate(parts):
        rest = tuple(other for at, (_, other) in enumerate(parts) if at != place)
        if any(map(_speaks_for, rest)):
            yield Change(word, "left out", rest)
        else:
            for how, other in _varied(prompt, full, image):
                yield Change(word, how, (other, *rest))


def _parts(prompt: Spatial) -> list[tuple[str, Spatial]]:
    """A prompt's parts that can be left out by themselves, each with its word: every click is one."""
    if isinstance(prompt, Points):
        clicks = zip(prompt.at, prompt.inside, strict=True)
        return [(_click(at, bool(yes)), replace(prompt, at=at[None], inside=np.array([yes]))) for at, yes in clicks]
    if isinstance(prompt, Scribble) and prompt.outside is not None and prompt.inside.any():
        nothing = np.zeros_like(prompt.inside)
        return [
            ("scribble inside", replace(prompt, outside=None)),
            ("scribble outside", replace(prompt, inside=nothing)),
        ]
    return [(type(prompt).__name__.lower(), prompt)]


def _click(at: Float[np.ndarray, " d"], inside: bool) -> str:
    return f"click {'inside' if inside else 'outside'} {','.join(f'{value:g}' for value in at)}"


def _speaks_for(prompt: Spatial) -> bool:
    """Whether a prompt says where the object is, rather than only where it is not."""
    return bool(prompt.inside.any()) if isinstance(prompt, Points | Scribble) else True


def _varied(prompt: Spatial, full: Bool[np.ndarray, " *grid"], image: Image) -> Iterator[tuple[str, Spatial]]:
    """The prompt moved by a tenth along each axis, and made smaller and larger."""
    match prompt:
        case Box():
            yield from _boxes(prompt)
        case Points():
            yield from _clicks(prompt, full, image)
        case Mask():
            width = max(1, round(TENTH * np.sqrt(prompt.array.reshape(-1, *image.grid[-2:]).sum(axis=(1, 2)).max())))
            yield "made smaller", replace(prompt, array=ndimage.binary_erosion(prompt.array, iterations=width))
            yield "made larger", replace(prompt, array=ndimage.binary_dilation(prompt.array, iterations=width))
        case Scribble():
            yield from _halves(prompt)


def _boxes(box: Box) -> Iterator[tuple[str, Box]]:
    step = TENTH * (box.high - box.low)
    for axis in np.flatnonzero(step):
        for sign, word in ((-1, "down"), (1, "up")):
            shift = sign * step * (np.arange(step.size) == axis)
            yield f"moved {word} {'xyz'[axis]} by a tenth", replace(box, low=box.low + shift, high=box.high + shift)
    yield "made smaller by a tenth", replace(box, low=box.low + step / 2, high=box.high - step / 2)
    yield "made larger by a tenth", replace(box, low=box.low - step / 2, high=box.high + step / 2)


def _clicks(click: Points, full: Bool[np.ndarray, " *grid"], image: Image) -> Iterator[tuple[str, Points]]:
    """By a tenth of the object's own extent along each axis of the image, but at least a voxel."""
    box = tight_box(full)
    for axis in range(image.dimensions):
        extent = 1 if box is None else box[1][axis] - box[0][axis]
        if image.grid[::-1][axis] == 1 or (image.dimensions == 3 and extent == 0):
            continue
        step = max(1.0, TENTH * extent) * np.eye(3)[axis]
        shift = image.affine[:3, :3] @ step if click.space == "patient" else step[: click.at.shape[1]]
        for sign, word in ((-1, "down"), (1, "up")):
            yield f"moved {word} {'xyz'[axis]} by a tenth of the object", replace(click, at=click.at + sign * shift)


def _halves(scribble: Scribble) -> Iterator[tuple[str, Scribble]]:
    """The strokes without either half of them, along their longest axis."""
    places = np.argwhere(scribble.inside)
    axis = int(np.ptp(places, axis=0).argmax())
    middle = np.median(places[:, axis])
    index = np.indices(scribble.inside.shape)[axis]
    for word, kept in (("first", index >= middle), ("second", index <= middle)):
        yield f"without its {word} half", replace(scribble, inside=scribble.inside & kept)
