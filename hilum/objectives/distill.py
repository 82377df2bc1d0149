"""Self-distillation: a student learns to say of a picture what its own running mean says of another view of it.

Oquab et al. 2023 (DINOv2), sec. 4: on the class token (Caron et al. 2021, DINO), on patches that are hidden from the
student (Zhou et al. 2022, iBOT), and a term that keeps the pictures of a batch apart (Sablayrolles et al. 2019, KoLeo).
What is said are scores of prototypes. The teacher's are balanced over the batch, so that not all pictures meet in one
prototype: by Sinkhorn and Knopp's scaling (Caron et al. 2020), or by taking off their running mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

STUDENT = 0.1  # temperature (Caron et al. 2021, sec. 3.1)
EPS = 1e-8  # under the logarithm of a distance


@torch.no_grad()
def balanced(scores: Float[Tensor, "n k"], temperature: float, *, rounds: int = 3) -> Float[Tensor, "n k"]:
    """Probabilities of prototypes that are used equally often over the batch (Sinkhorn and Knopp's scaling)."""
    share = ((scores - scores.max()).double() / temperature).exp()
    for _ in range(rounds):
        share = share / share.sum(0, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny) / share.shape[1]
        share = share / share.sum(1, keepdim=True) / share.shape[0]
    return (share * share.shape[0]).to(scores.dtype)


class Centre(nn.Module):
    """The running mean of the teacher's scores, taken off before the softmax (Caron et al. 2021, eq. 4)."""

    mean: Tensor

    def __init__(self, prototypes: int, *, momentum: float = 0.9):
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(prototypes))

    @torch.no_grad()
    def forward(self, scores: Float[Tensor, "n k"], temperature: float) -> Float[Tensor, "n k"]:
        """The teacher's probabilities; in training the mean moves afterwards."""
        probability = ((scores - self.mean) / temperature).softmax(-1)
        if self.training:
            self.mean.lerp_(scores.mean(0), 1 - self.momentum)
        return probability


def disagreement(scores: Float[Tensor, "n k"], wanted: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
    """Cross-entropy of the student's scores with the teacher's probabilities."""
    return -(wanted * (scores / STUDENT).log_softmax(-1)).sum(-1)


def class_distillation(
    scores: Sequence[Float[Tensor, "n k"]], wanted: Sequence[Float[Tensor, "n k"]]
) -> Float[Tensor, ""]:
    """The mean over every student's view beside every other teacher's view; the teacher saw the first ones alone."""
    pairs = [
        disagreement(said, asked).mean()
        for place, said in enumerate(scores)
        for other, asked in enumerate(wanted)
        if place != other
    ]
    if not pairs:
        raise ValueError("one view cannot be compared with another: give at least two views of each picture")
    return torch.stack(pairs).mean()


def patch_distillation(
    scores: Float[Tensor, "m k"], wanted: Float[Tensor, "m k"], hidden: Bool[Tensor, "b n"]
) -> Float[Tensor, ""]:
    """Over the hidden patches, row by row as `hidden` has them: the mean in each picture, then over all pictures."""
    weight = (hidden / hidden.sum(1, keepdim=True).clamp(min=1))[hidden]
    return (disagreement(scores, wanted) * weight).sum() / len(hidden)


def crowding(features: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """KoLeo: minus the mean log distance of each picture to the nearest other one, on the sphere."""
    if len(features) < 2:
        raise ValueError("one picture has no neighbour: give at least two")
    unit = F.normalize(features, dim=-1)
    with torch.no_grad():
        nearest = (unit @ unit.T).fill_diagonal_(-torch.inf).argmax(1)
    return -((unit - unit[nearest] + EPS).norm(dim=-1) + EPS).log().mean()


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """The teacher becomes momentum of itself and the rest of the student; buffers are taken over."""
    for mine, theirs in zip(teacher.parameters(), student.parameters(), strict=True):
        mine.lerp_(theirs, 1 - momentum)
    for own, other in zip(teacher.buffers(), student.buffers(), strict=True):
        own.copy_(other)
