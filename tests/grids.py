"""Random grids in space, and answers on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from hilum.values.answers import Segmentation
from hilum.values.geometry import with_step
from hilum.values.image import Display, Image, Source
from hilum.values.provenance import Provenance

PROVENANCE = Provenance(system="scout", weights="pocket", version="0.1.0")


@st.composite
def shapes(draw, *, least_planes: int = 1):
    """(z, y, x), each axis of another length now and then, single planes included."""
    return draw(st.integers(least_planes, 5)), draw(st.integers(2, 6)), draw(st.integers(2, 7))


@st.composite
def affines(draw, *, sheared: bool | None = None):
    """Oriented, mirrored, oblique, anisotropic and (unless told otherwise) sheared grids, voxel index -> LPS mm."""
    unit = st.floats(-1.0, 1.0, width=32)
    steps = np.array([draw(st.floats(0.25, 5.0, width=32)) for _ in range(3)])
    order = list(draw(st.permutations((0, 1, 2))))
    signs = np.array([draw(st.sampled_from((-1.0, 1.0))) for _ in range(3)])
    turn = np.eye(3)
    if draw(st.booleans()):
        turn = Rotation.from_euler("xyz", [draw(unit) for _ in range(3)]).as_matrix()
    columns = turn @ (np.eye(3)[:, order] * signs)
    if draw(st.booleans()) if sheared is None else sheared:
        columns = columns @ np.array([[1.0, 0.0, 0.0], [0.0, 1.0, draw(st.floats(0.05, 0.5))], [0.0, 0.0, 1.0]])
    origin = np.array([draw(st.floats(-300.0, 300.0, width=32)) for _ in range(3)])
    return with_step(columns * steps, origin)


@st.composite
def volumes(draw, *, sheared: bool | None = None, least_planes: int = 1):
    """Volumes in a patient, with values that differ from voxel to voxel."""
    return volume(draw(shapes(least_planes=least_planes)), draw(affines(sheared=sheared)))


def volume(shape=(4, 5, 6), affine=None) -> Image:
    """A volume whose values count its voxels."""
    array = np.arange(np.prod(shape), dtype=np.int16).reshape(1, *shape)
    placed = with_step(np.diag([0.7, 0.9, 2.5]), np.array([-10.0, 20.0, 5.0])) if affine is None else affine
    return Image(array, placed, "patient", Display(0.0, float(max(1, array.max()))), Source())


def picture(shape=(5, 6), *, space="pixel") -> Image:
    """A grey picture whose values count its pixels."""
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(1, *shape)
    return Image(array, with_step(np.diag([0.5, 0.25, 1.0]), np.zeros(3)), space, Display(0.0, 255.0), Source())


def answer_on(image: Image, objects: int = 2, *, seed: int = 0, overlapping: bool = False) -> Segmentation:
    """Random objects on the image's grid, none of them empty; apart from each other unless told otherwise."""
    rng = np.random.default_rng(seed)
    owner = rng.permutation(np.arange(np.prod(image.grid)) % (objects + 1)).reshape(image.grid)
    masks = np.stack([owner == number for number in range(1, objects + 1)])
    if overlapping:
        masks |= rng.random(masks.shape) < 0.3
    names = tuple(f"object {number}" for number in range(1, objects + 1))
    return Segmentation(masks, names, tuple(0.5 + 0.1 * n for n in range(objects)), image, PROVENANCE)


def leftovers(folder: Path, *kept: str) -> list[str]:
    """Names in the folder beside the kept ones."""
    return sorted(each.name for each in folder.iterdir() if each.name not in kept)
