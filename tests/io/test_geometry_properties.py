"""What is written is read back as it was, and nibabel and SimpleITK agree on where it lies."""

import itertools

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from grids import PROVENANCE, affines, answer_on, picture, shapes, volume, volumes
from hypothesis import given, settings
from hypothesis import strategies as st

import phantoms
from hilum.io import nifti, nrrd
from hilum.io.read import read
from hilum.io.write import write
from hilum.values import geometry
from hilum.values.answers import Segmentation
from hilum.values.image import Image

SMALL = settings(max_examples=30, deadline=None)
LABEL_MAPS = ("mask.nii", "mask.nii.gz", "mask.nrrd", "mask.seg.nrrd")
MM = 1e-3


def corners(image: Image) -> np.ndarray:
    """(8, 3) voxel indices (x, y, z)."""
    return np.array(list(itertools.product(*[(0, side - 1) for side in image.grid[::-1]])), dtype=float)


def same_place(image: Image, other: Image) -> None:
    at = corners(image)
    assert np.abs(geometry.apply(image.affine, at) - geometry.apply(other.affine, at)).max() < MM


def comes_back(image, path):
    """The property: read(write(x)) is x, voxels and place."""
    answer = answer_on(image)
    back = read(write(answer, path, force=True))
    for number, mask in enumerate(answer.masks, start=1):
        assert np.array_equal(back.array[0] == number, mask)
    assert back.space == "patient"
    same_place(image, back)


def nibabel_agrees(image, path):
    """The property: nibabel finds the same voxels at the same places, in RAS."""
    answer = answer_on(image)
    loaded = nib.load(write(answer, path, force=True))
    x, y, z = corners(image).T.astype(int)
    ras = nib.affines.apply_affine(loaded.affine, corners(image))
    assert np.abs(ras * [-1, -1, 1] - geometry.apply(image.affine, corners(image))).max() < MM
    labels = sum(number * mask for number, mask in enumerate(answer.masks, start=1))
    assert np.array_equal(np.asarray(loaded.dataobj)[x, y, z], labels[z, y, x])


def simpleitk_agrees(image, path):
    """The property: ITK, which knows LPS only, finds the same voxels at the same places."""
    answer = answer_on(image)
    loaded = sitk.ReadImage(str(write(answer, path, force=True)))
    labels = sum(number * mask for number, mask in enumerate(answer.masks, start=1))
    for at in corners(image).astype(int).tolist():
        there = np.array(loaded.TransformIndexToPhysicalPoint(at))
        assert np.abs(there - geometry.apply(image.affine, np.array([at]))[0]).max() < MM
        assert loaded.GetPixel(*at) == labels[tuple(at[::-1])]


@pytest.mark.parametrize("name", LABEL_MAPS)
def test_what_is_written_is_read_back(name, tmp_path):
    @SMALL
    @given(volumes())
    def over_random_grids(image):
        comes_back(image, tmp_path / name)

    over_random_grids()


@pytest.mark.parametrize("name", LABEL_MAPS[:2])
def test_nibabel_agrees_on_any_grid(name, tmp_path):
    @SMALL
    @given(volumes())
    def over_random_grids(image):
        nibabel_agrees(image, tmp_path / name)

    over_random_grids()


@pytest.mark.parametrize("name", LABEL_MAPS)
def test_simpleitk_agrees_where_it_can_represent_the_grid(name, tmp_path):
    @SMALL
    @given(volumes(sheared=False))
    def over_random_grids(image):
        simpleitk_agrees(image, tmp_path / name)

    over_random_grids()


def through_simpleitk(image: Image, path) -> Image:
    written = sitk.GetImageFromArray(image.array[0])
    written.SetSpacing(geometry.spacing(image.affine).tolist())
    written.SetDirection(geometry.directions(image.affine).reshape(-1).tolist())
    written.SetOrigin(image.affine[:3, 3].tolist())
    sitk.WriteImage(written, str(path))
    return read(path)


@pytest.mark.parametrize("name", ["itk.nii", "itk.nii.gz", "itk.nrrd", "itk.nhdr", "itk.mha", "itk.mhd"])
def test_what_simpleitk_writes_is_read_where_it_lies(name, tmp_path):
    @SMALL
    @given(volumes(sheared=False))
    def over_random_grids(image):
        back = through_simpleitk(image, tmp_path / name)
        assert np.array_equal(back.array, image.array)
        same_place(image, back)

    over_random_grids()


@pytest.mark.parametrize("version", [nib.Nifti1Image, nib.Nifti2Image])
def test_a_nifti_mask_has_its_scans_very_affine(version, tmp_path):
    """sform, qform and codes are copied: `nib.load(out).affine` is `nib.load(in).affine`, to the last bit."""

    @SMALL
    @given(
        shapes(), affines(), affines(sheared=False), st.sampled_from([(0, 1), (1, 0), (2, 1), (1, 1), (4, 3), (0, 0)])
    )
    def over_random_headers(shape, sform, qform, codes):
        scan = version(np.zeros(shape[::-1], dtype=np.int16), None)
        scan.set_sform(sform, code=codes[0])
        scan.set_qform(qform, code=codes[1])
        nib.save(scan, tmp_path / "scan.nii")
        before = nib.load(tmp_path / "scan.nii")
        stated = None if any(codes) else tuple(before.header.get_zooms())
        image = read(tmp_path / "scan.nii", spacing=stated)
        after = nib.load(write(answer_on(image), tmp_path / "mask.nii.gz", force=True))
        assert np.array_equal(before.affine, after.affine)
        assert (int(after.header["sform_code"]), int(after.header["qform_code"])) == codes
        assert np.array_equal(before.header["pixdim"][:4], after.header["pixdim"][:4])
        assert np.array_equal(before.get_sform(), after.get_sform())
        assert np.array_equal(before.get_qform(), after.get_qform())
        assert int(before.header["xyzt_units"]) == int(after.header["xyzt_units"])

    over_random_headers()


@SMALL
@given(volumes(), st.integers(0, 2))
def test_a_flipped_scan_gives_a_mask_at_the_same_place(tmp_path_factory, image, axis):
    """Also when the image came from a NIfTI header that no longer tells where the flipped array lies."""
    folder = tmp_path_factory.mktemp("flip")
    scan = read(write(answer_on(image), folder / "scan.nii"))
    flipped = scan.flipped(axis)
    back = read(write(answer_on(flipped), folder / "mask.nii"))
    same_place(flipped, back)


def test_shear_keeps_the_sform_alone(tmp_path):
    affine = geometry.with_step(np.array([[0.9, 0, 0], [0, 0.6578, 0], [0, 0.2394, 2.5]]), np.array([-10.0, -20, 5]))
    header = nib.load(write(answer_on(volume(affine=affine)), tmp_path / "tilted.nii")).header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 0)
    assert header.get_zooms() == pytest.approx(tuple(geometry.spacing(affine)))
    straight = nib.load(write(answer_on(volume()), tmp_path / "straight.nii"))
    assert (int(straight.header["sform_code"]), int(straight.header["qform_code"])) == (1, 1)
    assert np.allclose(straight.get_sform(), straight.get_qform(), atol=1e-5)


@pytest.mark.parametrize("kind", ["tilted", "oblique"])
@pytest.mark.parametrize("name", LABEL_MAPS)
def test_a_mask_of_a_tilted_or_oblique_ct_lands_on_its_voxels(kind, name, tmp_path):
    (tmp_path / "ct").mkdir()
    phantoms.ct_series(tmp_path / "ct", kind)
    scan = read(tmp_path / "ct")
    mask = phantoms.ellipsoid(scan.affine, scan.grid)
    answer = Segmentation(mask[None], ("ball",), (1.0,), scan, PROVENANCE)
    back = read(write(answer, tmp_path / name))
    assert mask.any()
    assert np.array_equal(back.array[0] == 1, mask)
    same_place(scan, back)
    truth = phantoms.ct_affine(kind)
    assert np.abs(geometry.apply(truth, corners(scan)) - geometry.apply(back.affine, corners(scan))).max() < MM


@pytest.mark.parametrize("space", ["plane", "pixel"])
def test_a_picture_comes_back_as_a_picture(space, tmp_path):
    answer = answer_on(picture(space=space))
    for name in ("mask.png", "mask.nrrd", "mask.seg.nrrd"):
        back = read(write(answer, tmp_path / name))
        assert back.grid == answer.image.grid
        if name != "mask.png":
            assert back.space == space
            assert back.spacing == answer.image.spacing
            assert np.array_equal(back.array[0] == 2, answer.masks[1])


def test_one_plane_of_a_volume_keeps_its_place(tmp_path):
    whole = volume()
    section = whole.section(0)
    plane = whole.plane(section, 2)
    for name in ("mask.nii", "mask.nrrd"):
        back = read(write(answer_on(plane), tmp_path / name))
        assert back.grid == (1, *plane.grid)
        at = np.array([[0.0, 0, 0], [3, 2, 0]])
        assert np.allclose(geometry.apply(back.affine, at), geometry.apply(plane.affine, at), atol=MM)


LEFT_IS_RIGHT = np.diag([1.0, -1.0, 1.0, 1.0])
BROKEN = {
    "nifti writes and reads another left": (nifti, "RAS_LPS", LEFT_IS_RIGHT, "mask.nii"),
    "nrrd reads another left": (nrrd, "SPACES", {"left-posterior-superior": (-1.0, 1.0, 1.0)}, "mask.nrrd"),
}


@pytest.mark.parametrize("case", BROKEN, ids=str)
def test_a_broken_sign_is_noticed(case, monkeypatch, tmp_path):
    module, rule, wrong, name = BROKEN[case]
    holds = comes_back if module is nrrd else simpleitk_agrees
    image = volume(affine=volume().flipped(1).affine)
    holds(image, tmp_path / name)
    monkeypatch.setattr(module, rule, wrong)
    with pytest.raises(AssertionError):
        holds(image, tmp_path / name)


def test_a_broken_nifti_rule_is_noticed_by_nibabel_and_by_reading_others_files(monkeypatch, tmp_path):
    image = volume()
    monkeypatch.setattr(nifti, "RAS_LPS", LEFT_IS_RIGHT)
    with pytest.raises(AssertionError):
        nibabel_agrees(image, tmp_path / "mask.nii")
    with pytest.raises(AssertionError):
        same_place(image, through_simpleitk(image, tmp_path / "itk.nii"))
