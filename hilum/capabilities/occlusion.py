"""What a score becomes when a part of the picture is blurred away: asks nothing of a system but its own scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from jaxtyping import Float, Num
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from ..values import progress
from ..values.image import Image
from ..values.prompts import Labels, Prompt
from .embed import Embedder
from .match import Matcher, Probed, Traced

if TYPE_CHECKING:
    from .look import Look, Seen
    from .system import System

Picture = Num[np.ndarray, "c h w"]
TOGETHER = 16  # pictures whose costly passes are one batch
CELLS = 8  # along either side of the picture that is covered part by part
BLUR = 0.2  # deviation of what a part is covered with, as a share of the picture's shorter side


def blurred(picture: Picture) -> Picture:
    """The picture without its structures, in its own kind of numbers."""
    sigma = BLUR * min(picture.shape[1:])
    smooth = gaussian_filter(picture.astype(np.float32), (0, sigma, sigma), mode="reflect")
    return smooth.round().astype(picture.dtype) if picture.dtype.kind in "iu" else smooth.astype(picture.dtype)


@dataclass(slots=True)
class Gathered:
    """A backend that runs the passes of many looks as one batch. They are looked at twice: the first round gathers what
    is to be run (and answers with the first picture's result), the second is answered."""

    name: str = "torch"
    precision: str = "f32"
    notes: tuple[str, ...] = ()
    waiting: list[tuple[nn.Module, Tensor]] = field(default_factory=list)
    ready: list[Tensor] = field(default_factory=list)
    first: dict[tuple[int, ...], Tensor] = field(default_factory=dict)

    def compile(self, module: nn.Module, shape: tuple[int, ...], *, key: str) -> Callable[[Tensor], Tensor]:
        """Gathers, or answers in the order in which was gathered."""

        def run(batch: Tensor) -> Tensor:
            if self.ready:
                return self.ready.pop(0)
            if shape not in self.first:
                with torch.inference_mode():
                    self.first[shape] = module(batch)
            self.waiting.append((module, batch))
            return self.first[shape]

        return run

    def answer(self) -> None:
        """Runs what waits; passes of one shape together."""
        shapes = {batch.shape for _, batch in self.waiting}
        if len(shapes) == 1:
            with torch.inference_mode():
                made = self.waiting[0][0](torch.cat([batch for _, batch in self.waiting]))
            self.ready = list(made.split([len(batch) for _, batch in self.waiting]))
        else:
            with torch.inference_mode():
                self.ready = [module(batch) for module, batch in self.waiting]
        self.waiting = []


def seen_together(system: System, planes: Sequence[Image]) -> list[Seen]:
    """What the system sees in each plane, the costly passes in batches; on torch, whatever ran the look."""
    found: list[Seen] = []
    for start in range(0, len(planes), TOGETHER):
        some = planes[start : start + TOGETHER]
        gathered = Gathered()
        looker = cast(Matcher, system.through(gathered))
        seen = [looker.see(plane) for plane in some]
        if gathered.waiting:
            gathered.answer()
            seen = [looker.see(plane) for plane in some]
        found += seen
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Rescored:
    """The scores that other pictures would have got in the place of a look's first one, for the same prompts."""

    look: Look
    prompts: tuple[Prompt, ...]

    @property
    def plane(self) -> Image:
        """The look's first picture as the system is shown it."""
        prepared = self.look.prepared()
        return prepared.plane(prepared.section(), 0)

    def of(self, pictures: Sequence[Picture]) -> Float[np.ndarray, "n labels"]:
        """The raw similarity of each label, picture by picture."""
        plane = self.plane
        planes = [replace(plane, array=np.ascontiguousarray(each)) for each in pictures]
        others = [
            self.look.seen(self.look.prepared(number).section(), 0, number)
            for number in range(1, len(self.look.images))
        ]
        seen = seen_together(cast("System", self.look.system), planes)
        score = self._scorer()
        return np.stack([score([each, *others]) for each in seen]).astype(np.float64)

    def _scorer(self) -> Callable[[list[Seen]], Float[np.ndarray, " labels"]]:
        """The similarities of what was seen, by the labels' texts (read once, if the system can) or by the probe."""
        system = self.look.system
        if not self.prompts:
            probe = cast(Probed, system).probe
            assert probe is not None  # the look has answered without a prompt
            return lambda seen: probe.logits(cast(Embedder, system).vector(seen[0])[None].astype(np.float64))[0]
        labels = cast(Labels, self.prompts[-1])
        if not isinstance(system, Traced):
            return lambda seen: cast(Matcher, system).matched(seen, labels).similarity
        with torch.inference_mode():
            score = system.scorer(labels)
        return lambda seen: score(seen).float().cpu().numpy()


def drops(scored: Rescored, cells: int = CELLS) -> Float[np.ndarray, "labels rows columns"]:
    """By how much each label's similarity falls when a cell of a coarse grid is blurred away."""
    picture = scored.plane.array
    smooth = blurred(picture)
    edges = [np.linspace(0, length, min(cells, length) + 1).round().astype(int) for length in picture.shape[1:]]
    rows, columns = (list(pairwise(each)) for each in edges)
    scores = [scored.of([picture])[0]]
    for top, bottom in progress.track(rows, "rows"):
        covered = []
        for left, right in columns:
            one = picture.copy()
            one[:, top:bottom, left:right] = smooth[:, top:bottom, left:right]
            covered.append(one)
        scores += list(scored.of(covered))
    fallen = scores[0] - np.stack(scores[1:])  # (cells, labels)
    return fallen.T.reshape(-1, len(rows), len(columns)).astype(np.float32)
