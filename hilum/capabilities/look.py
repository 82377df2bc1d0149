"""A look: what a system saw in its images. The costly part is done once and kept; prompts are cheap."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from ..values.answers import Answer
from ..values.card import Card
from ..values.errors import BadInput
from ..values.geometry import Section
from ..values.image import Image
from ..values.prompts import Prompt
from ..values.provenance import Provenance
from .said import described

Seen = dict[str, Tensor]  # what a system remembers of one plane or image: named tensors, so that it can be stored

MEMORY = 2 << 30  # bytes of features that one look keeps in memory; the least recently used go first


@dataclass(frozen=True, slots=True)
class Executed:
    """Backend and precision of the costly pass, with what is worth knowing about them."""

    backend: str = "torch"
    precision: str = "f32"
    notes: tuple[str, ...] = ()


Ask = Callable[["Look", tuple[Prompt, ...]], Answer]


class Looker(Protocol):
    """What a look needs to know of its system."""

    card: ClassVar[Card]
    tag: str
    weights_sha256: str | None
    device: torch.device

    @property
    def executed(self) -> Executed:
        """What ran the costly pass."""


class Look:
    """Immutable to its user: the same question gets the same answer. Features are made when first needed, then kept."""

    def __init__(self, system: Looker, images: tuple[Image, ...], ask: Ask, *, keep: Path | None = None):
        if not images:
            raise BadInput(f"{system.card.name} wants an image")
        self.system = system
        self.images = images
        self._ask = ask
        self._keep = keep
        self._prepared: dict[int, Image] = {}
        self._seen: OrderedDict[tuple[int, Section, int], Seen] = OrderedDict()

    def ask(self, *prompts: Prompt) -> Answer:
        """The answer to the prompts; which capability answers is decided by the last one."""
        return self._ask(self, prompts)

    def prepared(self, number: int = 0) -> Image:
        """Image `number` brought to the system's input contract, once."""
        if number not in self._prepared:
            self._prepared[number] = self.system.prepare(self.images[number])  # type: ignore[attr-defined]
        return self._prepared[number]

    def seen(self, section: Section, plane: int, number: int = 0) -> Seen:
        """What the system sees in a plane of image `number`: from memory, from the kept folder, or by looking now."""
        place = (number, section, plane)
        if place not in self._seen:
            self._seen[place] = self._looked(self.prepared(number).plane(section, plane))
            while len(self._seen) > 1 and sum(map(_bytes, self._seen.values())) > MEMORY:
                self._seen.popitem(last=False)
        self._seen.move_to_end(place)
        return self._seen[place]

    def _looked(self, plane: Image) -> Seen:
        from safetensors.torch import load_file, save

        from ..io.atomic import replacing

        if self._keep is None:
            return self.system.see(plane)  # type: ignore[attr-defined]
        path = self._keep / f"{self._key(plane)}.safetensors"
        if path.is_file():
            return {name: tensor.to(self.system.device) for name, tensor in load_file(path).items()}
        seen: Seen = self.system.see(plane)  # type: ignore[attr-defined]
        self._keep.mkdir(parents=True, exist_ok=True)
        with replacing(path, force=True) as temporary:
            temporary.write_bytes(save({name: tensor.cpu().contiguous() for name, tensor in seen.items()}))
        return seen

    def _key(self, plane: Image) -> str:
        digest = hashlib.sha256(f"{self.system.tag} {self.system.weights_sha256}".encode())
        digest.update(f"{plane.array.shape} {plane.array.dtype} {plane.display}".encode())
        digest.update(np.ascontiguousarray(plane.array).tobytes())
        return digest.hexdigest()

    def provenance(self, prompts: tuple[Prompt, ...], *notes: str) -> Provenance:
        """Where an answer of this look comes from."""
        from importlib.metadata import version

        system, source = self.system, self.images[0].source
        executed = system.executed
        return Provenance(
            system=system.card.name,
            weights=system.tag,
            weights_sha256=system.weights_sha256,
            backend=executed.backend,
            precision=executed.precision,
            device=str(system.device),
            prompts=tuple(described(prompt) for prompt in prompts),
            source_format=source.format,
            source_sha256=source.sha256,
            version=version("hilum"),
        ).noted(*source.notes, *notes, *executed.notes)


def _bytes(seen: Seen) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in seen.values())


def tensors(**values: float | int | Tensor) -> Seen:
    """Named numbers and tensors as something that can be remembered."""
    return {name: value if isinstance(value, Tensor) else torch.tensor(value) for name, value in values.items()}
