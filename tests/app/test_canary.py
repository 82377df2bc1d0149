"""No patient's name, id or date in what a command says or writes, whatever it is given; a SEG alone carries them.

A CT series is filled with canaries in every attribute of the standard that names, numbers or dates somebody; its files
and the folders above it are named after the patient too. Only what the user typed may be repeated.
"""

import gzip
import shutil
from pathlib import Path

import pydicom
import pytest
from PIL import Image as Pillow

from canaries import SONG, canaries
from phantoms import ct_series

BOX = ("--box", "12,8,3:28,24,6")


@pytest.fixture(scope="module")
def series(tmp_path_factory) -> Path:
    """<...>/Canary_Yellow_19340506/: the folder one works in; `scan` in it holds the series."""
    place = tmp_path_factory.mktemp("patients") / "Canary_Yellow_19340506"
    ct_series(place / "scan", "tilted", **canaries())
    for number, path in enumerate(sorted((place / "scan").iterdir())):
        path.rename(path.with_name(f"Canary_Yellow_{number:03d}.dcm"))
    return place


@pytest.fixture
def here(series, tmp_path, monkeypatch) -> Path:
    """A copy of it, and the current folder."""
    place = tmp_path / series.name
    shutil.copytree(series, place)
    monkeypatch.chdir(place)
    return place


def sings(content: bytes) -> list[bytes]:
    return SONG.findall(content)


def files(place: Path) -> dict[str, bytes]:
    """What was written beside the scan, unpacked as far as text can hide in it."""
    found = {}
    for path in place.iterdir():
        content = path.read_bytes() if path.is_file() else b""
        if path.name.endswith(".gz"):
            content = gzip.decompress(content)
        if path.suffix == ".png":
            with Pillow.open(path) as picture:
                content += repr(picture.info).encode()
        found[path.name] = content
    return found


def test_the_series_is_full_of_canaries(series):
    path = next((series / "scan").iterdir())
    assert len(canaries()) > 250
    assert len(sings(path.read_bytes())) > 250


@pytest.mark.parametrize(
    "words",
    [
        ("list",),
        ("doctor",),
        ("weights", "list"),
        ("weights", "where"),
        ("card", "medsam"),
        ("inspect", "scan"),
        ("inspect", "scan", "--json"),
        ("inspect", "scan", "--sheet", "sheet.png"),
        ("ask", "threshold", "scan", *BOX),
        ("ask", "threshold", "scan", *BOX, "--json"),
        ("ask", "threshold", "scan", *BOX, "-o", "mask.nii.gz", "--preview", "mask_preview.png"),
        ("ask", "threshold", "scan", *BOX, "-o", "mask.nii"),
        ("ask", "threshold", "scan", *BOX, "-o", "mask.nrrd"),
        ("ask", "threshold", "scan", *BOX, "-o", "mask.seg.nrrd"),
        ("ask", "threshold", "scan", *BOX, "-o", "mask.json"),
        ("ask", "threshold", "scan", *BOX, "-o", "mask.dcm"),
        ("ask", "threshold", "scan", *BOX, "-o", "mask.docx"),
        ("ask", "threshold", "scan", *BOX, "-o", "none/mask.nii.gz"),
        ("ask", "threshold", "scan", *BOX, "-o", "scan"),
        ("ask", "threshold", "scan", "--box", "900,900,1:901,901,2"),
        ("ask", "threshold", "scan", "--point", "1,2"),
        ("ask", "threshold", "scam", *BOX),
        ("ask", "medsam", "scan", "--point", "12,8,3"),
        ("ask", "threshold", "scan", *BOX, "--series", "9"),
        ("ask", "threshold", "scan", *BOX, "--frame", "9"),
        ("ask", "threshold", "scan", *BOX, "--spacing", "1,1,1"),
        ("ask", "threshold", "scan", *BOX, "--modality", "MR"),
    ],
    ids=" ".join,
)
def test_no_command_sings(hilum, threshold, here, words):
    ended = hilum(*words)
    assert sings(ended.out.encode()) == []
    assert sings(ended.err.encode()) == []
    for name, content in files(here).items():
        assert sings(content) == [] or name.endswith(".dcm"), name


def truncated(scan: Path) -> None:
    path = min(scan.iterdir())
    path.write_bytes(path.read_bytes()[:-200])


def headless(scan: Path) -> None:
    path = min(scan.iterdir())
    path.write_bytes(path.read_bytes()[:700])


def missing(scan: Path) -> None:
    for path in scan.iterdir():
        if pydicom.dcmread(path, specific_tags=["InstanceNumber"]).InstanceNumber == 5:
            path.unlink()


def duplicated(scan: Path) -> None:
    path = min(scan.iterdir())
    dataset = pydicom.dcmread(path)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    dataset.save_as(scan / "again.dcm")


def second_series(scan: Path) -> None:
    for path in list(scan.iterdir())[:3]:
        dataset = pydicom.dcmread(path)
        dataset.SeriesInstanceUID = "1.2.3.4"
        dataset.save_as(scan / f"second_{path.name[-7:]}")


def with_text(keyword: str):
    """Raw bytes of an attribute replaced by text that no number can be read from."""

    def change(scan: Path) -> None:
        for path in scan.iterdir():
            dataset = pydicom.dcmread(path)
            value = dataset[keyword].value
            old = (
                "\\".join(map(str, value)) if isinstance(value, pydicom.multival.MultiValue) else str(value)
            ).encode()
            content = path.read_bytes()
            assert old in content
            path.write_bytes(content.replace(old, b"Canary"[: len(old)].ljust(len(old)), 1))

    change.__name__ = keyword
    return change


HARMS = [
    truncated,
    headless,
    missing,
    duplicated,
    second_series,
    *map(
        with_text, ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "RescaleSlope", "WindowCenter")
    ),
]


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
@pytest.mark.parametrize("words", [("inspect", "scan"), ("ask", "threshold", "scan", *BOX, "-o", "mask.nii.gz")])
def test_broken_files_end_in_a_sentence_that_does_not_sing(hilum, threshold, here, harm, words):
    for number, path in enumerate(sorted((here / "scan").iterdir())):
        path.rename(path.with_name(f"IM{number:03d}.dcm"))  # which file is broken must be said
    harm(here / "scan")
    ended = hilum(*words)
    assert ended.code in (0, 2), ended.err
    assert "Traceback" not in ended.err
    assert sings((ended.out + ended.err).encode()) == []
    assert (here / "mask.nii.gz").exists() == (ended.code == 0 and "-o" in words)
