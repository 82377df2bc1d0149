"""What scout is measured on: whole sources that training never saw, and held-back images of the kinds it knows."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import scout_data
from jaxtyping import Bool, Float
from scipy import ndimage
from scout_data import Archive, Object2d, rows, window

UNSEEN = ("cxr", "organs", "tumour", "phantom", "drive")
KNOWN = ("nuclei", "ultrasound", "hippocampus", "chase")


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One object of one source: the image (c, h, w) in 0..1 and the true mask."""

    source: str
    name: str
    image: Float[np.ndarray, "c h w"]
    mask: Bool[np.ndarray, "h w"]


def lungs(root: Path) -> Iterator[Object2d]:
    """Each lung of each film with a lung mask."""
    images, masks = Archive(root / "cxr/images.zip"), Archive(root / "cxr/lung_masks.zip")
    for row in rows(root / "cxr/metadata.csv"):
        if row["lung_mask"]:
            image = images.image(row["file"])
            yield from parts(image, masks.picture(row["lung_mask"]) > 0, row["file"], least=400)


def organs(root: Path) -> Iterator[Object2d]:
    """Each organ of the CT slices, as one object even where it has several parts."""
    archive = Archive(root / "ct-mr/ct_slices_organs.zip")
    for row in rows(root / "ct-mr/ct_slices_organs.csv"):
        mask = archive.picture(row["mask"])
        mask = mask.max(2) if mask.ndim == 3 else mask
        yield Object2d(archive.image(row["image"]), mask > 0, row["mask"])


def tumour(root: Path) -> Iterator[Object2d]:
    """Every part of the brain tumour, in every plane."""
    for name, image, mask in planes(root / "ct-mr/tumour", "brain1"):
        yield from parts(image, mask, name, least=40)


def phantom(root: Path) -> Iterator[Object2d]:
    """Each label of the prostate phantom, in every plane, as one object: mostly the bath around it and its rim."""
    for name, image, mask in planes(root / "ct-mr/tumour", "prostate_phantom_subvolume"):
        yield Object2d(image, mask, name)


def planes(folder: Path, stem: str) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, image (h, w, 1) and mask of each label in each plane where it has 40 pixels."""
    image, label = (
        np.squeeze(np.asarray(nibabel.load(folder / f"{stem}_{what}.nii.gz").dataobj)) for what in ("image", "label")
    )
    grey = window(image)
    for number in np.unique(label[label > 0]):
        for z in np.flatnonzero((label == number).sum((0, 1)) >= 40):
            mask = np.ascontiguousarray((label[:, :, z] == number).T)
            yield f"{stem} {number} {z}", np.ascontiguousarray(grey[:, :, z].T)[..., None], mask


def drive(root: Path) -> Iterator[Object2d]:
    """The whole vessel tree of each image; not for training, only measured."""
    images, masks = Archive(root / "retina/images.zip"), Archive(root / "retina/vessels.zip")
    for row in rows(root / "retina/metadata.csv"):
        if row["dataset"] == "DRIVE":
            yield Object2d(images.image(row["file"]), masks.picture(row["vessels"]) > 0, row["file"])


def parts(image: np.ndarray, mask: np.ndarray, name: str, *, least: int) -> Iterator[Object2d]:
    mask = mask.max(2) if mask.ndim == 3 else mask
    labels, count = ndimage.label(mask)
    for number in range(1, count + 1):
        if (labels == number).sum() >= least:
            yield Object2d(image, labels == number, f"{name} {number}")


def known(root: Path, source: str) -> Iterator[Object2d]:
    """Objects of held-back images; drawn anew, with another seed than the bank's."""
    rng, held = np.random.default_rng(1), scout_data.held_back
    make = {
        "nuclei": lambda: scout_data.nuclei(root, rng, per_image=4, only=held),
        "ultrasound": lambda: scout_data.ultrasound(root, rng, only=held),
        "hippocampus": lambda: scout_data.hippocampus(root, rng, only=held),
        "chase": lambda: scout_data.chase(root, rng, per_image=10, only=held),
    }
    return make[source]()


def cases(root: Path, source: str, *, most: int) -> list[Case]:
    """At most `most` cases of a source, evenly chosen in a fixed order."""
    unseen = {"cxr": lungs, "organs": organs, "tumour": tumour, "phantom": phantom, "drive": drive}
    found = list(unseen[source](root) if source in unseen else known(root, source))
    chosen = np.unique(np.linspace(0, len(found) - 1, min(most, len(found))).round().astype(int))
    return [
        Case(source, one.name, np.ascontiguousarray(np.moveaxis(one.image, -1, 0)).astype(np.float32) / 255, one.mask)
        for one in (found[place] for place in chosen)
    ]
