"""The bank of the pocket SAM: pictures of 256 x 256 with up to eight masks each, by source.

None of the study's targets is in it: not the folders of breast ultrasound, nuclei, retina, hippocampus and chest films,
no picture of a chest from VQA-RAD, no hippocampus among the brain's structures.
"""

import csv
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import scout_brain
import scout_cases
import scout_shapes
from jaxtyping import Bool, UInt8
from PIL import Image as Picture
from scipy import ndimage
from scout_data import SIDE, Object2d, held_back, textures, window

MASKS = 8  # of one picture, at most
LEAST = 40  # pixels of a mask, once the picture has SIDE
HIPPOCAMPUS = 14  # among the labels of the 18-structure network
TEXTURES = ("brain_mri/images.zip", "vqa_rad/images.zip", "wsi/tiles.zip")
LICENCES = {
    "regions": "textures of brain_mri (MIT), VQA-RAD without chests (CC0), OpenSlide CMU-1 (CC0), GTEx/TCGA tiles",
    "bodies": "silhouettes and hollows in brain_mri (MIT) and VQA-RAD without chests (CC0), by threshold",
    "brain": "MNI152 template, structures by brainchop's network (MIT), without the hippocampus",
    "threshold": "CT_pitch (niivue), open",
    "organs": "CT slices of AMOS and TotalSegmentator through SAM-Med2D's repository (CC BY 4.0)",
    "tumour": "brain tumour and prostate phantom of pyradiomics (BSD-3)",
    "scenes": "synthetic",
    "trees": "synthetic",
}


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """A picture with its masks; the name decides its split."""

    image: UInt8[np.ndarray, "h w c"]
    masks: Bool[np.ndarray, "m h w"]
    name: str


def sources(root: Path) -> dict[str, Iterator[Labelled]]:
    """What the bank is made of, by name; made when it is read."""
    rng = np.random.default_rng(0)
    allowed = no_chest(root)
    looked = textures(root, archives=TEXTURES, only=allowed)
    return {
        "threshold": together(scout_brain.threshold(root, rng)),
        "organs": together(named(scout_cases.organs(root))),
        "tumour": together((*scout_cases.tumour(root), *scout_cases.phantom(root))),
        "bodies": together(scout_brain.bodies(root, rng, only=allowed)),
        "regions": together(scout_shapes.regions(looked, rng, per_image=MASKS)),
        "brain": brain(root),
    }


def no_chest(root: Path):
    """A file's name -> whether it is no chest of VQA-RAD."""
    with (root / "vqa_rad/qa.csv").open() as file:
        chests = {row["image"] for row in csv.DictReader(file) if row["organ"] == "CHEST"}
    return lambda name: Path(name).name not in chests


def named(objects: Iterator[Object2d]) -> Iterator[Object2d]:
    """Organs of one slice under the slice's name; their pictures, read anew for each mask, made one again."""
    kept: dict[bytes, np.ndarray] = {}
    for one in objects:
        image = kept.setdefault(one.image.tobytes(), one.image)
        yield Object2d(image, one.mask, "slice" + "_".join(Path(one.name).stem.split("_")[:3]))


def together(objects: Iterator[Object2d] | tuple[Object2d, ...]) -> Iterator[Labelled]:
    """Objects that follow each other on one picture, as one; more than MASKS of them as several."""
    for _, group in groupby(objects, key=lambda one: (one.image.shape, zlib.crc32(one.image.tobytes()))):
        found = list(group)
        for start in range(0, len(found), MASKS):
            part = found[start : start + MASKS]
            yield Labelled(part[0].image, np.stack([one.mask for one in part]), part[0].name)


def brain(root: Path) -> Iterator[Labelled]:
    """Planes of the MNI152 template in three directions, with the structures there, and the whole brain."""
    from nilearn.datasets import load_mni152_template

    volume = scout_brain.head(load_mni152_template(resolution=2))
    labels = scout_brain.meshnet(root / "weights/meshnet_model30chan18cls.safetensors", volume)
    whole = ndimage.binary_fill_holes(scout_brain.largest(labels > 0))
    labels[labels == HIPPOCAMPUS] = 0
    grey = window(volume)
    rng = np.random.default_rng(0)
    for axis in range(3):
        for where in np.flatnonzero(whole.any(tuple(other for other in range(3) if other != axis)))[::2]:
            plane, drawn, inside = (np.rot90(np.take(data, where, axis)) for data in (grey, labels, whole))
            there = [number for number in np.unique(drawn[drawn > 0]) if (drawn == number).sum() >= LEAST]
            for part in np.array_split(rng.permutation(there), max(1, -(-len(there) // (MASKS - 1)))):
                masks = np.stack([inside, *(drawn == number for number in part)])
                yield Labelled(np.ascontiguousarray(plane)[..., None], masks, f"MNI152 {axis} {where}")


def scene(rng: np.random.Generator) -> UInt8[np.ndarray, "s s"]:
    """A label map: parts of the plane, or blobs, rings and trees of scout's kind."""
    if rng.random() < 0.4:
        noise = scout_shapes.fields(rng, int(rng.integers(3, scout_shapes.LABELS - 2)), int(rng.integers(3, 14)))
        return (scout_shapes.partition(noise, np.zeros(2), 1.0, SIDE) + 1).astype(np.uint8)
    made = None
    while made is None:
        made = scout_shapes.blob_scene(rng)
    return made


def tree(rng: np.random.Generator) -> UInt8[np.ndarray, "s s"]:
    """A label map with a tree of thinning, winding branches (1) over parts of the plane (3 and more)."""
    noise = scout_shapes.fields(rng, int(rng.integers(1, 5)), int(rng.integers(2, 6)))
    drawn = (scout_shapes.partition(noise, np.zeros(2), 1.0, SIDE) + 3).astype(np.uint8)
    begin = rng.uniform(0, SIDE, 2)
    twigs = [(begin, rng.uniform(0, 2 * np.pi), rng.uniform(1.5, 4.0)) for _ in range(int(rng.integers(2, 6)))]
    wide = np.zeros((SIDE, SIDE))
    while twigs:
        at, way, width = twigs.pop()
        for _ in range(int(rng.uniform(60, 240))):
            way += rng.normal() * 0.07
            at = at + np.array([np.cos(way), np.sin(way)])
            row, column = np.rint(at[::-1]).astype(int)
            if not (0 <= row < SIDE and 0 <= column < SIDE):
                break
            wide[row, column] = max(wide[row, column], width)
            if width > 0.7 and rng.random() < 0.014 and len(twigs) < 60:
                twigs.append((at, way + rng.choice([-1, 1]) * rng.uniform(0.3, 1.0), width * rng.uniform(0.5, 0.9)))
    for width in np.unique(np.ceil(wide[wide > 0] * 2) / 2):
        near = ndimage.distance_transform_edt(~((wide > width - 0.5) & (wide <= width))) <= width / 2 + 0.3
        drawn[near] = 1
    return drawn


def framed(found: Labelled) -> tuple[UInt8[np.ndarray, "3 s s"], UInt8[np.ndarray, "m s t"]] | None:
    """The longest side at SIDE, zeros below and right; masks packed, eight pixels in a byte. None without any mask."""
    height, width = found.image.shape[:2]
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))

    def fit(plane: np.ndarray) -> np.ndarray:
        small = np.asarray(Picture.fromarray(np.ascontiguousarray(plane)).resize(size, Picture.Resampling.BILINEAR))
        return np.pad(small, ((0, SIDE - size[1]), (0, SIDE - size[0])))

    masks = [fit(mask.astype(np.uint8) * 255) > 127 for mask in found.masks]
    kept = [mask for mask in masks if mask.sum() >= LEAST][:MASKS]
    if not kept:
        return None
    planes = np.stack([fit(found.image[..., min(plane, found.image.shape[-1] - 1)]) for plane in range(3)])
    padded = np.zeros((MASKS, SIDE, SIDE), bool)
    padded[: len(kept)] = kept
    return planes, np.packbits(padded, axis=-1)


def save(folder: Path, pictures: Iterator[Labelled]) -> dict[str, int]:
    """Write `<split>.image.npy` and `<split>.masks.npy`; returns how many of each."""
    kept: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for found in pictures:
        made = framed(found)
        if made is not None:
            kept.setdefault("held" if held_back(found.name) else "train", []).append(made)
    folder.mkdir(parents=True, exist_ok=True)
    for split, pairs in kept.items():
        np.save(folder / f"{split}.masks.npy", np.stack([masks for _, masks in pairs]))
        np.save(folder / f"{split}.image.npy", np.stack([image for image, _ in pairs]))
    return {split: len(pairs) for split, pairs in kept.items()}


def save_scenes(folder: Path, made: Iterator[np.ndarray], count: int) -> dict[str, int]:
    """Write label maps whose grey levels are drawn when they are used; the first twentieth is held back."""
    scenes = np.stack([next(made) for _ in range(count)])
    folder.mkdir(parents=True, exist_ok=True)
    held = count // 20
    np.save(folder / "held.scene.npy", scenes[:held])
    np.save(folder / "train.scene.npy", scenes[held:])
    return {"held": held, "train": count - held}
