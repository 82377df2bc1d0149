"""Answers as files to download: written by the same writers as the command line's, then sent and taken away."""

from __future__ import annotations

import gzip
import io
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...values.errors import BadInput
from .answers import segmentation
from .spoken import ANY
from .spoken import prompts as spoken

if TYPE_CHECKING:
    from ...values.answers import Segmentation
    from ...values.image import Image
    from ...values.prompts import Prompt
    from .house import House
    from .sessions import Session

PREVIEW = ".preview.png"  # the planes with the masks drawn in, for a person
MEDIA = {
    ".nii.gz": "application/gzip",
    ".nii": "application/octet-stream",
    ".nrrd": "application/octet-stream",
    ".seg.nrrd": "application/octet-stream",
    ".dcm": "application/dicom",
    ".png": "image/png",
    PREVIEW: "image/png",
    ".json": "application/json",
    ".npz": "application/octet-stream",
}


def written(house: House, session: Session, suffix: str) -> bytes:
    """The session's answer as a file of this suffix."""
    from ...io.overlay import preview
    from ...io.write import write

    if suffix == ".json" and session.step.scores is not None and not session.step.objects:
        return json.dumps(session.step.scores, indent=2, ensure_ascii=False).encode()
    answer = segmentation(house, session)
    with tempfile.TemporaryDirectory(dir=house.settings.state) as folder:
        path = Path(folder) / f"mask{suffix}"
        if suffix == PREVIEW:
            return preview(answer, path, prompts=_said(session, answer.image)).read_bytes()
        return write(answer, path).read_bytes()


def _said(session: Session, image: Image) -> list[Prompt]:
    """The prompts of all objects, to be drawn beside their masks."""
    said = [(each, [ANY.validate_python(one) for one in each.said]) for each in session.step.objects]
    return [one for each, prompts in said for one in spoken(prompts, image, each.name)]


def raw(answer: Segmentation) -> tuple[bytes, tuple[int, ...]]:
    """All objects as uint8 over the grid (x fastest), numbered from 1 in their order, later ones over earlier ones."""
    labels = np.zeros(answer.image.grid, dtype=np.uint8)
    for number, mask in enumerate(answer.masks, 1):
        labels[mask] = number
    return gzip.compress(labels.tobytes(), 1, mtime=0), answer.image.grid[::-1]


def runs(mask: np.ndarray) -> list[int]:
    """Lengths of runs over the grid with x fastest, alternately left out and drawn; the first may be 0."""
    flat = mask.reshape(-1)
    turns = np.flatnonzero(np.diff(flat)) + 1
    bounds = np.concatenate([[0], turns, [flat.size]])
    lengths = [int(each) for each in np.diff(bounds)]
    return [0, *lengths] if flat[0] else lengths


def volume(image: Image) -> bytes:
    """The image as NIfTI for a viewer: its values (8-bit by the window where it is in colour) on its own grid."""
    from ...io.nifti_mask import header_for

    if image.space != "patient":
        raise BadInput("this picture has no place in a patient: ask for its planes instead.")
    array = image.volume()
    values = array[0] if len(array) == 1 else np.rint(image.display(array).mean(axis=0) * 255).astype(np.uint8)
    values = _storable(values)
    header = header_for(image, values.shape[::-1])  # type: ignore[arg-type]
    header.set_data_dtype(values.dtype)
    header["cal_min"], header["cal_max"] = image.display.low, image.display.high
    stream = io.BytesIO()
    header.write_to(stream)
    stream.write(values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes())
    return gzip.compress(stream.getvalue(), 1, mtime=0)


def _storable(values: np.ndarray) -> np.ndarray:
    """Types that every viewer reads."""
    kinds = {"bool": np.uint8, "int8": np.int16, "int64": np.float32, "uint64": np.float32, "uint32": np.float32}
    kinds |= {"float64": np.float32, "float16": np.float32}
    wanted = kinds.get(str(values.dtype))
    return values if wanted is None else values.astype(wanted)
