"""`hilum ask --explain`: a sheet or maps beside the answer, a summary in the report, and what is refused early."""

import json

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image as Pillow

from hilum import registry
from hilum.app import explaining
from hilum.values.errors import BadInput

BOX = ("--box", "8,6:32,30")
LABELS = ("--labels", "bright, dark")


def test_labels_get_a_sheet_and_a_summary(hilum, shade, disc, tmp_path):
    ended = hilum("ask", "shade", disc, *LABELS, "--explain", tmp_path / "why.png")
    assert ended.code == 0, ended.err
    assert "peak" in ended.out
    assert ended.out.rstrip().endswith("why.png")
    with Pillow.open(tmp_path / "why.png") as sheet:
        assert sheet.width > 900


def test_the_report_says_method_peak_and_share(hilum, shade, disc, tmp_path):
    ended = hilum("ask", "shade", disc, *LABELS, "--explain", tmp_path / "why.npz", "--json")
    found = json.loads(ended.out)
    bright, dark = found["explanation"]["maps"]
    assert "blurred" in found["explanation"]["method"]
    assert np.hypot(bright["peak"][0] - 20, bright["peak"][1] - 18) < 9
    assert 0.1 < bright["share_in_top_tenth"] <= 1
    assert dark["name"] == "dark"
    assert found["labels"][0]["name"] == "bright"
    assert found["written"] == [str(tmp_path / "why.npz")]
    with np.load(tmp_path / "why.npz") as held:
        assert held["maps"].shape == (2, 40, 60)
        assert held["maps"].dtype == np.float32
        assert list(held["names"]) == ["bright", "dark"]


def test_a_mask_is_explained_by_its_prompts(hilum, threshold, disc, tmp_path):
    ended = hilum("ask", "threshold", disc, *BOX, "--explain", tmp_path / "why.png")
    assert ended.code == 0, ended.err
    assert "moved up x by a tenth" in ended.out
    assert (tmp_path / "why.png").is_file()
    report = json.loads(hilum("ask", "threshold", disc, *BOX, "--explain", tmp_path / "b.png", "--json").out)
    assert {each["object"] for each in report["explanation"]["prompts"]} == {"object"}
    assert all(0 <= each["dice"] <= 1 for each in report["explanation"]["prompts"])


def test_several_images_have_a_sheet_each(hilum, threshold, disc, tmp_path):
    disc.with_name("two.png").write_bytes(disc.read_bytes())
    (tmp_path / "out").mkdir()
    ended = hilum("ask", "threshold", disc, disc.with_name("two.png"), *BOX, "--explain", tmp_path / "out")
    assert ended.code == 0, ended.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["disc_explained.png", "two_explained.png"]


def test_what_cannot_be_written_is_refused_before_the_look(hilum, shade, disc, tmp_path):
    ended = hilum("ask", "shade", disc, *LABELS, "--explain", tmp_path / "why.docx")
    assert ended.code == 2
    assert "an explanation is written as .png, .npz, .nii, .nii.gz, .nrrd, .json" in ended.err


def test_a_system_without_scores_or_masks_is_refused():
    with pytest.raises(BadInput, match="gives embedding"):
        explaining.refuse(registry.find("retfound").tiny())


def test_maps_of_a_volume_lie_on_its_grid_as_nifti_and_nrrd(hilum, threshold, tmp_path):
    rng, affine = np.random.default_rng(0), np.array([[-0.8, 0.9, 0, 5], [0.6, 1.2, 0, -7], [0, 0, 3, 2], [0, 0, 0, 1]])
    light = np.where(np.indices((20, 18, 6)).sum(0) % 20 < 10, 200, 20) + rng.integers(0, 9, (20, 18, 6))
    nibabel.Nifti1Image(light.astype(np.int16), affine).to_filename(tmp_path / "scan.nii.gz")
    boxes = ("--box", "a=2,3,2:9,9,4", "--box", "b=8,8,1:15,14,3")
    for name in ("why.nii.gz", "why.nrrd", "why.npz"):
        ended = hilum("ask", "threshold", tmp_path / "scan.nii.gz", *boxes, "--explain", tmp_path / name)
        assert ended.code == 0, ended.err
    with np.load(tmp_path / "why.npz") as held:
        maps = held["maps"]  # (names, z, y, x)
    assert maps.max() > 0
    nifti, scan = nibabel.load(tmp_path / "why.nii.gz"), nibabel.load(tmp_path / "scan.nii.gz")
    np.testing.assert_array_equal(nifti.affine, scan.affine)
    np.testing.assert_array_equal(nifti.get_fdata(dtype=np.float32).transpose(3, 2, 1, 0), maps)
    assert json.loads(nifti.header.extensions[0].get_content())["maps"] == ["a", "b"]
    nrrd, grid = (sitk.ReadImage(str(tmp_path / name)) for name in ("why.nrrd", "scan.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(nrrd), np.moveaxis(maps, 0, -1))
    index = (19.0, 17.0, 5.0)
    there, here = (each.TransformContinuousIndexToPhysicalPoint(index) for each in (nrrd, grid))
    np.testing.assert_allclose(there, here, atol=1e-3)
    assert nrrd.GetMetaData("map 2") == "b"


def test_one_map_is_a_volume_and_not_a_series(hilum, threshold, tmp_path):
    light = np.where(np.indices((20, 18, 6)).sum(0) % 20 < 10, 200, 20)
    nibabel.Nifti1Image(light.astype(np.int16), np.eye(4)).to_filename(tmp_path / "scan.nii")
    for name, read in (("one.nii", lambda path: nibabel.load(path).shape), ("one.nrrd", lambda path: _size(path))):
        words = ("--box", "2,3,2:9,9,4", "--explain", tmp_path / name)
        assert hilum("ask", "threshold", tmp_path / "scan.nii", *words).code == 0
        assert read(tmp_path / name) == (20, 18, 6)


def _size(path):
    image = sitk.ReadImage(str(path))
    assert image.GetNumberOfComponentsPerPixel() == 1
    return image.GetSize()


def test_nifti_of_a_picture_and_labels_of_a_volume_are_refused_in_a_sentence(hilum, shade, disc, tmp_path):
    ended = hilum("ask", "shade", disc, *LABELS, "--explain", tmp_path / "why.nii.gz")
    assert ended.code == 2
    assert "this picture has no such place: write the maps as .png, .npz or .nrrd" in ended.err
    nibabel.Nifti1Image(np.zeros((8, 7, 3), np.int16), np.eye(4)).to_filename(tmp_path / "scan.nii")
    ended = hilum("ask", "shade", tmp_path / "scan.nii", *LABELS, "--explain", tmp_path / "why.nii.gz")
    assert ended.code == 2
    assert "of a volume give one plane" in ended.err
    assert not (tmp_path / "why.nii.gz").exists()
