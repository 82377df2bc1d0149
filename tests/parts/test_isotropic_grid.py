"""To cubes and back: MONAI's numbers on the way there, the user's own grid on the way back."""

import numpy as np
import pytest
import torch

from hilum.parts.isotropic_grid import IsotropicGrid
from hilum.values import geometry
from hilum.values.image import from_array
from phantoms import ct_affine

GRID = (10, 32, 40)
KINDS = ("axial", "oblique", "tilted", "sagittal")


def smooth(grid=GRID) -> np.ndarray:
    rng = np.random.default_rng(0)
    z, y, x = (np.linspace(0, 3, size) for size in grid)
    waves = np.sin(z)[:, None, None] + np.cos(2 * y)[:, None] + np.sin(3 * x)
    return (100 * waves + rng.normal(0, 5, grid)).astype(np.float32)


def blob(affine: np.ndarray, radius: float) -> np.ndarray:
    z, y, x = np.indices(GRID)
    places = np.stack([x, y, z], axis=-1) @ affine[:3, :3].T + affine[:3, 3]
    middle = affine[:3, :3] @ ((np.array(GRID[::-1]) - 1) / 2) + affine[:3, 3]
    return (((places - middle) / radius) ** 2).sum(-1) < 1


@pytest.mark.parametrize("kind", KINDS)
def test_axes_point_right_front_and_head_by_equal_steps(kind):
    grid = IsotropicGrid.over(ct_affine(kind), GRID, 1.5)
    steps = grid.affine[:3, :3]
    np.testing.assert_allclose(steps.T @ steps, 2.25 * np.eye(3), atol=1e-9)
    assert (np.diag(steps) * (-1, -1, 1) > 0.7).all()  # LPS: to the right and to the front is down


@pytest.mark.parametrize("kind", ["axial", "oblique", "sagittal"])
def test_cubes_and_numbers_are_monais(kind):
    from monai.data import MetaTensor
    from monai.transforms import Orientation, Spacing

    affine, values = ct_affine(kind), smooth()
    grid = IsotropicGrid.over(affine, GRID, 1.5)
    nibabels = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # RAS, as NIfTI has it
    theirs = MetaTensor(torch.from_numpy(values.transpose(2, 1, 0).copy())[None], affine=torch.tensor(nibabels))
    theirs = Spacing((1.5, 1.5, 1.5), mode="bilinear")(Orientation("RAS", labels=None)(theirs))
    assert grid.shape == tuple(theirs.shape[1:])
    np.testing.assert_allclose(np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.affine, theirs.affine.numpy(), atol=1e-6)
    np.testing.assert_allclose(grid.sampled(values), theirs[0].numpy(), atol=0.02)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [0.6, 1.5])
def test_a_mask_returns_to_its_own_voxels(kind, step):
    affine = ct_affine(kind)
    mask = blob(affine, 9.0)
    grid = IsotropicGrid.over(affine, GRID, step)
    back = grid.returned(grid.sampled(mask.astype(np.uint8), order=0) > 0)
    assert back.shape == GRID
    overlap = 2 * (back & mask).sum() / (back.sum() + mask.sum())
    assert overlap > (0.98 if step < 1 else 0.9)


@pytest.mark.parametrize("kind", KINDS)
def test_each_voxel_has_the_cube_that_its_centre_lies_in(kind):
    affine = ct_affine(kind)
    grid = IsotropicGrid.over(affine, GRID, 1.5)
    mask = np.random.default_rng(0).random(grid.shape) < 0.3
    back = grid.returned(mask)
    voxels = np.array(list(np.ndindex(*GRID)))[::7]
    cubes = geometry.apply(geometry.inverse(grid.affine), geometry.apply(affine, voxels[:, ::-1]))
    clear = (np.abs(cubes - np.round(cubes)) < 0.49).all(axis=1)
    places = np.round(cubes).astype(int)
    inside = ((places >= 0) & (places < grid.shape)).all(axis=1)
    wanted = np.array([bool(ok and mask[tuple(place)]) for ok, place in zip(inside, places, strict=True)])
    assert clear.mean() > 0.8
    np.testing.assert_array_equal(back[tuple(voxels.T)][clear], wanted[clear])


def test_the_same_grid_gives_back_the_same_mask():
    affine = geometry.with_step(np.diag([-1.5, -1.5, 1.5]), np.array([10.0, 20.0, -30.0]))
    mask = np.random.default_rng(0).random(GRID) < 0.5
    grid = IsotropicGrid.over(affine, GRID, 1.5)
    assert grid.shape == GRID[::-1]
    np.testing.assert_array_equal(grid.sampled(mask.astype(np.uint8), order=0) > 0, mask.transpose(2, 1, 0))
    np.testing.assert_array_equal(grid.returned(mask.transpose(2, 1, 0)), mask)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_another_order_of_storage_gives_the_same_cubes(axis):
    image = from_array(smooth()[None], spacing=(0.75, 0.75, 3.0))  # voxels halfway between cubes
    turned = image.flipped(axis)
    one, other = (IsotropicGrid.over(each.affine, each.grid, 1.5) for each in (image, turned))
    np.testing.assert_array_equal(one.sampled(image.array[0]), other.sampled(turned.array[0]))
    mask = np.random.default_rng(0).random(one.shape) < 0.5
    np.testing.assert_array_equal(np.flip(other.returned(mask), 2 - axis), one.returned(mask))


def test_a_tilted_gantry_is_straightened_and_air_lies_outside():
    affine = ct_affine("tilted")
    grid = IsotropicGrid.over(affine, GRID, 1.5)
    assert geometry.shear(grid.affine) < 1e-9 < geometry.shear(affine)
    assert (grid.sampled(np.full(GRID, 40, dtype=np.int16)) == -1024).any()
