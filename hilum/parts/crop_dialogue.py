"""Asking a crop network about one object: a box or a lone click first, then corrections, each after the last answer.

The network sees windows of the image (`crop_window`) with prompt maps; answers are kept as window and logits, so that
the next round may look elsewhere. All points are image pixels as (x, y), integer = pixel centre.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hilum.parts.crop_choice import best
from hilum.parts.crop_tiles import POOR, closer, seen_in, shrunk, thin
from hilum.parts.crop_window import Window
from hilum.parts.interaction import tight_box
from hilum.parts.prompt_maps import CropPrompt, box_maps, spots

FEATURES = 6  # what the confidence is read from: see `features`
JUDGED, DECIDED = 1, 4  # their places there
CLOSER = 2  # times that the answer to clicks alone is looked at again, in a window of its own size
OBEDIENCE = 2.0  # logit that a clicked pixel gets at least, on its side of zero
EVIDENCE = 10  # the channel of the prompt maps that holds the settled evidence

FAINT = 0.25  # share of a crop's pixel that a line must cover to be seen from afar

Network = Callable[[Tensor, CropPrompt], tuple[Tensor, Tensor, Tensor]]  # logits, judged quality, maps


@dataclass(frozen=True, slots=True)
class Manner:
    """Crop side in pixels, the window in boxes, slots for points.

    `shrinks`: for clicks without a box, the image's shorter side over each window's.
    """

    side: int = 128
    scale: float = 1.5
    slots: int = 24
    shrinks: tuple[float, ...] = (0.8, 1.4, 2.5, 4.4, 7.7, 13.5)


@dataclass(frozen=True, slots=True, eq=False)
class Clicks:
    """Points in the order given, and which lie inside."""

    at: Float[np.ndarray, "n 2"]
    inside: Bool[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.at)

    def first(self, count: int) -> Clicks:
        """The first `count` of them."""
        return Clicks(self.at[:count], self.inside[:count])

    def then(self, other: Clicks) -> Clicks:
        """These, then the others."""
        return Clicks(np.concatenate([self.at, other.at]), np.concatenate([self.inside, other.inside]))


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """One answer: the window it was drawn in, its logits there (at any resolution), its confidence's features."""

    window: Window
    logits: Float[Tensor, "u v"]
    features: Float[Tensor, " f"]


@dataclass(frozen=True, slots=True, eq=False)
class Dialogue:
    """One object of one image (3, h, w) in 0..1; `network` may be anything that answers crops."""

    network: Network
    image: Float[Tensor, "3 h w"]
    manner: Manner

    def boxed(self, box: Float[np.ndarray, "2 2"], clicks: Clicks, before: Float[Tensor, "h w"] | None = None) -> Drawn:
        """The answer to a box, with whatever else was said, after an answer `before` if there is one; but clicks may
        say that it was wrong altogether: then the answer to box and clicks alone is judged better, and is taken."""
        window = Window.around(box, scale=self.manner.scale).holding(clicks.at)
        drawn = self._chosen([window], box, clicks, before)
        if before is not None and len(clicks) and not self._lined(before, window):
            afresh = self._chosen([window], box, clicks, None)
            if afresh.features[JUDGED] > drawn.features[JUDGED]:
                drawn, before = afresh, None
        return self._closer(drawn, box, clicks, before)

    def unboxed(self, clicks: Clicks) -> Drawn:
        """The answer to clicks alone: windows of several sizes, the best judged candidate, and a closer second look."""
        reach = tight_points(clicks.at[clicks.inside])
        shorter = min(self.image.shape[1:])
        room = 1.5 * (reach[1] - reach[0]).max() + 8
        sides = sorted({max(shorter / shrink, room) for shrink in self.manner.shrinks})
        windows = [Window.around(spread(reach, side), scale=1.0).holding(clicks.at) for side in sides]
        drawn = self._chosen(windows, None, clicks, None)
        for _ in range(CLOSER):
            drawn = self._followed(self.canvas(drawn), clicks)
        return self._closer(drawn, None, clicks, None)

    def continued(self, before: Float[Tensor, "h w"], clicks: Clicks) -> Drawn:
        """The answer to clicks without a box after an answer: the window follows that answer."""
        return self._closer(self._followed(before, clicks), None, clicks, before)

    def _followed(self, before: Float[Tensor, "h w"], clicks: Clicks) -> Drawn:
        mask = before.numpy() > 0.5
        reach = tight_box(mask) if mask.any() else tight_points(clicks.at)
        return self._chosen([Window.around(reach, scale=self.manner.scale).holding(clicks.at)], None, clicks, before)

    def canvas(self, drawn: Drawn) -> Float[Tensor, "h w"]:
        """The probability on the whole image; 0 outside the window."""
        canvas = torch.zeros(self.image.shape[1:])
        drawn.window.paste(torch.sigmoid(drawn.logits), canvas)
        return canvas

    def _closer(
        self, drawn: Drawn, box: Float[np.ndarray, "2 2"] | None, clicks: Clicks, before: Tensor | None
    ) -> Drawn:
        """The same answer, or one looked at tile by tile: where it is thin, or poor in a box and better so. What was
        there before is what the tiles start from: it may have been looked at closely itself."""
        window, judged, slim = drawn.window, drawn.features[JUDGED], thin(drawn.logits > 0)
        slim = slim or (before is not None and self._lined(before, window))
        poor = box is not None and float(judged.sigmoid()) < POOR
        if not (shrunk(drawn.logits, window) and (slim or poor)):
            return drawn
        known, scale = self.canvas(drawn) if before is None else before, self.manner.scale

        def asked(tiles: list[Window]) -> tuple[list[Tensor], Tensor]:
            boxes = [tile.corners() for tile in tiles]
            around = [Window.around(corners, scale=scale) for corners in boxes]
            crops = torch.stack([each.cut(self.image, self.manner.side) for each in around])
            logits, quality, _ = self.network(crops, self._prompt(around, boxes, clicks, known))
            return [seen_in(*each) for each in zip(logits[:, 0], around, tiles, strict=True)], quality[:, 0]

        inner = (window if box is None else Window.around(box, scale=1.0, slimmest=0.0)).within(self.image.shape[1:])
        fine, quality = closer(window, inner, drawn.logits, asked)
        if not slim and quality < judged:
            return drawn
        told = drawn.features.clone()
        told[JUDGED], told[DECIDED] = quality, decidedness(fine)
        return Drawn(window, fine, told)

    def _lined(self, before: Float[Tensor, "h w"], window: Window) -> bool:
        """Whether the answer before was thin, seen from as far as the window, and the window is far."""
        seen = window.cut(before[None], self.manner.side)[0]
        return shrunk(seen, window) and thin(seen > FAINT)

    def _chosen(
        self, windows: Sequence[Window], box: Float[np.ndarray, "2 2"] | None, clicks: Clicks, before: Tensor | None
    ) -> Drawn:
        crops = torch.stack([window.cut(self.image, self.manner.side) for window in windows])
        prompt = self._prompt(windows, None if box is None else [box] * len(windows), clicks, before)
        logits, quality, maps = self.network(crops, prompt)
        place, candidate = 0, 0
        if box is None and before is None:
            asked = logits.shape[1] if len(clicks) == 1 else 1  # the other candidates are for lone clicks
            place, candidate = best(logits[:, :asked], quality[:, :asked], windows, self.image.shape[1:])
        drawn = obedient(logits[place, candidate], prompt.points[place], prompt.sign[place])
        told = features(drawn, quality[place, candidate], maps[place], prompt, len(clicks))
        return Drawn(windows[place], drawn, told)

    def _prompt(
        self, windows: Sequence[Window], given: Sequence[np.ndarray] | None, clicks: Clicks, before: Tensor | None
    ) -> CropPrompt:
        side, slots, count = self.manner.side, self.manner.slots, len(windows)
        kept = np.arange(len(clicks)) if len(clicks) <= slots else np.r_[:4, len(clicks) - slots + 4 : len(clicks)]
        at, sign = np.zeros((count, slots, 2)), np.zeros((count, slots))
        for row, window in enumerate(windows):
            at[row, : len(kept)] = window.to_crop(clicks.at[kept], side)
        sign[:, : len(kept)] = np.where(clicks.inside[kept], 1.0, -1.0)
        boxes = (
            [np.array([[0, 0], [side, side]], float)] * count
            if given is None
            else [window.box_to_crop(box, side) for window, box in zip(windows, given, strict=True)]
        )
        blank = torch.zeros(count, 1, side, side)
        previous = blank if before is None else torch.stack([window.cut(before[None], side) for window in windows])
        return CropPrompt(
            torch.from_numpy(np.stack(boxes).reshape(count, 4)).float(),
            torch.full((count,), given is not None),
            torch.from_numpy(at).float(),
            torch.from_numpy(sign).float(),
            previous,
            torch.full((count,), before is not None),
        )


def tight_points(at: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "2 2"]:
    return np.stack([at.min(0), at.max(0)])


def spread(box: Float[np.ndarray, "2 2"], side: float) -> Float[np.ndarray, "2 2"]:
    """A square of this side around the box's middle."""
    return box.mean(0) + np.array([[-1.0], [1.0]]) * (side - 1) / 2 * np.ones(2)


def obedient(
    logits: Float[Tensor, "s s"], points: Float[Tensor, "n 2"], sign: Float[Tensor, " n"]
) -> Float[Tensor, "s s"]:
    """The logits, lifted or lowered near each click that they disobey."""
    side = logits.shape[-1]
    column, row = (points.T.round().long().clamp(0, side - 1)[axis] for axis in (0, 1))
    lacking = (OBEDIENCE - sign * logits[row, column]).clamp(min=0) * sign
    for wanted in lacking.nonzero()[:, 0]:
        logits = logits + lacking[wanted] * spots(points[None, wanted, None], torch.ones(1, 1), (side, side))[0, 0]
    return logits


def features(
    logits: Float[Tensor, "s s"],
    quality: Float[Tensor, ""],
    maps: Float[Tensor, "c s s"],
    prompt: CropPrompt,
    clicks: int,
) -> Float[Tensor, " f"]:
    """One; the judged quality's logit; agreement with the box's ellipse and with the evidence; decidedness; clicks."""
    mask = (logits > 0).float()
    _, radius = box_maps(prompt.box[:1], prompt.boxed[:1], logits.shape)
    ellipse = overlap(mask, (radius[0, 0] < 1).float()) if bool(prompt.boxed[0]) else logits.new_zeros(())
    evident = overlap(mask, ((maps[EVIDENCE] > 0) & (maps[3] >= 0)).float())
    count = logits.new_tensor(clicks).log1p()
    return torch.stack([logits.new_ones(()), quality, ellipse, evident, decidedness(logits), count])


def decidedness(logits: Float[Tensor, "h w"]) -> Float[Tensor, ""]:
    """How far from even the mask's probability is, 0..1, on the mean of its pixels."""
    mask = (logits > 0).float()
    return (mask * torch.tanh(logits.abs() / 2)).sum() / mask.sum().clamp(min=1)


def overlap(first: Float[Tensor, "s s"], second: Float[Tensor, "s s"]) -> Float[Tensor, ""]:
    """Dice of two masks; 1 when both are empty."""
    return (2 * (first * second).sum() + 1e-6) / (first.sum() + second.sum() + 1e-6)
