"""NIfTI out: the maps of an explanation on the image's own header geometry, one after the other on the fourth axis."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from nibabel.nifti1 import Nifti1Extension

from hilum.values.errors import BadInput
from hilum.values.explanation import Explanation
from hilum.values.image import Image
from hilum.values.notice import NOTICE

from .nifti_mask import header_for


def check_place(image: Image) -> None:
    """Refuses an image without a place in a patient, which is what NIfTI wants."""
    if image.space != "patient":
        raise BadInput(
            "NIfTI places voxels in a patient, and this picture has no such place: write the maps as .png, .npz or "
            ".nrrd."
        )


def write_nifti(explanation: Explanation, path: Path) -> None:
    """Numbers as float32; the names, what is measured and how lie in a comment extension, as JSON."""
    with path.open("wb") as stream:
        _write(explanation, stream)


def write_nifti_gz(explanation: Explanation, path: Path) -> None:
    """The same, packed; the same maps give the same bytes, since no time is written."""
    with path.open("wb") as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as stream:
        _write(explanation, cast(BinaryIO, stream))


def _write(explanation: Explanation, stream: BinaryIO) -> None:
    image, told = explanation.image, explanation.provenance
    check_place(image)
    maps = explanation.maps.reshape((len(explanation.names), -1, *image.grid[-2:]))  # (names, z, y, x)
    count, depth, height, width = maps.shape
    header = header_for(image, (width, height, depth))
    if count > 1:
        header.set_data_shape((width, height, depth, count))
    header.set_data_dtype(np.float32)
    header["descrip"] = f"hilum {told.version} {told.system}".encode("ascii", "ignore")[:79]
    said = {"maps": explanation.names, "unit": explanation.unit, "method": explanation.method}
    comment = json.dumps({**said, "system": told.system, "notice": NOTICE})
    header.extensions.append(Nifti1Extension("comment", comment.encode()))
    header.write_to(stream)
    for one in maps:
        stream.write(np.ascontiguousarray(one, dtype="<f4").tobytes())
