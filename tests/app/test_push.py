"""`hilum ask` of a series on a DICOMweb server, and the SEG back to it."""

import json

import highdicom
import numpy as np
import pydicom
import pytest

import hilum as library
from dicomweb_server import Archive, serving
from phantoms import ct_series

pytest.importorskip("dicomweb_client", reason="the extra dicomweb is not installed")

BOX = ("--box", "12,8,3:28,24,6")


@pytest.fixture
def archive(tmp_path_factory, monkeypatch):
    """A server with a CT, at `archive.series`."""
    for name in ("TOKEN", "USER", "PASSWORD"):
        monkeypatch.delenv(f"HILUM_DICOMWEB_{name}", raising=False)
    folder = tmp_path_factory.mktemp("archive")
    ct_series(folder)
    head = pydicom.dcmread(next(folder.iterdir()))
    with serving(folder) as served:
        served.series = served.address(head.StudyInstanceUID, head.SeriesInstanceUID)
        yield served


def test_a_mask_goes_back_to_where_its_image_came_from(hilum, threshold, archive: Archive, tmp_path):
    ended = hilum("ask", "threshold", archive.series, *BOX, "-o", tmp_path / "out.seg.dcm", "--push", "--json")
    assert ended.code == 0, ended.err
    assert f"is stored at {archive.host}" in ended.err
    assert "Canary" not in ended.out + ended.err
    assert json.loads(ended.out)["image"] == [archive.series]
    (content,) = archive.stored
    assert content[:132] == bytes(128) + b"DICM"
    assert content == (tmp_path / "out.seg.dcm").read_bytes()
    assert np.array_equal(_mask(tmp_path / "out.seg.dcm", archive), _local(archive, hilum, tmp_path))


def _mask(path, archive: Archive) -> np.ndarray:
    """Of a SEG, by the slices that it refers to."""
    files = library.read(archive.folder).source.files
    uids = [pydicom.dcmread(file).SOPInstanceUID for file in files]
    seg = highdicom.seg.segread(path)
    return seg.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True)[..., 0]


def _local(archive: Archive, hilum, tmp_path) -> np.ndarray:
    """The same question about the files themselves."""
    ended = hilum("ask", "threshold", archive.folder, *BOX, "-o", tmp_path / "local.dcm")
    assert ended.code == 0
    return _mask(tmp_path / "local.dcm", archive)


def test_a_push_that_fails_leaves_the_mask_here(hilum, threshold, archive: Archive, tmp_path):
    archive.failing = "A700"
    ended = hilum("ask", "threshold", archive.series, *BOX, "-o", tmp_path / "out.dcm", "--push")
    assert ended.code == 1
    assert "is written, but was not pushed" in ended.err
    assert (tmp_path / "out.dcm").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("-o", "out.nii.gz"), "give -o FILE.dcm"),
        ((), "give -o FILE.dcm"),
    ],
)
def test_only_a_seg_is_pushed(hilum, threshold, archive: Archive, words, sentence):
    ended = hilum("ask", "threshold", archive.series, *BOX, *words, "--push")
    assert (ended.code, archive.requests) == (2, [])
    assert sentence in ended.err


def test_files_are_not_pushed(hilum, threshold, archive: Archive, tmp_path):
    ended = hilum("ask", "threshold", archive.folder, *BOX, "-o", tmp_path / "out.dcm", "--push")
    assert ended.code == 2
    assert "is no dicomweb:// address" in ended.err


def test_several_series_each_have_their_mask(hilum, threshold, archive: Archive, tmp_path):
    ended = hilum("ask", "threshold", archive.series, archive.series[:-1], *BOX, "-o", tmp_path, "--push")
    assert ended.code == 1
    assert "1 of 2 images failed" in ended.err
    assert len(archive.stored) == 1
    assert [path.name for path in tmp_path.iterdir()] == [f"series_{archive.series[-12:]}_mask.dcm"]


@pytest.mark.parametrize("change", [{"authorization": "Basic x"}, {"page": True}, {"status": 503}, {"trouble": "junk"}])
def test_what_goes_wrong_ends_with_two(hilum, threshold, archive: Archive, tmp_path, change):
    for name, value in change.items():
        setattr(archive, name, value)
    ended = hilum("ask", "threshold", archive.series, *BOX, "-o", tmp_path / "out.nii.gz")
    assert ended.code == 2
    assert "Canary" not in ended.err
    assert list(tmp_path.iterdir()) == []


def test_a_series_is_inspected_where_it_is(hilum, archive: Archive):
    ended = hilum("inspect", archive.series)
    assert ended.code == 0
    assert "40 × 32 × 10 voxels" in ended.out
    assert "Canary" not in ended.out + ended.err


def test_commands_that_read_files_say_so(hilum, archive: Archive, tmp_path):
    ended = hilum("ask", archive.series, "--mask", archive.series, "-o", tmp_path / "out.nii.gz")
    assert ended.code == 2
    assert "here a file is wanted" in ended.err
