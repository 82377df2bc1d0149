"""Embed: images in, one vector for each picture (or each plane of a volume) out, with named axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
from jaxtyping import Float

from ..backends.gathered import Gathered
from ..values import progress
from ..values.answers import Embedding
from ..values.errors import BadInput
from ..values.image import Image
from ..values.prompts import Prompt

if TYPE_CHECKING:
    from .look import Look, Seen


class Embedder(Protocol):
    """An encoder that works on one plane at a time, shown in radiological orientation (`Section`)."""

    def prepare(self, image: Image) -> Image:
        """The whole image brought to the system's input contract on the same grid; conversions are noted."""

    def see(self, plane: Image) -> Seen:
        """The costly pass over one plane (c, h, w)."""

    def vector(self, seen: Seen) -> Float[np.ndarray, " dim"]:
        """The plane's vector, as the paper pools it."""


def embed(look: Look, prompts: tuple[Prompt, ...]) -> Embedding:
    """Vectors of pictures, ("image", "dim"), or of the planes of one volume as they are shown, ("plane", "dim")."""
    if prompts:
        raise BadInput(f"{look.system.card.name} embeds images; it takes no prompt for that")
    volumes = sum(image.dimensions == 3 for image in look.images)
    if volumes and len(look.images) > 1:
        raise BadInput(
            f"{look.system.card.name} embeds several pictures or one volume at a time, "
            f"got {volumes} volumes among {len(look.images)} images"
        )
    system = cast(Embedder, look.system)
    places = [(number, plane) for number in range(len(look.images)) for plane in range(_planes(look.prepared(number)))]

    def vector(place: tuple[int, int]) -> Float[np.ndarray, " dim"]:
        number, plane = place
        return system.vector(look.seen(look.prepared(number).section(), plane, number))

    def passing(place: tuple[int, int]) -> Float[np.ndarray, " dim"]:  # in threads, and nothing is kept
        prepared = look.prepared(place[0])
        return system.vector(system.see(prepared.plane(prepared.section(), place[1])))

    backend = look.system.backend
    if isinstance(backend, Gathered):
        vectors = backend.alone(passing, places) if len(places) > 1 else [passing(place) for place in places]
    else:
        vectors = [vector(place) for place in (progress.track(places, "planes") if len(places) > 1 else places)]
    return Embedding(
        vectors=np.stack(vectors),
        axes=("plane" if volumes else "image", "dim"),
        provenance=look.provenance(prompts, *look.prepared().source.notes),
    )


def _planes(image: Image) -> int:
    """How many planes the image has across the direction in which it is looked at."""
    return int(image.section().planes(image.volume()).shape[1])
