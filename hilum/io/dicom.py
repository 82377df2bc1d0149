"""The DICOM door: files, a folder or a series in; one image out, in modality values, with its exact LPS affine."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from jaxtyping import Num

from hilum.io import dicom_values, limits
from hilum.io.dicom_file import PALETTE, PICTURE, PIXELS, dataset_of
from hilum.io.dicom_geometry import Stack, check_orientation, lone_affine, name, stack
from hilum.io.dicom_header import Header, Plane
from hilum.io.dicom_pixels import check_pixels, frames
from hilum.io.dicom_quiet import quiet
from hilum.io.dicom_series import Series, chosen, found
from hilum.values import geometry
from hilum.values.errors import BadInput, HilumError
from hilum.values.image import Image, Source, Space

Spacing = tuple[float, ...]


def read_dicom(
    path: Path | Sequence[Path],
    *,
    series: str | None = None,
    frame: int | None = None,
    spacing: Spacing | None = None,
) -> Image:
    """The image in a folder, a list of files or one file.

    `series` picks by number in the list that an error shows, by UID or by its end. `frame` picks, from 0, a volume
    where several lie at the same places, or a picture of a file whose frames have no place. `spacing` (x, y[, z] in
    mm) is the user's own statement for files that have none, and is noted.
    """
    paths = [path] if isinstance(path, Path) else list(path)
    if not paths:
        raise BadInput("no DICOM file was given.")
    what = (paths[0].name or "the folder") if len(paths) == 1 else "the list of files"
    with quiet():
        headers, notes = found(paths)
        picked = chosen(headers, series, what)
        for header in picked.headers:
            check_pixels(header)
        layout, space = _layout(picked, frame, _stated(spacing), what)
        array, digest = _loaded(picked, layout)
    return _image(picked, layout, array, digest, space, (*notes, *layout.notes))


def _stated(spacing: Spacing | None) -> Spacing | None:
    if spacing is not None and (len(spacing) not in (2, 3) or not all(0 < step < np.inf for step in spacing)):
        raise BadInput(f"--spacing wants 2 or 3 lengths in mm above 0 (x, y[, z]), got {spacing}.")
    return spacing


def _layout(series: Series, frame: int | None, spacing: Spacing | None, what: str) -> tuple[Stack, Space]:
    """Which planes are read, in which order, and where they lie; a volume without geometry is refused."""
    placed = [plane for plane in series.planes if plane.position is not None and plane.orientation is not None]
    if placed and len(placed) == len(series.planes):
        return _placed(series, frame, spacing, what), "patient"
    if placed:
        raise BadInput(f"{what}: {len(series.planes) - len(placed)} of {len(series.planes)} slices have no position.")
    if len(series.headers) > 1:
        raise BadInput(
            f"{what} holds {len(series.headers)} pictures without positions, which make no volume: give one file."
        )
    if frame is None and len(series.planes) > 1 and spacing is not None and len(spacing) == 3:
        return _stated_volume(series, spacing), "patient"
    return _picture(series, frame, spacing, what)


def _placed(series: Series, frame: int | None, spacing: Spacing | None, what: str) -> Stack:
    planes, notes = series.planes, []
    unknown = [plane for plane in planes if plane.spacing is None]
    if spacing is not None and not unknown:
        raise BadInput(f"{what} states its own spacing: --spacing is for files that have none.")
    if unknown and spacing is None:
        raise BadInput(f"{what} does not state its pixel spacing ({name(unknown[0])}): say --spacing x,y in mm.")
    if spacing is not None:
        planes = tuple(replace(plane, spacing=spacing[:2]) for plane in planes)
        notes.append(f"the user stated the pixel spacing {spacing[0]:g} x {spacing[1]:g} mm")
    if len(planes) > 1:
        result = stack(planes, frame, what)
        return replace(result, notes=(*notes, *result.notes))
    if frame not in (None, 0):
        raise BadInput(f"{what} holds one picture, numbered 0; there is no frame {frame}.")
    check_orientation(planes[0])
    notes.append(f"{name(planes[0])} is one slice; a volume is read from all files of its series")
    return Stack(planes, lone_affine(planes[0]), tuple(notes))


def _stated_volume(series: Series, spacing: Spacing) -> Stack:
    """Frames without positions as a volume, because the user says so: in stored order, orientation unknown."""
    note = "the user stated the spacing {:g} x {:g} x {:g} mm; frames in stored order, ".format(*spacing)
    affine = geometry.with_step(np.diag(spacing), np.zeros(3))
    return Stack(series.planes, affine, (note + "their true orientation is unknown",))


def _picture(series: Series, frame: int | None, spacing: Spacing | None, what: str) -> tuple[Stack, Space]:
    """One picture without a place in the patient: a radiograph, a photograph, a frame of a film."""
    planes, notes = series.planes, []
    count = len(planes)
    if count > 1 and frame is None:
        raise BadInput(
            f"{what} holds {count} frames without positions, which make no volume: pick one with --frame 0 to "
            f"{count - 1}, or state the spacing of a volume with --spacing x,y,z."
        )
    if not 0 <= (frame or 0) < count:
        raise BadInput(f"{what} holds {count} frame{'s'[: count != 1]}, numbered from 0; there is no frame {frame}.")
    plane = planes[frame or 0]
    steps = plane.spacing
    if steps is None and series.first.detector_spacing is not None:
        steps = series.first.detector_spacing
        notes.append("the pixel spacing is that at the detector: lengths in the patient are shorter")
    if spacing is not None:
        if plane.spacing is not None:
            raise BadInput(f"{what} states its own spacing: --spacing is for files that have none.")
        steps, notes = spacing[:2], [f"the user stated the pixel spacing {spacing[0]:g} x {spacing[1]:g} mm"]
    if count > 1:
        notes.append(f"frame {frame} of {count}")
    affine = geometry.with_step(np.diag([*(steps or (1.0, 1.0)), 1.0]), np.zeros(3))
    return Stack((plane,), affine, tuple(notes)), "plane" if steps else "pixel"


def _loaded(series: Series, layout: Stack) -> tuple[Num[np.ndarray, "c z y x"], str]:
    """Modality values of the planes in order, and the sha256 over the bytes of their files in that order."""
    headers = {header.path: header for header in series.headers}
    places: dict[Path, list[int]] = {}
    for k, plane in enumerate(layout.planes):
        places.setdefault(plane.path, []).append(k)
    read = [headers[path] for path in places]
    kind = dicom_values.value_type(read, layout.planes)
    channels = 3 if series.first.samples == 3 or series.first.photometric == "PALETTE COLOR" else 1
    shape = (channels, len(layout.planes), series.first.rows, series.first.columns)
    limits.check_voxels(shape, kind.itemsize, series.first.path.name)
    array = np.empty(shape, dtype=kind)
    digest = hashlib.sha256()
    for header in read:
        with header.path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
        _fill(array, header, places[header.path], layout.planes)
    return array, digest.hexdigest()


def _fill(array: Num[np.ndarray, "c z y x"], header: Header, places: Sequence[int], planes: Sequence[Plane]) -> None:
    """Decodes one file into its places of the volume."""
    dataset = dataset_of(header.path, (*PICTURE, *PALETTE, *PIXELS), pixels=True)
    stored = frames(dataset, header, [planes[k].frame or 0 for k in places])
    for k, frame in zip(places, stored, strict=True):
        try:
            array[:, k] = dicom_values.values(frame, dataset, header, planes[k])
        except HilumError:
            raise
        except Exception as error:  # tables of the file are parsed when they are first asked for
            raise BadInput(f"{header.path.name}: its look-up table is broken ({type(error).__name__}).") from error


def _image(
    series: Series, layout: Stack, array: np.ndarray, digest: str, space: Space, notes: tuple[str, ...]
) -> Image:
    headers = {header.path: header for header in series.headers}
    files = tuple(dict.fromkeys(plane.path for plane in layout.planes))
    index = {path: number for number, path in enumerate(files)}
    first = series.first
    if first.samples == 3 and first.bits_stored > 8:
        notes = (*notes, f"colours of {first.bits_stored} bits were scaled to 8")
    window, window_notes = dicom_values.display(array, [headers[path] for path in files], layout.planes)
    detail = {
        "frames": tuple((index[plane.path], plane.frame) for plane in layout.planes),
        "FrameOfReferenceUID": first.frame_of_reference or None,
    }
    return Image(
        array=array if len(layout.planes) > 1 else array[:, 0],
        affine=layout.affine,
        space=space,
        display=window,
        source=Source(
            format="dicom",
            files=files,
            sha256=digest,
            modality=first.modality,
            unit=first.unit,
            detail=MappingProxyType(detail),
            notes=(*notes, *window_notes),
        ),
    )
