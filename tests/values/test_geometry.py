"""Where voxels lie, and how planes are shown: claims over random grids."""

import itertools

import numpy as np
import pytest
from grids import affines, volume, volumes
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.values import geometry
from hilum.values.geometry import Section

SMALL = settings(max_examples=60, deadline=None)
SECTIONS = [
    Section(*order, *flips)
    for order in itertools.permutations((0, 1, 2))
    for flips in itertools.product((False, True), repeat=3)
]


def voxel_of(image, value):
    """(x, y, z) of the voxel with this value, where values count the voxels."""
    return np.array([np.unravel_index(int(value), image.grid)[::-1]], dtype=float)


def flipping_changes_nothing(image):
    """The property: reverse any axis of the array with its affine; every radiological picture stays the same."""
    for axis, normal in itertools.product((0, 1, 2), (0, 1, 2)):
        flipped = image.flipped(axis)
        shown = image.section(normal).planes(image.array)
        assert np.array_equal(shown, flipped.section(normal).planes(flipped.array)), (axis, normal)


def voxels_keep_their_place(image):
    """The property: a voxel found by its value lies at the same mm in the image and in the flipped image."""
    for axis in (0, 1, 2):
        flipped = image.flipped(axis)
        for value in image.array.reshape(-1)[[0, 1, -1]]:
            index = np.argwhere(flipped.array[0] == value)[:, ::-1].astype(float)
            there = geometry.apply(flipped.affine, index)
            assert np.allclose(there, geometry.apply(image.affine, voxel_of(image, value)), atol=1e-6)


def planes_land_right(image):
    """The property: pixel (u, v) of plane n lies, by the plane's own affine, where its voxel lies by the image's."""
    for normal in (0, 1, 2):
        section = image.section(normal)
        shown = section.planes(image.array)[0]
        whole = section.affine(image.affine, image.grid)
        for n, v, u in itertools.product((0, len(shown) - 1), (0, shown.shape[1] - 1), (0, shown.shape[2] - 1)):
            wanted = geometry.apply(image.affine, voxel_of(image, shown[n, v, u]))
            plane = image.plane(section, n)
            assert plane.array[0, v, u] == shown[n, v, u]
            assert np.allclose(geometry.apply(plane.affine, np.array([[u, v, 0.0]])), wanted, atol=1e-6)
            assert np.allclose(geometry.apply(whole, np.array([[u, v, n]], dtype=float)), wanted, atol=1e-6)
            at = section.shown(voxel_of(image, shown[n, v, u]), image.grid)
            assert at.tolist() == [[u, v, n]]


def pictures_are_radiological(image):
    """The property: across never runs to the right or the front, down never to the front or the head."""
    for normal in (0, 1, 2):
        section = image.section(normal)
        across, down = section.affine(image.affine, image.grid)[:3, :2].T
        lps = geometry.nearest_axes(image.affine)
        assert across[lps[section.across]] > 0
        assert down[lps[section.down]] * (-1 if lps[section.down] == 2 else 1) > 0


PROPERTIES = [flipping_changes_nothing, voxels_keep_their_place, planes_land_right, pictures_are_radiological]


@pytest.mark.parametrize("holds", PROPERTIES, ids=lambda holds: holds.__name__)
def test_geometry_property_holds(holds):
    @SMALL
    @given(volumes())
    def over_random_grids(image):
        holds(image)

    over_random_grids()


def forgets_a_flip(section):
    """`geometry.section` with the sign of across broken."""

    def broken(affine, normal):
        right = section(affine, normal)
        return Section(right.normal, right.down, right.across, right.flip_down, False, right.flip_normal)

    return broken


def turns_the_origin(affine):
    """`Section.affine` that forgets the far end from which a reversed axis counts."""

    def broken(self, whole, shape):
        matrix = affine(self, whole, shape).copy()
        matrix[:3, 3] = whole[:3, 3]
        return matrix

    return broken


def breaks(holds, image):
    with pytest.raises(AssertionError):
        holds(image)


def test_a_broken_sign_is_noticed(monkeypatch):
    image = volume(affine=volume().flipped(0).affine)
    for holds in PROPERTIES:
        holds(image)
    with monkeypatch.context() as patch:
        patch.setattr(geometry, "section", forgets_a_flip(geometry.section))
        breaks(flipping_changes_nothing, image)
        breaks(pictures_are_radiological, image)
    with monkeypatch.context() as patch:
        patch.setattr(Section, "affine", turns_the_origin(Section.affine))
        breaks(planes_land_right, image)
    with monkeypatch.context() as patch:
        apply = geometry.apply
        patch.setattr(geometry, "apply", lambda affine, points: apply(affine @ np.diag([-1.0, 1, 1, 1]), points))
        breaks(voxels_keep_their_place, image)


@pytest.mark.parametrize("section", SECTIONS, ids=str)
def test_volume_undoes_planes(section):
    array = volume((3, 4, 5)).array
    assert np.array_equal(section.volume(section.planes(array)), array)
    assert np.shares_memory(section.planes(array), array)


@SMALL
@given(affines())
def test_letters_name_opposite_sides_of_three_different_axes(affine):
    sides = [geometry.letters(affine, axis) for axis in (0, 1, 2)]
    assert sorted("".join(sorted(pair)) for pair in sides) == ["AP", "IS", "LR"]


def test_letters_of_an_lps_grid():
    assert [geometry.letters(volume().affine, axis) for axis in (0, 1, 2)] == [("R", "L"), ("A", "P"), ("I", "S")]
    assert geometry.letters(volume().flipped(0).affine, 0) == ("L", "R")


@SMALL
@given(affines(), st.integers(0, 2))
def test_inverse_undoes_apply(affine, axis):
    points = np.eye(3)[axis : axis + 1] * 7 + 3
    assert np.allclose(geometry.apply(geometry.inverse(affine), geometry.apply(affine, points)), points, atol=1e-6)


@SMALL
@given(affines(sheared=False))
def test_without_shear_a_voxel_is_the_product_of_its_steps(affine):
    assert geometry.shear(affine) < 1e-9
    assert geometry.voxel_ml(affine) == pytest.approx(geometry.spacing(affine).prod() / 1000)


@SMALL
@given(affines(sheared=True))
def test_a_sheared_voxel_is_smaller_than_the_product_of_its_steps(affine):
    assert geometry.shear(affine) > 1e-3
    assert geometry.voxel_ml(affine) < geometry.spacing(affine).prod() / 1000


@pytest.mark.parametrize("shape", [(3, 3), (4,)])
def test_an_affine_is_four_by_four(shape):
    with pytest.raises(ValueError, match="4 x 4"):
        geometry.checked_affine(np.ones(shape))


def test_columns_must_span_space():
    flat = np.diag([1.0, 1.0, 0.0, 1.0])
    with pytest.raises(ValueError, match="span space"):
        geometry.checked_affine(flat)
    flat[2, :2] = 1.0
    with pytest.raises(ValueError, match="span space"):
        geometry.checked_affine(flat)


def test_voxels_may_be_nanometres_small():
    assert geometry.voxel_ml(geometry.checked_affine(np.diag([4e-6, 4e-6, 4e-6, 1.0]))) == pytest.approx(6.4e-20)


def test_thick_slices_are_looked_at_across():
    assert geometry.acquired_normal(np.diag([0.5, 3.0, 0.5, 1.0])) == 1
    assert geometry.acquired_normal(np.diag([1.0, 1.0, 1.2, 1.0])) == 2
