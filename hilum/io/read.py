"""Images in: the content chooses the reader, the suffix only where the content does not tell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

from hilum.values.errors import BadInput
from hilum.values.image import Image

from . import limits
from .dicomweb_address import Address, is_address, parsed
from .payload import opening

KINDS = {  # what a file is: module of this folder, function in it
    "nifti": ("nifti", "read_nifti"),
    "nrrd": ("nrrd", "read_nrrd"),
    "metaimage": ("metaimage", "read_metaimage"),
    "picture": ("raster", "read_raster"),
}
PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"BM", b"GIF8")
NIFTI_SIZES = [size.to_bytes(4, order) for size in (348, 540) for order in ("little", "big")]
DICOM_STARTS = (b"\x02\0", b"\x08\0", b"\0\x02", b"\0\x08")  # groups 2 and 8, where there is no preamble
SUFFIXES = {
    **dict.fromkeys((".nii", ".nii.gz", ".hdr", ".img", ".img.gz"), "nifti"),
    **dict.fromkeys((".nrrd", ".nhdr"), "nrrd"),
    **dict.fromkeys((".mha", ".mhd"), "metaimage"),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp"), "picture"),
    **dict.fromkeys((".dcm", ".dicom", ".ima"), "dicom"),
}
START = 540  # bytes: the longest header that is looked at

Paths = str | Path | Address | Sequence[str | Path]


def read(
    path: Paths,
    *,
    series: str | None = None,
    frame: int | None = None,
    spacing: tuple[float, ...] | None = None,
    modality: str | None = None,
) -> Image:
    """The image of a file, of a folder of DICOM files, of several of them, or of a series at dicomweb://.

    `series` picks one of several DICOM series, `frame` (from 0) one of several frames. `spacing` (mm along x, y[, z])
    and `modality` (DICOM's code) state what the file does not say; both are noted, and refused where it says otherwise.
    """
    if isinstance(path, Address) or (isinstance(path, str) and is_address(path)):
        from .dicomweb import read_dicomweb

        address = path if isinstance(path, Address) else parsed(path)
        image = read_dicomweb(address, series=series, frame=frame, spacing=spacing)
        return image if modality is None else _stated(image, modality, "the series")
    paths = [Path(path)] if isinstance(path, str | Path) else [Path(each) for each in path]
    for each in paths:
        _exists(each)
    kind = "dicom" if len(paths) != 1 or paths[0].is_dir() else kind_of(paths[0])
    if kind == "dicom":
        from .dicom import read_dicom

        image = read_dicom(paths[0] if len(paths) == 1 else paths, series=series, frame=frame, spacing=spacing)
    elif series is not None:
        raise BadInput(f"--series picks among DICOM series, and {paths[0].name} is no DICOM file.")
    else:
        module, function = KINDS[kind]
        reader: Callable[..., Image] = getattr(import_module(f"{__package__}.{module}"), function)
        image = reader(paths[0], frame=frame, spacing=spacing)
    return image if modality is None else _stated(image, modality, paths[0].name)


def kind_of(path: Path) -> str:
    """nifti, nrrd, metaimage, picture or dicom."""
    limits.check_file(path)
    start = opening(path, START)
    suffix = next((known for known in sorted(SUFFIXES, key=len, reverse=True) if path.name.lower().endswith(known)), "")
    if start.startswith(b"\x1f\x8b"):  # of what is packed with gzip, only NIfTI is read
        return "nifti"
    if start[128:132] == b"DICM":
        return "dicom"
    if start[:4] in NIFTI_SIZES:
        return "nifti"
    if start.startswith(b"NRRD000"):
        return "nrrd"
    if start.startswith(PICTURES) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP"):
        return "picture"
    if start.startswith((b"ObjectType", b"NDims", b"Comment =")):
        return "metaimage"
    if suffix:
        return SUFFIXES[suffix]
    if start.startswith(DICOM_STARTS):
        return "dicom"
    raise BadInput(
        f"{path.name} is nothing that hilum reads: DICOM, NIfTI (.nii, .nii.gz), NRRD, MetaImage (.mha, .mhd), "
        "PNG, JPEG, TIFF, BMP, GIF, WebP."
    )


def _exists(path: Path) -> None:
    try:
        found, special = path.exists(), path.exists() and not (path.is_file() or path.is_dir())
    except (OSError, ValueError) as error:  # a name too long, or with a null in it
        raise BadInput(f"no such file: {path.name[:80]!r} ({error.__class__.__name__}).") from error
    if special:
        raise BadInput(f"{path} is a device or pipe; hilum reads files and folders.")
    if not found:
        siblings = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
        close = get_close_matches(path.name, siblings, n=1)
        raise BadInput(f"no such file: {path}" + (f" (did you mean {path.with_name(close[0])}?)" if close else ""))


def _stated(image: Image, modality: str, name: str) -> Image:
    """The image with the modality that the user states; a file that says another than OT (other) is believed."""
    word, known = modality.upper(), image.source.modality
    if known == word:
        return image
    if known not in (None, "OT"):
        raise BadInput(f"{name} says its modality is {known}; --modality {word} contradicts it.")
    named = replace(image, source=replace(image.source, modality=word))
    return named.noted(f"the modality {word} was stated by the user; the file does not say it")
