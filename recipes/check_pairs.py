"""Makes the four small pairs that `hilum check` asks every segmenter about: hilum/app/pairs/*.png and pairs.toml.

python recipes/check_pairs.py            # reads $HILUM_DATA, default ../shared/data
"""

import io
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image
from scipy import ndimage
from scout_data import data_root

SIDE = 256
OUT = Path(__file__).resolve().parents[1] / "hilum" / "app" / "pairs"


@dataclass(frozen=True)
class Pair:
    """What stands in pairs.toml of one pair."""

    name: str
    modality: str
    object: str
    source: str
    licence: str


def opened(archive: Path, name: str) -> np.ndarray:
    with zipfile.ZipFile(archive) as file:
        return np.asarray(Image.open(io.BytesIO(file.read(name))))


def grey(picture: np.ndarray) -> np.ndarray:
    return picture[..., :3].mean(axis=-1) if picture.ndim == 3 else picture.astype(float)


def pairs(root: Path) -> Iterator[tuple[Pair, np.ndarray, np.ndarray]]:
    labels = opened(root / "nuclei/labels.zip", "45cc00f2ef95da66.png")
    whole = largest(labels, lambda part: not touches_edge(part))
    about = Pair("nucleus", "GM", "a nucleus, fluorescence", "BBBC038, Data Science Bowl 2018", "CC0-1.0")
    picture = grey(opened(root / "nuclei/images.zip", "45cc00f2ef95da66.png"))
    yield about, np.clip(picture / np.percentile(picture, 99.5), 0, 1) * 255, whole

    about = Pair("cyst", "US", "a breast cyst", "BUSI, Al-Dhabyani et al. 2020", "public domain as listed; please cite")
    mask = opened(root / "ultrasound/masks.zip", "benign_10.png") > 0
    yield about, grey(opened(root / "ultrasound/images.zip", "benign_10.jpg")), mask

    about = Pair("liver", "CT", "the liver", "AMOS, through SAM-Med2D", "CC-BY-4.0")
    archive = root / "ct-mr/ct_slices_organs.zip"
    mask = opened(archive, "masks/amos_0006_90_liver_000.png") > 0
    picture = windowed(grey(opened(archive, "images/amos_0006_90.png")), mask)
    yield about, picture[::-1], mask[::-1]  # the file has the back on top

    about = Pair("tumour", "MR", "a brain tumour, contrast T1", "pyradiomics test data", "BSD-3-Clause")
    yield about, *tumour(root / "ct-mr/tumour")


def largest(labels: np.ndarray, wanted) -> np.ndarray:
    parts = [labels == label for label in np.unique(labels) if label]
    return max((part for part in parts if wanted(part)), key=np.sum)


def touches_edge(mask: np.ndarray) -> bool:
    return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def windowed(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The wide-window slice shown around its organ's own grey."""
    middle, width = np.median(picture[mask]), 60.0
    return np.clip((picture - middle + width / 2) / width, 0, 1) * 255


def tumour(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The plane with most of the tumour."""
    found = {path.name: path for path in folder.rglob("*.nii*")}
    image, label = (
        np.asarray(
            nibabel.load(next(path for name, path in found.items() if name.startswith(f"brain1_{word}"))).dataobj
        )
        for word in ("image", "label")
    )
    where = int(np.argmax((label > 0).sum(axis=(0, 1))))
    plane, mask = np.rot90(image[..., where]).astype(float), np.rot90(label[..., where] > 0)
    high = np.percentile(plane, 99.5)
    return np.clip(plane / high, 0, 1) * 255, mask


def cropped(picture: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A square around the object, reduced to at most SIDE pixels."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    reach = min(max(np.ptp(rows), np.ptp(columns)) + 64, min(picture.shape) // 2 * 2)
    reach = max(reach, min(SIDE, *picture.shape))
    top, left = (
        int(np.clip((low + high - reach) // 2, 0, side - min(reach, side)))
        for low, high, side in zip((rows[0], columns[0]), (rows[-1], columns[-1]), picture.shape, strict=True)
    )
    part = np.s_[top : top + reach, left : left + reach]
    scale = min(1.0, SIDE / max(picture[part].shape))
    small = ndimage.zoom(ndimage.gaussian_filter(picture[part], 0.4 / scale if scale < 1 else 0.0), scale, order=1)
    return np.clip(small, 0, 255).astype(np.uint8), ndimage.zoom(mask[part].astype(float), scale, order=1) > 0.5


def main() -> None:
    OUT.mkdir(exist_ok=True)
    lines = ["# Made by recipes/check_pairs.py: small pictures with one object each, for `hilum check`."]
    for about, picture, mask in pairs(data_root()):
        small, truth = cropped(picture, mask)
        Image.fromarray(small).save(OUT / f"{about.name}.png", optimize=True)
        Image.fromarray(truth.astype(np.uint8) * 255).save(OUT / f"{about.name}_mask.png", optimize=True)
        lines += ["", "[[pair]]", *(f'{key} = "{value}"' for key, value in asdict(about).items())]
        print(about.name, small.shape, int(truth.sum()))
    (OUT / "pairs.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
