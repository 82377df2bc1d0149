"""A look: what a system saw in its images. The costly part is done once and kept; prompts are cheap."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

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

if TYPE_CHECKING:
    from ..backends.choose import Backend

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
    backend: Backend | None

    @property
    def executed(self) -> Executed:
        """What ran the costly pass."""


@runtime_checkable
class Stacked(Protocol):
    """A segmenter that works on planes, but sees adjacent planes of a volume together."""

    def together(self) -> int:
        """How many adjacent planes it sees at once; 1: each alone."""

    def see_stack(self, planes: Sequence[Image]) -> list[Seen]:
        """The costly pass over adjacent planes, in order; fewer than `together` where the volume has fewer."""


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
        self._whole: dict[int, Seen] = {}

    def ask(self, *prompts: Prompt) -> Answer:
        """The answer to the prompts; which capability answers is decided by the last one."""
        return self._ask(self, prompts)

    @property
    def bytes(self) -> int:
        """What is kept in memory of what was seen and prepared."""
        features = [*self._seen.values(), *self._whole.values()]
        return sum(map(_bytes, features)) + sum(image.array.nbytes for image in self._prepared.values())

    def prepared(self, number: int = 0) -> Image:
        """Image `number` brought to the system's input contract, once."""
        if number not in self._prepared:
            self._prepared[number] = self.system.prepare(self.images[number])  # type: ignore[attr-defined]
        return self._prepared[number]

    def seen(self, section: Section, plane: int, number: int = 0) -> Seen:
        """What the system sees in a plane of image `number`: from memory, from the kept folder, or by looking now."""
        place = (number, section, plane)
        if place not in self._seen:
            prepared = self.prepared(number)
            stack = _stack(self.system, section, prepared, plane)
            seen = self._looked([prepared.plane(section, each) for each in stack], stack.index(plane))
            self._seen.update({(number, section, stack[at]): one for at, one in seen.items()})
        self._seen.move_to_end(place)
        while len(self._seen) > 1 and sum(map(_bytes, self._seen.values())) > MEMORY:
            self._seen.popitem(last=False)
        return self._seen[place]

    def whole(self, number: int = 0) -> Seen:
        """What the system sees in image `number` as one volume: from memory, the kept folder, or by looking now."""
        if number not in self._whole:
            volume = self.prepared(number)
            key = f"{self._key([volume], 0)}-{hashlib.sha256(volume.affine.tobytes()).hexdigest()[:16]}"
            see: Callable[[Image], Seen] = self.system.see_volume  # type: ignore[attr-defined]
            self._whole[number] = self._stored([key], 0, lambda: [see(volume)])[0]
        return self._whole[number]

    def _looked(self, planes: list[Image], wanted: int) -> dict[int, Seen]:
        """What is seen in planes that are looked at together: in all of them now, or in the wanted one from before."""
        keys = [self._key(planes, at) for at in range(len(planes))] if self._keep else []
        return self._stored(keys, wanted, lambda: self._see(planes))

    def _stored(self, keys: list[str], wanted: int, see: Callable[[], list[Seen]]) -> dict[int, Seen]:
        """All that `see` sees now, which is kept under the keys; or the wanted one from before."""
        from safetensors.torch import load_file, save

        from ..io.atomic import replacing

        if self._keep is None:
            return dict(enumerate(see()))
        path = self._keep / f"{keys[wanted]}.safetensors"
        if path.is_file():
            return {wanted: {name: tensor.to(self.system.device) for name, tensor in load_file(path).items()}}
        seen = see()
        self._keep.mkdir(parents=True, exist_ok=True)
        for key, one in zip(keys, seen, strict=True):
            with replacing(self._keep / f"{key}.safetensors", force=True) as temporary:
                temporary.write_bytes(save({name: tensor.cpu().contiguous() for name, tensor in one.items()}))
        return dict(enumerate(seen))

    def _see(self, planes: list[Image]) -> list[Seen]:
        if isinstance(self.system, Stacked):
            return self.system.see_stack(planes)
        return [self.system.see(plane) for plane in planes]  # type: ignore[attr-defined]

    def _key(self, planes: list[Image], at: int) -> str:
        digest = hashlib.sha256(f"{self.system.tag} {self.system.weights_sha256}".encode())
        for plane in planes:
            digest.update(f"{plane.array.shape} {plane.array.dtype} {plane.display}".encode())
            digest.update(np.ascontiguousarray(plane.array).tobytes())
        return f"{digest.hexdigest()}-{at}" if len(planes) > 1 else digest.hexdigest()

    def provenance(self, prompts: tuple[Prompt, ...], *notes: str) -> Provenance:
        """Where an answer of this look comes from."""
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
            version=_version(),
        ).noted(*source.notes, *notes, *executed.notes)


def _stack(system: Looker, section: Section, image: Image, plane: int) -> range:
    """The planes that are looked at together with this one: counted from the first, the last ones backwards."""
    together = system.together() if isinstance(system, Stacked) else 1
    count = section.planes(image.volume()).shape[1]
    size = min(together, count)
    start = min(plane // size * size, count - size)
    return range(start, start + size)


@cache
def _version() -> str:
    """Ours; reading it takes longer than to write the rest of a provenance."""
    from importlib.metadata import version

    return version("hilum")


def _bytes(seen: Seen) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in seen.values())


def tensors(**values: float | int | Tensor) -> Seen:
    """Named numbers and tensors as something that can be remembered."""
    return {name: value if isinstance(value, Tensor) else torch.tensor(value) for name, value in values.items()}
