"""NIfTI in: the header's two affines, its units and scaling. The one place where RAS and LPS meet.

NIfTI stores (i, j, k) with i fastest and an affine to RAS. The bytes are taken as (z, y, x) = (k, j, i), never flipped;
the affine's first two rows change sign.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Num
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError

from hilum.values.errors import BadInput
from hilum.values.image import Image

from . import limits
from .payload import Payload, beside, opening
from .stored import FARTHEST, Stored, finite, native, numbers, picked, settled, with_normal

RAS_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
NUMBERS = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
COLOURS = {128: 3, 2304: 4}  # RGB24, RGBA32
KINDS = {b"n+1\0": "single", b"ni1\0": "pair", b"n+2\0": "single", b"ni2\0": "pair"}
MILLIMETRES = {1: 1000.0, 2: 1.0, 3: 0.001}  # per metre, millimetre, micron; 0 = not said, taken as mm
UNITS = {1: "metres", 3: "microns"}
AGREE = 1e-3  # mm
MOST_EXTENSIONS = 1 << 26  # bytes between header and values

Header = Nifti1Header | Nifti2Header


@dataclass(frozen=True, slots=True)
class _Found:
    """A header as it was found, and where its values begin."""

    path: Path
    header: Header
    block: bytes
    payload: Payload
    shape: tuple[int, int, int]
    frames: int


def read_nifti(path: Path, *, frame: int | None = None, spacing: tuple[float, ...] | None = None) -> Image:
    """A volume (c, z, y, x) of a .nii, .nii.gz or .hdr/.img; `frame` (from 0) picks one volume of several."""
    found = _found(path.with_suffix(".hdr") if path.suffix.lower() == ".img" else path)
    values, notes = _values(found, picked(found.frames, frame, path.name))
    header = found.header
    placed, said = placement(header, found.shape, found.path.name)
    limits_said = float(header["cal_min"]), float(header["cal_max"])
    colour = int(header["datatype"]) in COLOURS
    return settled(
        Stored(
            path=found.path,
            format="nifti",
            values=values,
            columns=None if placed is None else with_normal(placed[:3, :3], found.shape[2]),
            origin=np.zeros(3) if placed is None else placed[:3, 3],
            hint=f" (sform and qform codes are 0; its pixdim reads {numbers(header['pixdim'][1:4])})",
            window=(0.0, 255.0) if colour else limits_said if -1e37 < limits_said[0] < limits_said[1] < 1e37 else None,
            data_file=None if found.payload.path == found.path else found.payload.path,
            detail=_detail(found),
            notes=(*notes, *said),
        ),
        spacing,
    )


def _detail(found: _Found) -> Mapping[str, Any]:
    header = found.header
    return {
        "header": found.block,
        "sform": _rows(header),
        "qform": _quaternion(header),
        "sform_code": int(header["sform_code"]),
        "qform_code": int(header["qform_code"]),
        "xyzt_units": int(header["xyzt_units"]),
    }


def header_of(block: bytes) -> Header:
    """The header in these bytes, of either version and byte order, unchecked."""
    little = int.from_bytes(block[:4], "little") in (348, 540)
    version = Nifti1Header if len(block) == 348 else Nifti2Header
    return version(block, endianness="<" if little else ">", check=False)


def _found(path: Path) -> _Found:
    packing = "gzip" if opening(path, 2) == b"\x1f\x8b" else "raw"
    start = opening(path, 540, packing)
    size = next((size for order in ("little", "big") if (size := int.from_bytes(start[:4], order)) in (348, 540)), 0)
    if size == 0 or len(start) < size:
        raise BadInput(f"{path.name} is no NIfTI file, or is cut off within its header.")
    kind = KINDS.get(start[344:348] if size == 348 else start[4:8])
    if kind is None:
        raise BadInput(f"{path.name} is an Analyze file, which cannot tell left from right: convert it to NIfTI first.")
    header = header_of(start[:size])
    rank = int(header["dim"][0])
    if not 1 <= rank <= 7:
        raise BadInput(f"{path.name} claims {rank} dimensions; NIfTI has 1 to 7. The file is damaged.")
    sides = [int(side) for side in header["dim"][1 : rank + 1]]
    if min(sides) < 1:
        raise BadInput(f"{path.name} claims the size {' x '.join(map(str, sides))}: every side must be at least 1.")
    x, y, z, *rest = [*sides, 1, 1]
    frames = int(np.prod([float(side) for side in rest]))
    return _Found(path, header, start[:size], _payload(path, header, kind, packing), (x, y, z), frames)


def _payload(path: Path, header: Header, kind: str, packing: str) -> Payload:
    said = float(header["vox_offset"])
    least = 0.0 if kind == "pair" else float(header.single_vox_offset)
    offset = said if said else least
    if not least <= offset <= least + MOST_EXTENSIONS:
        raise BadInput(f"{path.name} claims that its values begin at byte {said:g}: the file is damaged.")
    if kind == "pair":
        path = beside(path, f"{path.stem}.img")
        packing = "gzip" if opening(path, 2) == b"\x1f\x8b" else "raw"
    return Payload(path, packing, offset=0, skip=int(offset))


def _values(found: _Found, frame: int) -> tuple[Num[np.ndarray, "c z y x"], tuple[str, ...]]:
    header, name, (x, y, z) = found.header, found.path.name, found.shape
    code = int(header["datatype"])
    channels = COLOURS.get(code, 1)
    if code not in NUMBERS and code not in COLOURS:
        raise BadInput(f"{name} holds values of NIfTI type {code}; hilum reads whole numbers, floats and RGB.")
    dtype = np.dtype(NUMBERS.get(code, "u1")).newbyteorder(header.endianness)
    limits.check_voxels((channels, z, y, x), dtype.itemsize, name)
    size = channels * z * y * x * dtype.itemsize
    place = Payload(found.payload.path, found.payload.packing, skip=found.payload.skip + frame * size)
    array = native(place.read(size), dtype, (z, y, x, channels))
    chosen = (f"frame {frame} of {found.frames}",) if found.frames > 1 else ()
    if channels > 1:
        dropped = ("the alpha channel was left out",) if channels == 4 else ()
        return np.ascontiguousarray(np.moveaxis(array[..., :3], -1, 0)), (*chosen, *dropped)
    values, notes = _scaled(array[None, ..., 0], float(header["scl_slope"]), float(header["scl_inter"]), name)
    return values, (*chosen, *notes)


def _scaled(
    values: Num[np.ndarray, "1 z y x"], slope: float, inter: float, name: str
) -> tuple[Num[np.ndarray, "1 z y x"], tuple[str, ...]]:
    if not np.isfinite(slope) or slope == 0.0 or (slope, inter) == (1.0, 0.0):
        return values, ()  # the standard: slope 0 means "not scaled"
    if not np.isfinite(inter):
        raise BadInput(f"{name} scales its values by {slope:g} and adds {inter:g}: its header is damaged.")
    repaired, notes = finite(values, name)
    with np.errstate(all="ignore"):
        return repaired.astype(np.float32) * np.float32(slope) + np.float32(inter), notes


def placement(
    header: Header, shape: tuple[int, int, int], name: str
) -> tuple[Float[np.ndarray, "4 4"] | None, tuple[str, ...]]:
    """Voxel -> LPS mm by the sform, else the qform, else None; and what is to be said: units, disagreement."""
    unit = int(header["xyzt_units"]) & 7
    notes = (f"{name} measures in {UNITS[unit]}; converted to mm",) if unit in UNITS else ()
    found: dict[str, Float[np.ndarray, "4 4"]] = {}
    for form, matrix in (("sform", _rows(header)), ("qform", _quaternion(header))):
        if header[f"{form}_code"] <= 0:
            continue
        if matrix is None or not _spans(matrix, shape):
            notes = (*notes, f"the {form} of {name} does not span space and was not used")
            continue
        found[form] = np.diag([MILLIMETRES.get(unit, 1.0)] * 3 + [1.0]) @ RAS_LPS @ matrix
    if not found and (header["sform_code"] > 0 or header["qform_code"] > 0):
        raise BadInput(f"{name} has a damaged geometry: neither its sform nor its qform spans space.")
    if len(found) == 2 and (apart := farthest(found["sform"], found["qform"], shape)) > AGREE:
        origins = " and ".join(numbers(affine[:3, 3]) for affine in found.values())
        codes = f"the sform (code {header['sform_code']}) and the qform (code {header['qform_code']}) of {name}"
        said = f"{codes} disagree by up to {apart:.4g} mm (origins {origins}, LPS mm); the sform is used"
        notes = (*notes, said)
    return next(iter(found.values()), None), notes


def farthest(one: Float[np.ndarray, "4 4"], other: Float[np.ndarray, "4 4"], shape: tuple[int, int, int]) -> float:
    """The largest distance in mm between where two affines put a corner of the volume (x, y, z voxels)."""
    corners = np.stack(np.meshgrid(*[(0.0, side - 1.0) for side in shape]), axis=-1).reshape(-1, 3)
    ends = [corners @ affine[:3, :3].T + affine[:3, 3] for affine in (one, other)]
    return float(np.linalg.norm(ends[0] - ends[1], axis=1).max())


def _spans(affine: Float[np.ndarray, "4 4"], shape: tuple[int, int, int]) -> bool:
    if not np.isfinite(affine).all() or np.abs(affine).max() > FARTHEST:
        return False
    columns = with_normal(affine[:3, :3], shape[2])
    return abs(np.linalg.det(columns)) > 1e-9 * float(np.linalg.norm(columns, axis=0).prod())


def _rows(header: Header) -> Float[np.ndarray, "4 4"]:
    return np.vstack([header["srow_x"], header["srow_y"], header["srow_z"], [0, 0, 0, 1]]).astype(np.float64)


def _quaternion(header: Header) -> Float[np.ndarray, "4 4"] | None:
    turned = header.copy()
    turned["pixdim"][0] = -1.0 if header["pixdim"][0] < 0 else 1.0  # the standard's reading of 0
    try:
        with np.errstate(all="ignore"):  # what is not finite is refused by who uses it
            return np.asarray(turned.get_qform(), dtype=np.float64)
    except (HeaderDataError, ValueError):  # no rotation in these numbers
        return None
