"""Pictures in folders that are named after their classes, as a table of labelled images would have them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..io.folder import images_under
from ..train.labelled import Labelled, LabelledImage
from ..values.errors import BadInput
from ..weights.tensor_file import sha256
from .probing import classes_under


def read(folder: Path) -> tuple[Labelled, dict[str, str]]:
    """Exactly one class is true of each picture, what stands before __ in its name is its patient (else it is its own);
    beside them what looks like a picture and is broken. The hash is of all names and files."""
    classes = classes_under(folder)
    images, broken, digest = list[LabelledImage](), dict[str, str](), hashlib.sha256()
    for place, (name, inside) in enumerate(classes.items()):
        listing = images_under(inside)
        broken |= listing.broken
        if not listing.items:
            raise BadInput(f"{inside} holds no picture that could be read, so there is nothing to tell {name} by.")
        for item in listing.items:
            file = item.files[0]
            stem, marked, _ = file.name.partition("__")
            called = str(file.relative_to(folder))
            truth = tuple(number == place for number in range(len(classes)))
            images.append(LabelledImage(called, file, len(images) + 1, truth, stem if marked else called, {}))
            digest.update(f"{called} {sha256(file)}\n".encode())
    return Labelled(folder, digest.hexdigest(), tuple(classes), tuple(images)), broken
