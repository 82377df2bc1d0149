"""A look: what a system saw in its images. The costly part is done once and kept; prompts are cheap."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..values.answers import Answer
from ..values.errors import BadInput, UnsupportedPrompt
from ..values.geometry import Section
from ..values.image import Image
from ..values.prompts import Prompt, kind
from ..values.provenance import Provenance

if TYPE_CHECKING:
    from .system import System

Seen = dict[str, Tensor]  # what a system remembers of one plane or image: named tensors, so that it can be stored

MEMORY = 2 << 30  # bytes of features that one look keeps in memory; the least recently used go first

VERBS = {
    "points": "segment",
    "box": "segment",
    "mask": "segment",
    "scribble": "segment",
    "labels": "match",
    "question": "tell",
    "turns": "talk",
}


class Look:
    """Immutable to its user: the same question gets the same answer. Features are made when first needed, then kept."""

    def __init__(self, system: System, images: tuple[Image, ...], *, keep: Path | None = None):
        if not images:
            raise BadInput(f"{system.card.name} wants an image")
        self.system = system
        self.images = images
        self._keep = keep
        self._prepared: dict[int, Image] = {}
        self._seen: OrderedDict[tuple[int, Section, int], Seen] = OrderedDict()
        if all(image.dimensions == 2 for image in images) and "segment" in system.card.capabilities:
            from . import segment

            segment.look_ahead(self)

    def ask(self, *prompts: Prompt) -> Answer:
        """The answer to the prompts; which capability answers is decided by the last one."""
        card = self.system.card
        for prompt in prompts:
            if kind(prompt) not in card.accepts:
                raise UnsupportedPrompt(card.name, type(prompt).__name__, card.accepts)
        verb = self._verb(prompts)
        if verb == "segment":
            from . import segment

            return segment.segment(self, prompts)
        raise BadInput(f"{card.name} cannot {verb} yet")

    def _verb(self, prompts: tuple[Prompt, ...]) -> str:
        card = self.system.card
        if not prompts:
            if card.default is None:
                raise BadInput(f"{card.name} wants a prompt: {', '.join(card.accepts)}")
            return card.default
        verb = VERBS[kind(prompts[-1])]
        return verb if verb in card.capabilities else "segment"

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

        from .said import described

        system, source = self.system, self.images[0].source
        backend = system.backend
        return Provenance(
            system=system.card.name,
            weights=system.tag,
            weights_sha256=system.weights_sha256,
            backend="torch" if backend is None else backend.name,
            precision="f32" if backend is None else backend.precision,
            device=str(system.device),
            prompts=tuple(described(prompt) for prompt in prompts),
            source_format=source.format,
            source_sha256=source.sha256,
            version=version("hilum"),
        ).noted(*source.notes, *notes)


def _bytes(seen: Seen) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in seen.values())


def tensors(**values: float | int | Tensor) -> Seen:
    """Named numbers and tensors as something that can be remembered."""
    return {name: value if isinstance(value, Tensor) else torch.tensor(value) for name, value in values.items()}
