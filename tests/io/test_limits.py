"""Caps are checked before anything is decoded, and every refusal has both numbers and the name of the flag."""

import pytest

from hilum.io import limits
from hilum.values.errors import BadInput, TooLarge


def test_a_grid_within_the_caps_passes():
    limits.check_voxels((10, 512, 512), 4, "ct.nii")


def test_too_many_voxels_are_refused_with_both_numbers_and_the_flag(monkeypatch):
    monkeypatch.setenv("HILUM_MAX_VOXELS", "1e3")
    with pytest.raises(TooLarge, match=r"bomb.nii claims 11 x 10 x 10 = 1,100 voxels, the cap is 1,000.*MAX_VOXELS"):
        limits.check_voxels((11, 10, 10), 1, "bomb.nii")


def test_too_many_bytes_are_refused_though_the_voxels_are_few(monkeypatch):
    monkeypatch.setenv("HILUM_MAX_BYTES", "4000")
    with pytest.raises(TooLarge, match=r"unpacks to 8,000 bytes, the cap is 4,000"):
        limits.check_voxels((10, 10, 10), 8, "bomb.nii")


def test_sizes_that_overflow_64_bits_are_still_too_large():
    with pytest.raises(TooLarge):
        limits.check_voxels((2**40, 2**40), 1, "bomb.nii")


@pytest.mark.parametrize("shape", [(), (0, 5), (-3, 5)])
def test_a_side_of_nothing_is_refused(shape):
    with pytest.raises(BadInput, match="every side must be at least 1"):
        limits.check_voxels(shape, 1, "odd.nii")


@pytest.mark.parametrize("text", ["many", "-1", "0", "inf", "nan"])
def test_a_cap_that_is_no_number_is_refused_by_its_name(monkeypatch, text):
    monkeypatch.setenv("HILUM_MAX_VOXELS", text)
    with pytest.raises(BadInput, match="HILUM_MAX_VOXELS"):
        limits.check_voxels((1,), 1, "ct.nii")


def test_files_that_are_absent_empty_or_too_long_are_refused(tmp_path, monkeypatch):
    with pytest.raises(BadInput, match=r"no such file: gone\.dcm"):
        limits.check_file(tmp_path / "gone.dcm")
    (tmp_path / "empty.dcm").touch()
    with pytest.raises(BadInput, match=r"empty\.dcm is empty"):
        limits.check_file(tmp_path / "empty.dcm")
    (tmp_path / "long.dcm").write_bytes(bytes(100))
    assert limits.check_file(tmp_path / "long.dcm") == 100
    monkeypatch.setenv("HILUM_MAX_FILE_BYTES", "99")
    with pytest.raises(TooLarge, match=r"long\.dcm has 100 bytes, the cap is 99"):
        limits.check_file(tmp_path / "long.dcm")


def test_folders_of_too_many_files_are_refused(monkeypatch):
    monkeypatch.setenv("HILUM_MAX_FILES", "3")
    limits.check_count(3, "folder")
    with pytest.raises(TooLarge, match="more than 3 files"):
        limits.check_count(4, "folder")
