"""Match: images against labels, a score for each; or against the classes of a probe on a frozen encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, cast, runtime_checkable

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ..values.answers import Scores
from ..values.errors import BadInput
from ..values.image import Image
from ..values.prompts import Labels, Prompt
from .embed import embed

if TYPE_CHECKING:
    from .look import Look, Seen

TOLD = 3  # texts of a label that the provenance repeats


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """What a system makes of labels: its raw similarity of each, that by its own softmax, and the texts it compared."""

    similarity: Float[np.ndarray, " labels"]
    softmax: Float[np.ndarray, " labels"]
    texts: Sequence[Sequence[str]]


@runtime_checkable
class Several(Protocol):
    """What says how many pictures one question may be about: 2 takes a prior, 0 any number (a bag of tiles)."""

    together: ClassVar[int]


class Matcher(Several, Protocol):
    """A system that compares pictures with texts, each picture as it is shown in radiological orientation."""

    def prepare(self, image: Image) -> Image:
        """The whole image brought to the system's input contract on the same grid; conversions are noted."""

    def see(self, plane: Image) -> Seen:
        """The costly pass over one plane (c, h, w)."""

    def matched(self, seen: Sequence[Seen], labels: Labels) -> Matched:
        """The labels by what was seen in each picture, in the order given; texts, pooling and score as the paper's."""


Score = Callable[[Sequence["Seen"]], Tensor]  # what was seen in each picture -> the similarity of each label


@runtime_checkable
class Traced(Protocol):
    """A matcher whose similarity can be traced back to the pixels that its costly pass is given."""

    def shows(self, size: tuple[int, int]) -> tuple[float, float]:
        """The (height, width) of the middle part of a picture of this size, in its pixels, that the network is shown
        as a square; more than the picture where the system pads."""

    def scorer(self, labels: Labels) -> Score:
        """What `matched` calls similarity, with a gradient where what was seen has one. Texts are read once."""


@runtime_checkable
class Worded(Protocol):
    """A system whose texts have vectors in the space of its pictures' vectors (`Embedder.vector`)."""

    def worded(self, texts: Sequence[str]) -> Float[np.ndarray, "n dim"]:
        """One vector for each text, as the paper pools it."""


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
    """Labels by the system's own texts and score; without labels the classes of its probe."""
    if not prompts:
        return _probed(look)
    labels = prompts[-1]
    if len(prompts) > 1 or not isinstance(labels, Labels):
        raise BadInput(f"{look.system.card.name} takes all its labels at once, and no other prompt beside them")
    system = cast(Matcher, look.system)
    _checked(look, system.together)
    prepared = [look.prepared(number) for number in range(len(look.images))]
    found = system.matched([look.seen(each.section(), 0, number) for number, each in enumerate(prepared)], labels)
    notes = (note for each in prepared for note in each.source.notes)
    provenance = look.provenance(prompts, *notes, *_compared(labels.names, found.texts))
    texts = tuple(map(tuple, found.texts))
    return Scores(labels.names, found.similarity, found.softmax, provenance, texts=texts)


def _checked(look: Look, together: int) -> None:
    name, count = look.system.card.name, len(look.images)
    if any(image.volume().shape[1] != 1 for image in look.images):
        raise BadInput(f"{name} compares pictures with labels; of a volume give one plane (--frame)")
    if together and count > together:
        raise BadInput(f"{name} compares {together} {'pictures' if together > 1 else 'picture'} at a time, got {count}")


def _compared(names: Sequence[str], texts: Sequence[Sequence[str]]) -> list[str]:
    """What was compared for each label, as notes."""
    told = []
    for name, said in zip(names, texts, strict=True):
        more = f" and {len(said) - TOLD} more" if len(said) > TOLD else ""
        told.append(f"{name}: " + " | ".join(map(repr, said[:TOLD])) + more)
    return told


def _probed(look: Look) -> Scores:
    """The classes of the system's probe: logits as similarity, and their softmax, which nobody has calibrated."""
    probe = cast(Probed, look.system).probe
    if probe is None:
        raise BadInput(f"{look.system.card.name} has no classes of its own here: give it labels, or a probe's folder")
    if len(look.images) != 1 or look.images[0].dimensions != 2:
        raise BadInput("a probe classifies one picture at a time; of a volume give one plane (--frame)")
    vectors = embed(look, ())
    logits = probe.logits(vectors.vectors.astype(np.float64))[0]
    softmax = np.exp(logits - logits.max())
    return Scores(probe.names, logits, softmax / softmax.sum(), vectors.provenance)
