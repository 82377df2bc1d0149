"""Lays the development data out as pairs for `hilum bench segment --data`: <source>/images/*, <source>/labels/*.

Known kinds (nuclei, breast ultrasound, hippocampus, CHASE_DB1) hold only the images that the scout recipe holds back;
the sources it never sees (lungs on chest films, CT organs, brain tumour, DRIVE, prostate phantom) are whole.

    python recipes/pairs.py --out runs/pairs        # reads $HILUM_DATA, default ../shared/data
"""

from __future__ import annotations

import argparse
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image
from scipy import ndimage
from scout_data import Only, data_root, held_back, rows, window

Case = tuple[str, np.ndarray, np.ndarray]  # name, picture, label map


def _opened(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(archive.read(name))))


def _opaque(picture: np.ndarray) -> np.ndarray:
    return picture[..., :3] if picture.ndim == 3 else picture


def nuclei(root: Path, only: Only = held_back) -> Iterator[Case]:
    images, labels = (zipfile.ZipFile(root / "nuclei" / name) for name in ("images.zip", "labels.zip"))
    for row in rows(root / "nuclei/metadata.csv"):
        if only(row["file"]):
            yield row["file"], _opaque(_opened(images, row["image"])), _opened(labels, row["label"])


def breast_ultrasound(root: Path, only: Only = held_back) -> Iterator[Case]:
    images, masks = (zipfile.ZipFile(root / "ultrasound" / name) for name in ("images.zip", "masks.zip"))
    for row in rows(root / "ultrasound/metadata.csv"):
        if row["label"] != "normal" and only(row["file"]):
            parts, _ = ndimage.label(_opened(masks, row["mask"]) > 0)
            yield Path(row["file"]).stem, _opened(images, row["file"]), parts


def hippocampus(root: Path, only: Only = held_back) -> Iterator[Case]:
    archive = zipfile.ZipFile(root / "hippocampus/hippocampus.zip")
    for row in rows(root / "hippocampus/metadata.csv"):
        if not only(row["file"]):
            continue
        volume, label = (
            np.asarray(nibabel.Nifti1Image.from_bytes(_gunzipped(archive, f"{folder}/{row['file']}")).dataobj)
            for folder in ("images", "labels")
        )
        where = int(np.argmax((label > 0).sum(axis=(0, 1))))
        yield (
            Path(row["file"]).stem.split(".")[0],
            np.rot90(window(volume)[..., where]),
            np.rot90(label[..., where] > 0),
        )


def _gunzipped(archive: zipfile.ZipFile, name: str) -> bytes:
    import gzip

    return gzip.decompress(archive.read(name))


def _vessels(root: Path, dataset: str, only: Only) -> Iterator[Case]:
    images, masks = (zipfile.ZipFile(root / "retina" / name) for name in ("images.zip", "vessels.zip"))
    for row in rows(root / "retina/metadata.csv"):
        if row["dataset"] == dataset and only(row["file"]):
            yield Path(row["file"]).stem, _opened(images, row["file"]), _opened(masks, row["vessels"]) > 0


def chase_vessels(root: Path, only: Only = held_back) -> Iterator[Case]:
    yield from _vessels(root, "CHASE", only)


def drive_vessels(root: Path) -> Iterator[Case]:
    yield from _vessels(root, "DRIVE", lambda name: True)


def chest_lungs(root: Path) -> Iterator[Case]:
    images, masks = (zipfile.ZipFile(root / "cxr" / name) for name in ("images.zip", "lung_masks.zip"))
    for row in rows(root / "cxr/metadata.csv"):
        if row["lung_mask"]:
            lungs = _opened(masks, row["lung_mask"].removeprefix("lung_masks/")) > 0
            parts, count = ndimage.label(lungs)
            sizes = np.bincount(parts.ravel(), minlength=count + 1)
            parts[np.isin(parts, [n for n in range(1, count + 1) if sizes[n] < 0.1 * sizes[1:].max()])] = 0
            yield Path(row["file"]).stem, _opened(images, row["file"]), parts


def ct_organs(root: Path) -> Iterator[Case]:
    archive = zipfile.ZipFile(root / "ct-mr/ct_slices_organs.zip")
    table = rows(root / "ct-mr/ct_slices_organs.csv")
    for name in sorted({row["image"] for row in table}):
        picture = _opened(archive, name)
        label = np.zeros(picture.shape[:2], dtype=np.uint16)
        for number, row in enumerate((row for row in table if row["image"] == name), 1):
            label[_opened(archive, row["mask"]) > 0] = number
        yield Path(name).stem, picture, label


def _slices(root: Path, name: str) -> Iterator[Case]:
    volume, label = (
        np.asarray(nibabel.load(root / f"ct-mr/tumour/{name}_{kind}.nii.gz").dataobj) for kind in ("image", "label")
    )
    grey = window(volume)
    area = (label > 0).sum(axis=(0, 1))
    for where in np.flatnonzero(area > 0.2 * area.max()):
        yield f"{name}_{where:03d}", np.rot90(grey[..., where]), np.rot90(label[..., where])


def brain_tumour(root: Path) -> Iterator[Case]:
    yield from _slices(root, "brain1")


def prostate_phantom(root: Path) -> Iterator[Case]:
    yield from _slices(root, "prostate_phantom_subvolume")


SOURCES = {
    "known": (nuclei, breast_ultrasound, hippocampus, chase_vessels),
    "unseen": (chest_lungs, ct_organs, brain_tumour, prostate_phantom, drive_vessels),
}


def write(folder: Path, cases: Iterator[Case]) -> None:
    """images/NAME.png and labels/NAME.png of every case."""
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    count = 0
    for count, (name, picture, label) in enumerate(cases, 1):  # noqa: B007
        Image.fromarray(picture).save(folder / "images" / f"{name}.png")
        Image.fromarray(label.astype(np.uint16)).save(folder / "labels" / f"{name}.png")
    print(f"{folder}: {count} cases")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/pairs"))
    out: Path = parser.parse_args().out
    root = data_root()
    for group, sources in SOURCES.items():
        for source in sources:
            write(out / group / source.__name__, source(root))


if __name__ == "__main__":
    main()
