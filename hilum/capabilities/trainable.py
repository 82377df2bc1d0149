"""Trainable: what train and adapt ask for. A system without it is simply not selected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
from jaxtyping import Bool
from torch import Tensor, nn

from ..objectives.terms import Terms
from ..parts.sam import SamConfig
from ..values.image import Image


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One labelled plane: a picture (c, h, w) and the masks of its objects (objects, h, w)."""

    image: Image
    masks: Bool[np.ndarray, "objects h w"]


@runtime_checkable
class Trainable(Protocol):
    """A system with an objective. Parameters that the paper freezes have `requires_grad` False after `build`."""

    network: nn.Module

    def batch(self, samples: Sequence[Sample], rng: np.random.Generator) -> Any:
        """Samples brought to what `loss` takes, prompts simulated as the paper does it."""

    def loss(self, batch: Any) -> Terms:
        """The paper's objective on a batch."""


@dataclass(frozen=True, slots=True, eq=False)
class Captioned:
    """A picture with the text that belongs to it, what is known of it (finding -> 1 there, 0 not, -1 unsure), and an
    earlier picture of the same patient where there is one."""

    image: Image
    text: str
    findings: Mapping[str, int] = field(default_factory=dict)
    earlier: Image | None = None


@runtime_checkable
class Paired(Protocol):
    """A system that learns from pictures with texts. Parameters that the paper freezes have `requires_grad` False."""

    network: nn.Module

    def pairs(self, samples: Sequence[Captioned], rng: np.random.Generator) -> Any:
        """Pictures and texts brought to what `loss` takes, augmented as the paper does it."""

    def loss(self, batch: Any) -> Terms:
        """The paper's objective on a batch."""


@runtime_checkable
class Headed(Protocol):
    """A trainable system that says which layers of its network are its head: what a few cases can retrain safely."""

    head: ClassVar[tuple[str, ...]]


@runtime_checkable
class Patched(Protocol):
    """A trainable system that says where pixels become patches: the convolution that a side branch may stand beside."""

    patches: ClassVar[str]


@runtime_checkable
class Starting(Protocol):
    """A trainable system that begins from a SAM: SAM's tensors, and beside them what SAM does not have, fresh."""

    @classmethod
    def beside(cls, sizes: SamConfig, targets: tuple[str, ...]) -> Mapping[str, Any]:
        """Its config around a SAM of these sizes, or several, by the name of the variant ("" for the only one).

        `targets` are the classes of a system that names what it finds; others leave them aside.
        """

    @classmethod
    def begun(cls, config: Any, sam: Mapping[str, Tensor], *, seed: int = 0) -> Self:
        """The system with the tensors of a SAM, under their published names; what is fresh depends on the seed."""
