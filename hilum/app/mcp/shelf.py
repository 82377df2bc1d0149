"""The images that a user registered: an agent names them by id, and no text that leaves has a path or a file's name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...values.errors import BadInput
from ..words import Place
from .kept import Kept

if TYPE_CHECKING:
    from ...values.image import Image

ROOM = 2 << 30  # bytes of images in memory; those that were not used for longest are read again when they are wanted


class Shelf:
    """Images by id: image-1, image-2, ... in the order in which the user named them. All are read once at the start."""

    def __init__(self, places: Sequence[Place], reading: Mapping[str, Any]):
        self.places: dict[str, Place] = {f"image-{number}": where for number, where in enumerate(places, start=1)}
        self.reading = reading
        self._names: dict[str, str] = {}
        self._images: Kept[Image] = Kept(ROOM, lambda image: image.array.nbytes)
        for id in self.places:
            self._read(id)

    def image(self, id: str) -> Image:
        """The image of an id."""
        if id not in self.places:
            raise BadInput(f"there is no image {id[:40]!r}; there are: {', '.join(self.places)}.")
        return self._images.get(id) or self._read(id)

    def _read(self, id: str) -> Image:
        from ...io.read import read

        where = self.places[id]
        image = read(where, **self.reading)
        self._names |= dict.fromkeys(_names(where, image.source.files), id)
        self._images.put(id, image)
        return image

    def hide(self, folder: Path, name: str) -> None:
        """From now on sentences call this folder so."""
        self._names |= {str(each): name for each in (folder, folder.resolve())}

    def veiled(self, text: str) -> str:
        """A sentence of ours, in which the id of its image stands for a file's name."""
        there = sorted((name for name in self._names if name in text), key=len, reverse=True)
        for name in there:
            text = re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", self._names[name], text)
        return text


def _names(where: Place, files: Sequence[Path]) -> set[str]:
    """All that a sentence could call an image by: its files, the folders they lie in, what the user typed."""
    names = {str(where)}
    for path in [*([where] if isinstance(where, Path) else []), *files]:
        for each in (path, path.resolve()):
            names |= {str(each), each.name, str(each.parent)}
    return {name for name in names if name.strip("./\\") and not name.isdigit()}
