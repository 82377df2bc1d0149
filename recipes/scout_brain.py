"""More kinds for scout without hand-made masks: brain structures by a small network, bone and bodies by threshold."""

import json
import zlib
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from nibabel.processing import conform
from safetensors import safe_open
from scipy import ndimage
from scout_data import Archive, Object2d, Only, window

MARGIN = 20  # voxels of air kept around the head


@torch.no_grad()
def meshnet(path: Path, volume: Float[np.ndarray, "x y z"]) -> Int[np.ndarray, "x y z"]:
    """Labels by a chain of dilated convolutions; the file's `spec` holds the chain."""
    with safe_open(path, "pt") as file:
        chain = json.loads(file.metadata()["spec"])
        x = torch.from_numpy(volume.astype(np.float32))[None, None]
        for link in chain:
            if link["op"] == "activation":
                x = {"elu": F.elu, "relu": F.relu}[link["name"]](x)
            else:
                weight, bias = (file.get_tensor(f"{link['name']}.{part}") for part in ("weight", "bias"))
                dilation = link["dilation"]
                reach = [step * (size // 2) for step, size in zip(dilation, weight.shape[2:], strict=True)]
                x = F.conv3d(x, weight, bias, padding=reach, dilation=dilation)
    return x[0].argmax(0).numpy()


def head(image: nibabel.Nifti1Image) -> Float[np.ndarray, "x y z"]:
    """Conformed to 1 mm, left-inferior-anterior, the head's 2nd to 98th percentile as 0..1, cropped around the head."""
    volume = np.asarray(
        conform(image, (256, 256, 256), (1.0, 1.0, 1.0), order=1, orientation="LIA").dataobj, np.float32
    )
    low, high = np.percentile(volume[volume > 0.05 * volume.max()], [2, 98])
    low = min(low, 0.1 * high)
    volume = np.clip((volume - low) / (high - low), 0, 1)
    filled = volume > 0.15
    span = [np.flatnonzero(filled.any(tuple(other for other in range(3) if other != axis))) for axis in range(3)]
    return volume[tuple(slice(max(at[0] - MARGIN, 0), at[-1] + MARGIN) for at in span)]


def brain(root: Path, rng: np.random.Generator) -> Iterator[Object2d]:
    """Structures of the MNI152 template, as the 18-structure network sees them."""
    from nilearn.datasets import load_mni152_template

    volume = head(load_mni152_template(resolution=2))
    labels = meshnet(root / "weights/meshnet_model30chan18cls.safetensors", volume)
    grey = window(volume)
    for structure in range(1, labels.max() + 1):
        yield from slices(grey, largest(labels == structure), rng, name=f"MNI152 {structure}", most=12)
    yield from slices(grey, ndimage.binary_fill_holes(largest(labels > 0)), rng, name="MNI152 brain", most=30)


def largest(mask: Bool[np.ndarray, "x y z"]) -> Bool[np.ndarray, "x y z"]:
    """Without the specks: parts of at least a fifth of the largest."""
    parts, count = ndimage.label(mask)
    sizes = np.bincount(parts.ravel(), minlength=2)
    sizes[0] = 0
    return np.isin(parts, np.flatnonzero(sizes > 0.2 * sizes.max())) if count else mask


def slices(grey: np.ndarray, mask: np.ndarray, rng: np.random.Generator, *, name: str, most: int) -> Iterator[Object2d]:
    """Parts of the structure in random planes of all three directions, at least 60 pixels each."""
    for axis in range(3):
        area = mask.sum(tuple(other for other in range(3) if other != axis))
        for where in rng.permutation(np.flatnonzero(area > 60))[:most]:
            plane, drawn = (np.rot90(np.take(data, where, axis)) for data in (grey, mask))
            parts, count = ndimage.label(drawn)
            for number in range(1, count + 1):
                if (parts == number).sum() >= 60:
                    yield Object2d(np.ascontiguousarray(plane)[..., None], parts == number, name)


def threshold(root: Path, rng: np.random.Generator) -> Iterator[Object2d]:
    """Of the CT head: bone, and what it encloses in a plane."""
    volume = np.asarray(nibabel.load(root / "ct-mr/volumes/CT_pitch.nii.gz").dataobj)
    bone = ndimage.gaussian_filter(volume.astype(np.float32), 0.7) > 100
    yield from slices(volume, bone, rng, name="CT bone", most=20)
    for where in rng.permutation(volume.shape[2])[:40]:
        plane, drawn = np.rot90(volume[:, :, where]), np.rot90(bone[:, :, where])
        parts, count = ndimage.label(ndimage.binary_fill_holes(drawn) & ~drawn)
        for number in range(1, count + 1):
            if (parts == number).sum() > 150:
                yield Object2d(np.ascontiguousarray(plane)[..., None], parts == number, f"CT hollow {where}")


def bodies(root: Path, rng: np.random.Generator, *, only: Only | None = None) -> Iterator[Object2d]:
    """Large targets: silhouettes of heads and bodies before dark air, and dark hollows inside them (CT lungs, air)."""
    for folder, share in (("brain_mri/images.zip", 0.4), ("vqa_rad/images.zip", 1.0)):
        archive = Archive(root / folder)
        for name in archive.names():
            wanted = only is None or only(name)
            if wanted and zlib.crc32(f"body {name}".encode()) % 1000 < 1000 * share:
                image = archive.image(name)
                grey = ndimage.gaussian_filter(image.mean(2), 1.5)
                body = silhouette(grey)
                if body is not None:
                    yield Object2d(image, body, name)
                    yield from (Object2d(image, part, name) for part in hollows(grey, body, most=share * 4))


def silhouette(grey: Float[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"] | None:
    """The largest bright part, filled, of an image whose rim is mostly dark; None where that is no body."""
    from skimage.filters import threshold_otsu

    if np.quantile(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]]), 0.6) > 25:
        return None
    bright = ndimage.binary_fill_holes(grey > max(15, 0.35 * threshold_otsu(grey)))
    parts, count = ndimage.label(ndimage.binary_opening(bright, iterations=3))
    if not count:
        return None
    body = parts == 1 + np.bincount(parts.ravel())[1:].argmax()
    boxed = np.prod([np.ptp(axis) + 1 for axis in np.nonzero(body)])
    return body if 0.12 < body.mean() < 0.85 and body.sum() > 0.55 * boxed else None


def hollows(
    grey: Float[np.ndarray, "h w"], body: Bool[np.ndarray, "h w"], *, most: float
) -> Iterator[Bool[np.ndarray, "h w"]]:
    """Dark, compact parts well inside the body, the largest first."""
    from skimage.filters import threshold_otsu

    inner = ndimage.binary_erosion(body, iterations=max(4, int(0.03 * max(body.shape))))
    dark = ndimage.binary_opening(inner & (grey < 0.6 * threshold_otsu(grey[body])), iterations=2)
    parts, _ = ndimage.label(dark)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    for number in np.argsort(-sizes)[: int(most)]:
        part = ndimage.binary_fill_holes(ndimage.uniform_filter((parts == number).astype(np.float32), 5) > 0.5)
        sides = [np.ptp(axis) + 1 for axis in np.nonzero(part)] if part.any() else [1, 1]
        if sizes[number] > 0.015 * body.sum() and part.sum() > 0.4 * sides[0] * sides[1]:
            yield part
