"""Each thing that the check is for is found, and a sound folder is sound."""

import nibabel
import numpy as np
import pytest
from PIL import Image

from hilum.adapt.data_check import check, difference_hash


@pytest.fixture
def folder(tmp_path):
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    for case in range(5):
        write(tmp_path, f"p{case}__0", case)
    return tmp_path


def write(folder, name, seed, *, labelled=True):
    rng = np.random.default_rng(seed)
    rough = Image.fromarray(rng.integers(0, 255, (6, 7), dtype=np.uint8)).resize((70, 60), Image.Resampling.BICUBIC)
    rough.save(folder / "images" / f"{name}.png")
    label = np.zeros((60, 70), np.uint8)
    label[10:30, 10:30] = labelled
    Image.fromarray(label).save(folder / "labels" / f"{name}.png")


def sentences(folder, *, grave):
    return [each.sentence for each in check(folder).findings if each.grave == grave]


def test_a_sound_folder_is_sound(folder):
    found = check(folder)
    assert found.sound
    assert found.findings == ()
    assert len(found.cases) == 5


def test_what_cannot_be_read_and_what_does_not_fit_is_grave(folder):
    (folder / "images" / "p0__0.png").write_bytes(b"\x89PNG\r\n\x1a\ncut")
    Image.fromarray(np.ones((20, 20), np.uint8)).save(folder / "labels" / "p1__0.png")
    found = sentences(folder, grave=True)
    assert len(found) == 2
    assert any("p0__0.png" in sentence for sentence in found)
    assert any("the image is (60, 70), its label map (20, 20)" in sentence for sentence in found)
    assert not check(folder).sound


def test_a_label_map_that_lies_elsewhere_is_grave(tmp_path):
    for kind, shift in (("images", 0.0), ("labels", 3.0)):
        (tmp_path / kind).mkdir()
        affine = np.diag([1.0, 1.0, 2.0, 1.0])
        affine[0, 3] = shift
        values = np.zeros((12, 10, 8), np.int16)
        values[2:8, 2:8, 2:6] = 1
        for case in ("a", "b"):
            nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / kind / f"{case}.nii.gz")
    assert any("affine differs from the image's by up to 3 mm" in each for each in sentences(tmp_path, grave=True))


def test_duplicates_and_patients_across_the_split_are_warned_of(tmp_path):
    for part in ("train", "test"):
        for kind in ("images", "labels"):
            (tmp_path / part / kind).mkdir(parents=True)
    for case in range(3):
        write(tmp_path / "train", f"p{case}__0", case)
    write(tmp_path / "test", "p9__0", 0)
    write(tmp_path / "test", "p1__7", 77)
    found = sentences(tmp_path, grave=False)
    assert any("train/p0__0 and test/p9__0" in each or "test/p9__0 and train/p0__0" in each for each in found)
    assert any("both sides of the split" in each for each in found)
    assert "patient p1 is in test and in train: split by patient" in found
    assert len(found) == 2


def test_nothing_labelled_is_warned_of(folder):
    write(folder, "p9__0", 9, labelled=False)
    assert any("p9__0: nothing is labelled" in each for each in sentences(folder, grave=False))


def test_the_hash_forgives_brightness_and_size_not_content():
    rng = np.random.default_rng(0)
    rough = Image.fromarray(rng.integers(0, 255, (6, 7), dtype=np.uint8))
    grey = np.asarray(rough.resize((70, 60), Image.Resampling.BICUBIC)) / 255
    smaller = np.asarray(rough.resize((50, 44), Image.Resampling.BICUBIC)) / 255
    assert (difference_hash(grey) != difference_hash(0.7 * smaller + 0.1)).sum() <= 4
    assert (difference_hash(grey) != difference_hash(rng.random((60, 70)))).sum() > 12
