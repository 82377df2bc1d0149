"""The bank that scout is trained from: a context crop per object, three times its box, 256 px, uint8, by source.

Left out, so that they can be reported as unseen: the chest films, the organ slices, the tumour folder, DRIVE.
"""

import csv
import io
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image as Picture

SIDE = 256
CONTEXT = 3.0
Only = Callable[[str], bool]
HELD_BACK = 15  # per cent of the images of a source, by name


@dataclass(frozen=True, slots=True, eq=False)
class Object2d:
    """One object: an image (h, w, c) uint8, its mask, and the name that decides its split."""

    image: UInt8[np.ndarray, "h w c"]
    mask: Bool[np.ndarray, "h w"]
    name: str


Frame = Callable[[Object2d], tuple[np.ndarray, np.ndarray]]


def data_root() -> Path:
    return Path(os.environ.get("HILUM_DATA", Path(__file__).resolve().parents[1] / "../shared/data"))


def held_back(name: str) -> bool:
    return zlib.crc32(name.encode()) % 100 < HELD_BACK


class Archive:
    """Pictures of a zip file, by name."""

    def __init__(self, path: Path):
        self.file = zipfile.ZipFile(path)

    def names(self) -> list[str]:
        return sorted(name for name in self.file.namelist() if not name.endswith("/"))

    def picture(self, name: str) -> np.ndarray:
        return np.asarray(Picture.open(io.BytesIO(self.file.read(name))))

    def image(self, name: str) -> UInt8[np.ndarray, "h w c"]:
        """Three equal planes become one."""
        found = Picture.open(io.BytesIO(self.file.read(name)))
        planes = np.asarray(found.convert("RGB"))
        spread = planes.max(2).astype(int) - planes.min(2)
        return planes[..., :1] if np.percentile(spread, 99) < 12 else planes


def rows(path: Path, only: Only | None = None) -> list[dict[str, str]]:
    """Lines of a table; `only` chooses by the file's name."""
    with path.open() as file:
        return [row for row in csv.DictReader(file) if only is None or only(row["file"])]


def nuclei(root: Path, rng: np.random.Generator, *, per_image: int = 7, only: Only | None = None) -> Iterator[Object2d]:
    images, labels = Archive(root / "nuclei/images.zip"), Archive(root / "nuclei/labels.zip")
    for row in rows(root / "nuclei/metadata.csv", only):
        image, label = images.image(row["image"]), labels.picture(row["label"])
        count = per_image * (2 if row["kind"] != "fluorescence" else 1)
        sizes = np.bincount(label.ravel())
        known = np.flatnonzero(sizes >= 40)[1:]
        for number in rng.permutation(known)[:count]:
            yield Object2d(image, label == number, row["file"])


def ultrasound(root: Path, rng: np.random.Generator, *, only: Only | None = None) -> Iterator[Object2d]:
    from scipy import ndimage

    images, masks = Archive(root / "ultrasound/images.zip"), Archive(root / "ultrasound/masks.zip")
    for row in rows(root / "ultrasound/metadata.csv", only):
        if row["label"] == "normal":
            continue
        image, mask = images.image(row["file"]), masks.picture(row["mask"]) > 0
        if image.shape[-1] == 3:
            image = image.mean(2, keepdims=True).astype(np.uint8)
        parts, count = ndimage.label(mask)
        for number in range(1, count + 1):
            if (parts == number).sum() >= 60:
                yield Object2d(image, parts == number, row["file"])


def hippocampus(root: Path, rng: np.random.Generator, *, only: Only | None = None) -> Iterator[Object2d]:
    import gzip

    import nibabel

    archive = zipfile.ZipFile(root / "hippocampus/hippocampus.zip")
    for row in rows(root / "hippocampus/metadata.csv", only):
        volume, label = (
            np.asarray(nibabel.Nifti1Image.from_bytes(gzip.decompress(archive.read(f"{folder}/{row['file']}"))).dataobj)
            for folder in ("images", "labels")
        )
        grey = window(volume)
        for axis in range(3):
            for wanted in ((1, 2), (1,), (2,)):
                area = np.isin(label, wanted).sum(tuple(other for other in range(3) if other != axis))
                usable = np.flatnonzero(area > max(40, 0.4 * area.max()))
                for where in rng.permutation(usable)[:2]:
                    plane, mask = (np.rot90(np.take(data, where, axis)) for data in (grey, np.isin(label, wanted)))
                    yield Object2d(plane[..., None], mask, row["file"])


def window(volume: np.ndarray) -> UInt8[np.ndarray, "..."]:
    low, high = np.percentile(volume, [0.5, 99.5])
    return (np.clip((volume - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8)


def chase(root: Path, rng: np.random.Generator, *, per_image: int = 40, only: Only | None = None) -> Iterator[Object2d]:
    """Vessels inside random square tiles, and the whole tree."""
    images, masks = Archive(root / "retina/images.zip"), Archive(root / "retina/vessels.zip")
    for row in rows(root / "retina/metadata.csv", only):
        if row["dataset"] != "CHASE":
            continue
        image, vessels = images.image(row["file"]), masks.picture(row["vessels"]) > 0
        height, width = vessels.shape
        for _ in range(per_image):
            side = int(rng.uniform(48, 320))
            y, x = int(rng.uniform(0, height - side)), int(rng.uniform(0, width - side))
            tile = np.zeros_like(vessels)
            tile[y : y + side, x : x + side] = vessels[y : y + side, x : x + side]
            if tile.sum() > 0.03 * side * side:
                yield Object2d(image, tile, row["file"])
        yield Object2d(image, vessels, row["file"])


def vessels(
    root: Path, rng: np.random.Generator, *, per_image: int = 45, only: Only | None = None
) -> Iterator[Object2d]:
    """Squares of the fundus, most near native resolution, with all their vessels: for looking closely, tile by tile."""
    images, masks = Archive(root / "retina/images.zip"), Archive(root / "retina/vessels.zip")
    for row in rows(root / "retina/metadata.csv", only):
        if row["dataset"] != "CHASE":
            continue
        image, drawn = images.image(row["file"]), masks.picture(row["vessels"]) > 0
        height, width = drawn.shape
        for _ in range(per_image):
            side = min(int(SIDE * np.exp(rng.uniform(0, 1.1) * (rng.random() < 0.6))), height, width)
            y, x = int(rng.uniform(0, height - side + 1)), int(rng.uniform(0, width - side + 1))
            part = np.s_[y : y + side, x : x + side]
            if drawn[part].mean() > 0.02:
                yield Object2d(image[part], drawn[part], row["file"])


TEXTURES = ("brain_mri/images.zip", "vqa_rad/images.zip", "wsi/tiles.zip", "ultrasound/images.zip")


def textures(
    root: Path, *, share: float = 1.0, archives: tuple[str, ...] = TEXTURES, only: Only | None = None
) -> Iterator[tuple[UInt8[np.ndarray, "h w c"], str]]:
    """Images without masks, at most 384 px: brain MR, mixed radiology (VQA-RAD), stained tissue, normal breasts."""
    for folder in archives:
        archive = Archive(root / folder)
        for name in archive.names():
            if only is not None and not only(name):
                continue
            image = archive.image(name)
            if zlib.crc32(f"use {name}".encode()) % 1000 < 1000 * share:
                yield from ((tile, name) for tile in tiles(image))
    yield from ((tile, "CMU-1") for tile in tiles(slide(root / "wsi/CMU-1-Small-Region.svs")))


def slide(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    import tifffile

    return tifffile.imread(path, key=0)


def tiles(image: UInt8[np.ndarray, "h w c"], *, side: int = 384) -> Iterator[UInt8[np.ndarray, "h w c"]]:
    """The image itself, or its square tiles where it is much larger."""
    height, width = image.shape[:2]
    if max(height, width) <= 1.5 * side:
        yield image
        return
    for y in range(0, height - side + 1, side):
        for x in range(0, width - side + 1, side):
            yield image[y : y + side, x : x + side]


def context(found: Object2d) -> tuple[UInt8[np.ndarray, "c s s"], UInt8[np.ndarray, "s s"]]:
    """The square of CONTEXT times the longer box side around the object, edges repeated, as SIDE x SIDE."""
    ys, xs = np.flatnonzero(found.mask.any(1)), np.flatnonzero(found.mask.any(0))
    side = max(int(np.ceil(CONTEXT * max(ys[-1] - ys[0] + 1, xs[-1] - xs[0] + 1))), 12)
    y, x = (ys[0] + ys[-1] + 1 - side) // 2, (xs[0] + xs[-1] + 1 - side) // 2
    height, width = found.mask.shape
    inside_y, inside_x = np.arange(y, y + side), np.arange(x, x + side)
    at_y, at_x = np.clip(inside_y, 0, height - 1), np.clip(inside_x, 0, width - 1)
    there = ((inside_y == at_y)[:, None]) & (inside_x == at_x)[None]
    image, mask = found.image[at_y][:, at_x], found.mask[at_y][:, at_x] & there
    planes = [shrink(image[..., plane]) for plane in range(image.shape[-1])]
    return np.stack(planes), shrink(mask.astype(np.uint8) * 255)


def shrink(plane: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "s s"]:
    return np.asarray(Picture.fromarray(np.ascontiguousarray(plane)).resize((SIDE, SIDE), Picture.Resampling.BILINEAR))


def whole(found: Object2d) -> tuple[UInt8[np.ndarray, "c s s"], UInt8[np.ndarray, "s s"]]:
    """The picture as it is, as SIDE x SIDE."""
    planes = [shrink(found.image[..., plane]) for plane in range(found.image.shape[-1])]
    return np.stack(planes), shrink(found.mask.astype(np.uint8) * 255)


def save(folder: Path, objects: Iterator[Object2d], framed: Frame = context) -> dict[str, int]:
    """Write `<split>.<colour>.image.npy` and `.mask.npy`; returns how many of each."""
    kept: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for found in objects:
        image, mask = framed(found)
        key = f"{'held' if held_back(found.name) else 'train'}.{'grey' if len(image) == 1 else 'colour'}"
        kept.setdefault(key, []).append((image, mask))
    folder.mkdir(parents=True, exist_ok=True)
    for key, pairs in kept.items():
        np.save(folder / f"{key}.mask.npy", np.stack([mask for _, mask in pairs]))
        np.save(folder / f"{key}.image.npy", np.stack([image for image, _ in pairs]))
    return {key: len(pairs) for key, pairs in kept.items()}
