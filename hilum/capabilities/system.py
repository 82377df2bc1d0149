"""System: what all of them are. Abstract or final; a system fills in the abstract, overrides nothing."""

from __future__ import annotations

import copy
import sys
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, cast, final, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..values import contract
from ..values.card import Card, card_from
from ..values.errors import WeightsUnavailable
from ..values.image import Image
from ..values.prompts import Prompt
from ..weights import companions
from ..weights.hollow import Hollow
from ..weights.rename import Table, fill
from ..weights.store import RULE
from .adapted import Overlay
from .ask import ahead, answer
from .look import Executed, Look
from .match import Probe

if TYPE_CHECKING:
    from ..backends.choose import Backend
    from ..values.answers import Answer
    from ..weights.store import Weights


@cache
def _card_beside(module: str) -> Card:
    file = sys.modules[module].__file__
    if file is None:
        raise ValueError(f"the module {module} has no file, so no card beside it")
    return card_from(tomllib.loads(Path(file).with_suffix(".toml").read_text(encoding="utf-8")))


@runtime_checkable
class Completed(Protocol):
    """A system whose file may hold a part of the network (its card's entry says `base`); names are the upstream's."""

    @classmethod
    def carries(cls, name: str) -> bool:
        """Whether a file of this system's own holds the tensor of this name."""

    @classmethod
    def completed(cls, config: Any, own: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The tensors of the whole network, from the file's own and the base's."""


class CardBeside:
    """The card that lies beside a system's own file, read when it is first asked for."""

    def __get__(self, instance: object | None, owner: type) -> Card:
        return _card_beside(owner.__module__)


class System(ABC):
    """One of the survey's systems, the house's own, or a plug-in: parts under `network`, a card, and weights by tag.

    A subclass gives `configs` (weights tag -> sizes), `table` (upstream names -> ours), `build`, `tiny`, and the
    methods of the protocols of its capabilities (segment: `prepare`, `see`, `draw`).
    """

    card: ClassVar[Card] = CardBeside()  # type: ignore[assignment]
    configs: ClassVar[Mapping[str, Any]] = {}
    table: ClassVar[Table] = Table()

    def __init__(self, network: nn.Module | None, config: Any, *, tag: str = "tiny"):
        self.network = network
        self.config = config
        self.tag = f"{self.card.name}.{tag}"
        self.weights_sha256: str | None = None
        self.files: Mapping[str, Path] = {}  # what lies beside the weights, such as the words of a tokenizer
        self.probe: Probe | None = None
        self.backend: Backend | None = None
        self.device = torch.device("cpu")
        self._runs: dict[tuple[int, ...], Callable[[Tensor], Tensor]] = {}  # compiled passes, by shape of the batch

    @classmethod
    @abstractmethod
    def build(cls, config: Any) -> nn.Module:
        """The network at these sizes, on the current device context, with fresh weights."""

    @classmethod
    @abstractmethod
    def tiny(cls, seed: int = 0) -> Self:
        """The smallest honest instance: random weights from `seed`, made in under a second on a CPU."""

    @abstractmethod
    def costly(self) -> tuple[nn.Module, tuple[int, ...]] | None:
        """The module and input shape of what a look pays for, for a backend to compile; None: nothing to gain."""

    def priced(self) -> tuple[nn.Module, tuple[int, ...]] | None:
        """What the cost is told of beforehand: the costly pass; where there is none, a system may name a prompt's."""
        return self.costly()

    @final
    @classmethod
    def seeded(cls, config: Any, seed: int) -> Self:
        """An instance of this size with random weights that depend on `seed` alone; the caller's RNG is untouched."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = cls.build(config)
        return cls(network.eval(), config)

    @final
    @classmethod
    def layout(cls, tag: str) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the public file of this tag, computed on the meta device."""
        with torch.device("meta"):
            network = cls.build(cls.configs[tag])
        whole = {name: tuple(tensor.shape) for name, tensor in cls.table.inverse(network.state_dict()).items()}
        entry = cls.card.entry(tag)
        if entry is None or not entry.base:
            return whole
        return {name: shape for name, shape in whole.items() if cast(type[Completed], cls).carries(name)}

    @final
    @classmethod
    def open(cls, weights: Weights, *, device: str = "auto", backend: str = "auto") -> Self:
        """The system with these weights, strictly loaded, ready to look."""
        from safetensors.torch import load_file

        with Hollow():
            network = cls.build(cls.configs[weights.tag])
        upstream: Mapping[str, Tensor] = {} if weights.path.suffix == RULE else load_file(weights.path)
        if weights.base is not None:
            base = load_file(weights.base.path)
            upstream = cast(type[Completed], cls).completed(cls.configs[weights.tag], upstream, base)
        overlay = Overlay.of(weights.adapter)
        state = {name: each.float() for name, each in cls.table.apply(overlay.laid(upstream)).items()}
        fill(network, overlay.grown(network, state))
        system = cls(network.eval(), cls.configs[weights.tag], tag=weights.tag)
        overlay.on(system)
        system.weights_sha256 = weights.sha256
        system.files = companions.there(cls.card, weights)
        return system.placed(device, backend)

    @final
    def placed(self, device: str = "auto", backend: str = "auto") -> Self:
        """The same system on a device and backend; `auto` takes CUDA where it is, OpenVINO where it was proven."""
        from ..backends.choose import choose

        name = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        placed = copy.copy(self)
        placed.device = torch.device(name)
        placed.network = None if self.network is None else self.network.to(placed.device)
        placed.backend = choose(backend, placed.device)
        placed._runs = {}
        return placed

    @final
    def through(self, backend: Backend) -> Self:
        """The same system, whose costly pass another backend runs."""
        other = copy.copy(self)
        other.backend, other._runs = backend, {}
        return other

    @final
    def file(self, name: str) -> Path:
        """A small file that the system reads beside its weights; where it is not here, how it comes here."""
        if name not in self.files:
            raise WeightsUnavailable(companions.absent(self.card, self.tag.partition(".")[2], name))
        return self.files[name]

    @property
    def executed(self) -> Executed:
        """What ran the costly pass, so far; plain torch where there is none."""
        if self.backend is None or self.costly() is None:
            return Executed()
        return Executed(self.backend.name, self.backend.precision, self.backend.notes)

    @final
    def run(self, batch: Float[Tensor, "b ..."]) -> Tensor:
        """The costly pass over one batch, by the chosen backend; plain torch where none was chosen."""
        costly = self.costly()
        if costly is None:
            raise TypeError(f"{self.tag} has no costly pass")
        module, batch = costly[0], batch.to(self.device)
        if self.backend is None:
            with torch.inference_mode():
                return module(batch)
        shape = tuple(batch.shape)
        if shape not in self._runs:
            self._runs[shape] = self.backend.compile(module, shape, key=self.weights_sha256 or "")
        return self._runs[shape](batch).to(self.device)

    @final
    def look(self, *images: Image, keep: Path | None = None) -> Look:
        """The costly pass over the images, kept to be asked often; `keep` names a folder that outlives the process."""
        checked = tuple(contract.checked(self.card, image) for image in images)
        look = Look(self, checked, answer, keep=keep)
        ahead(look)
        return look

    @final
    def ask(self, *given: Image | Prompt) -> Answer:
        """Images and prompts in the order one would say them; the answer lies on the (first) image's own grid."""
        images = tuple(each for each in given if isinstance(each, Image))
        prompts = tuple(each for each in given if not isinstance(each, Image))
        return self.look(*images).ask(*prompts)
