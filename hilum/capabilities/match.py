"""Match: an image against classes, a score for each. So far by a probe, a linear layer on a frozen encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
from jaxtyping import Float

from ..values.answers import Scores
from ..values.errors import BadInput
from ..values.prompts import Prompt
from .embed import embed

if TYPE_CHECKING:
    from .look import Look


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """A linear classifier of vectors, which are standardised first; `names` are the classes in order."""

    names: tuple[str, ...]
    weight: Float[np.ndarray, "dim classes"]
    bias: Float[np.ndarray, " classes"]
    mean: Float[np.ndarray, " dim"]
    deviation: Float[np.ndarray, " dim"]

    def logits(self, vectors: Float[np.ndarray, "n dim"]) -> Float[np.ndarray, "n classes"]:
        """The log-odds of the classes, up to a constant."""
        return (vectors - self.mean) / self.deviation @ self.weight + self.bias


class Probed(Protocol):
    """A system with a probe on it."""

    probe: Probe | None


def match(look: Look, prompts: tuple[Prompt, ...]) -> Scores:
    """The classes of the system's probe: logits as similarity, and their softmax, which nobody has calibrated."""
    probe = cast(Probed, look.system).probe
    if probe is None or prompts:
        raise BadInput(f"{look.system.card.name} has no classes of its own here, and labels are not matched yet")
    if len(look.images) != 1 or look.images[0].dimensions != 2:
        raise BadInput("a probe classifies one picture at a time; of a volume give one plane (--frame)")
    vectors = embed(look, ())
    logits = probe.logits(vectors.vectors.astype(np.float64))[0]
    softmax = np.exp(logits - logits.max())
    return Scores(probe.names, logits, softmax / softmax.sum(), vectors.provenance)
