"""The front door of images: what a file is, what the user states, what is not there."""

import gzip
import hashlib
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from grids import answer_on, leftovers, picture, volume

from hilum.io import nifti
from hilum.io.read import kind_of, read
from hilum.io.write import write
from hilum.values.errors import BadInput, Failed


@pytest.fixture
def mask(tmp_path):
    """A NIfTI file."""
    return write(answer_on(volume()), tmp_path / "mask.nii")


def test_a_mistyped_name_is_answered_with_the_nearest_one(tmp_path):
    write(answer_on(picture(), 1), tmp_path / "film.png")
    with pytest.raises(BadInput) as said:
        read(tmp_path / "film.pmg")
    assert str(said.value) == f"no such file: {tmp_path}/film.pmg (did you mean {tmp_path}/film.png?)"


def test_a_name_like_no_other_is_just_not_there(tmp_path):
    for name in ("film.pmg", "none/film.png", "x" * 300, "null\0byte"):
        with pytest.raises(BadInput, match=r"^no such file: [^(]*(\(OSError\)\.|\(ValueError\)\.)?$"):
            read(tmp_path / name)


def test_content_decides_and_not_the_name(mask, tmp_path):
    for name in ("scan.png", "scan.dcm", "scan", "scan.nrrd"):
        path = tmp_path / name
        path.write_bytes(mask.read_bytes())
        assert read(path).source.format == "nifti"
    packed = tmp_path / "scan.nii"
    packed.write_bytes(gzip.compress(mask.read_bytes()))
    assert read(packed).grid == (4, 5, 6)


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n", "picture"),
        (b"\xff\xd8\xff\xe0", "picture"),
        (b"MM\0*", "picture"),
        (b"RIFF\0\0\0\0WEBP", "picture"),
        (b"NRRD0005\n", "nrrd"),
        (b"ObjectType = Image\n", "metaimage"),
        (b"\0" * 128 + b"DICM", "dicom"),
        (b"\x08\0\x05\0CS", "dicom"),
        ((348).to_bytes(4, "big"), "nifti"),
        ((540).to_bytes(4, "little"), "nifti"),
    ],
)
def test_the_first_bytes_tell_the_kind(start, kind, tmp_path):
    path = tmp_path / "unnamed"
    path.write_bytes(start + bytes(600))
    assert kind_of(path) == kind


def test_what_is_nothing_we_read_is_answered_with_what_we_read(tmp_path):
    (tmp_path / "notes.txt").write_text("no image at all")
    with pytest.raises(BadInput, match=r"notes\.txt is nothing that hilum reads: DICOM, NIfTI .*, PNG, JPEG"):
        read(tmp_path / "notes.txt")


def test_an_empty_file_is_empty(tmp_path):
    (tmp_path / "scan.nii").touch()
    with pytest.raises(BadInput, match=r"scan\.nii is empty"):
        read(tmp_path / "scan.nii")


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.nii")
    with pytest.raises(BadInput, match="a device or pipe"):
        read(tmp_path / "pipe.nii")


def test_folders_and_several_files_are_dicom(tmp_path, monkeypatch, mask):
    asked = []

    class Door:
        @staticmethod
        def read_dicom(path, **options):
            asked.append((path, options))
            return volume()

    monkeypatch.setitem(sys.modules, "hilum.io.dicom", Door)
    read(str(tmp_path), series="2", frame=1, spacing=(1.0, 1.0, 2.0))
    read([mask, str(mask)])
    assert asked == [
        (tmp_path, {"series": "2", "frame": 1, "spacing": (1.0, 1.0, 2.0)}),
        ([mask, mask], {"series": None, "frame": None, "spacing": None}),
    ]
    assert read([mask]).source.format == "nifti"


def test_series_are_of_dicom(mask):
    with pytest.raises(BadInput, match=r"--series picks among DICOM series, and mask\.nii is no DICOM file"):
        read(mask, series="1")


def test_a_stated_modality_is_noted(mask):
    image = read(mask, modality="ct")
    assert image.source.modality == "CT"
    assert image.source.notes == ("the modality CT was stated by the user; the file does not say it",)
    assert read(mask).source.modality is None


def test_a_file_that_says_another_modality_is_believed(tmp_path, monkeypatch):
    known = replace(volume(), source=replace(volume().source, modality="MR"))
    monkeypatch.setattr(nifti, "read_nifti", lambda *_, **__: known)
    path = write(answer_on(volume()), tmp_path / "scan.nii")
    assert read(path, modality="MR").source.notes == ()
    with pytest.raises(BadInput, match="its modality is MR; --modality CT contradicts it"):
        read(path, modality="CT")


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (OSError(5, "Input/output error"), Failed, "input/output error"),
        (PermissionError(13, "Permission denied"), BadInput, "permission denied"),
    ],
)
def test_whose_turn_it_is_when_a_file_cannot_be_read(error, kind, said, mask, monkeypatch):
    def fail(*_, **__):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", fail)
        with pytest.raises(kind, match=rf"cannot read mask\.nii: {said}"):
            read(mask)


def test_reading_leaves_nothing_behind(mask, tmp_path):
    PIL.Image.fromarray(np.zeros((4, 4), dtype=np.uint8)).save(tmp_path / "film.png")
    for name in ("mask.nii", "film.png"):
        read(tmp_path / name)
    assert leftovers(tmp_path, "mask.nii", "film.png") == []


def test_the_source_tells_the_file_and_its_hash(mask):
    source = read(mask).source
    assert source.files == (mask,)
    assert source.sha256 == hashlib.sha256(mask.read_bytes()).hexdigest()
