"""SAM without a prompt: a grid of clicks, and of the masks they give those that are good, stable and not yet there.

Kirillov et al. 2023, sec. 5 "Segment everything" and appendix B "Automatic mask generation"; the numbers are those of
the published generator, without its crops.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hilum.parts.sam import Sam
from hilum.parts.sam_frame import SamFrame
from hilum.parts.sam_prompt_encoder import SamPrompts
from hilum.values import progress
from hilum.values.answers import PlaneMask


@dataclass(frozen=True, slots=True)
class Sweep:
    """Which clicks are tried, and which masks are kept."""

    side: int = 32  # clicks along each side of the picture
    quality: float = 0.88  # predicted overlap, at least
    stability: float = 0.95  # overlap of the masks at threshold ± offset, at least
    offset: float = 1.0  # logits
    overlap: float = 0.7  # of boxes; beyond it the worse mask goes
    together: int = 32  # clicks in a batch


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Masks that passed: logits as the decoder gave them, tight boxes in the picture, predicted overlaps."""

    logits: Float[Tensor, "n h w"]
    boxes: Float[Tensor, "n 4"]
    quality: Float[Tensor, " n"]


def everything(
    network: Sam, embedding: Float[Tensor, "1 c h w"], frame: SamFrame, sweep: Sweep = Sweep()
) -> Iterator[PlaneMask]:
    """Masks of all that is found in the picture, best first."""
    from torchvision.ops import nms

    batches = torch.from_numpy(clicks(frame, sweep.side)).split(sweep.together)
    found = [tried(network, embedding, batch, frame, sweep) for batch in progress.track(batches, "clicks")]
    logits, boxes, quality = (
        torch.cat([getattr(each, name) for each in found]) for name in ("logits", "boxes", "quality")
    )
    for index in nms(boxes, quality, sweep.overlap):
        probability = torch.sigmoid(frame.restored(logits[index][None, None]))[0, 0]
        yield PlaneMask(probability.cpu().numpy(), float(quality[index].clamp(0, 1)))


def clicks(frame: SamFrame, side: int) -> Float[np.ndarray, "n 2"]:
    """The middles of side × side equal tiles of the picture, row by row, as (x, y)."""
    middles = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(middles * frame.width, middles * frame.height)
    return np.stack([x.ravel(), y.ravel()], axis=-1)


def tried(
    network: Sam, embedding: Float[Tensor, "1 c h w"], at: Float[Tensor, "n 2"], frame: SamFrame, sweep: Sweep
) -> Candidates:
    """The masks of one batch of clicks, three for each, that are good and stable."""
    points = frame.scaled(at.numpy())[:, None].to(embedding.device)
    inside = torch.ones(len(points), 1, dtype=torch.bool, device=embedding.device)
    logits, quality = (answer[:, 1:].flatten(0, 1) for answer in network.ask(embedding, SamPrompts(points, inside)))
    good = quality > sweep.quality
    logits, quality = logits[good], quality[good]
    measured = [measure(frame.restored(one[None, None])[0, 0], sweep.offset) for one in logits]
    stability = torch.tensor([stable for stable, _ in measured], device=logits.device)
    boxes = torch.stack([box for _, box in measured]) if measured else logits.new_zeros(0, 4)
    kept = stability >= sweep.stability
    return Candidates(logits[kept], boxes[kept], quality[kept])


def measure(logits: Float[Tensor, "h w"], offset: float) -> tuple[float, Float[Tensor, " 4"]]:
    """How little the mask depends on its threshold (1: not at all), and its tight box; an empty mask has no extent."""
    narrow, wide = int((logits > offset).sum()), int((logits > -offset).sum())
    mask = logits > 0
    rows, columns = mask.any(dim=1).nonzero()[:, 0], mask.any(dim=0).nonzero()[:, 0]
    if not len(rows):
        return narrow / wide if wide else float("nan"), logits.new_zeros(4)
    corners: Int[Tensor, " 4"] = torch.stack([columns[0], rows[0], columns[-1], rows[-1]])
    return narrow / wide, corners.to(logits.dtype)
