"""NIfTI out: a label map on the image's own header geometry."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from nibabel.nifti1 import Nifti1Extension, Nifti1Header
from nibabel.nifti2 import Nifti2Header

from hilum.values import geometry
from hilum.values.answers import Segmentation
from hilum.values.errors import BadInput
from hilum.values.image import Image
from hilum.values.notice import NOTICE

from . import nifti
from .label_map import label_map
from .nifti import Header
from .stored import with_normal

COPIED = (
    *("srow_x", "srow_y", "srow_z", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("sform_code", "qform_code", "xyzt_units"),
)


Size = tuple[int, int, int]  # x, y, z


def write_nifti(answer: Segmentation, path: Path) -> None:
    """A label map as plain NIfTI; the names lie in a comment extension, as JSON."""
    with path.open("wb") as stream:
        _write(answer, stream)


def write_nifti_gz(answer: Segmentation, path: Path) -> None:
    """The same, packed; the same answer gives the same bytes, since no time is written."""
    with path.open("wb") as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as stream:
        _write(answer, cast(BinaryIO, stream))


def _write(answer: Segmentation, stream: BinaryIO) -> None:
    image = answer.image
    if image.space != "patient":
        raise BadInput(
            "NIfTI places voxels in a patient, and this picture has no such place: write .png, .nrrd or .json."
        )
    labels = label_map(answer, ".nii").reshape((-1, *image.grid[-2:]))  # (z, y, x), also for one plane
    depth, height, width = labels.shape
    header = header_for(image, (width, height, depth))
    header.set_data_dtype(labels.dtype)
    header.set_intent("label")
    header["descrip"] = f"hilum {answer.provenance.version} {answer.provenance.system}".encode("ascii", "ignore")[:79]
    names = {str(number): name for number, name in enumerate(answer.names, start=1)}
    comment = json.dumps({"labels": names, "system": answer.provenance.system, "notice": NOTICE})
    header.extensions.append(Nifti1Extension("comment", comment.encode()))
    header.write_to(stream)
    for plane in labels.astype(labels.dtype.newbyteorder("<"), copy=False):
        stream.write(np.ascontiguousarray(plane).tobytes())


def header_for(image: Image, shape: Size) -> Header:
    """A header of this (x, y, z) size that places voxels as the image does: its own NIfTI header's numbers if it has
    one and was not moved since, otherwise sform = qform; with shear the sform alone, which a quaternion cannot hold."""
    if image.source.format == "nifti":
        old = nifti.header_of(image.source.detail["header"])
        if _places(old, image, shape):
            return _copied(old, shape)
    ras = nifti.RAS_LPS @ image.affine
    header = (Nifti1Header if max(shape) <= np.iinfo(np.int16).max else Nifti2Header)()
    header.set_data_shape(shape)
    header.set_xyzt_units("mm")
    header.set_qform(ras, code=1)
    header.set_sform(ras, code=1)
    if nifti.farthest(header.get_qform(), ras, shape) > nifti.AGREE:
        header.set_qform(None, code=0)
        header.set_zooms(geometry.spacing(image.affine))
    return header


def _places(old: Header, image: Image, shape: Size) -> bool:
    placed, _ = nifti.placement(old, shape, "")
    if placed is None:  # the user stated the spacing: the header's own pixdim, or another
        columns, origin = np.diag(old["pixdim"][1:4].astype(np.float64)), np.zeros(3)
        return np.allclose(columns, image.affine[:3, :3]) and np.array_equal(origin, image.affine[:3, 3])
    columns = with_normal(placed[:3, :3], shape[2])
    return np.array_equal(columns, image.affine[:3, :3]) and np.array_equal(placed[:3, 3], image.affine[:3, 3])


def _copied(old: Header, shape: Size) -> Header:
    header = type(old)()
    header.set_data_shape(shape)
    for field in COPIED:
        header[field] = old[field]
    header["pixdim"][:4] = old["pixdim"][:4]
    return header
