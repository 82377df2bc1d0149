"""Every odd DICOM file that we know of ends in an image or in one sentence: never in a crash, a hang or a warning."""

from __future__ import annotations

import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import phantoms
from hilum.io import dicom_codestream
from hilum.io.dicom import read_dicom
from hilum.values.errors import BadInput, Failed, HilumError

SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"
DATA = Path(os.environ.get("HILUM_DATA", Path(__file__).parents[3] / "shared" / "data")) / "dicom" / "dicom.zip"
REFUSED = (  # which files are refused, and the words with which
    (r"^(seg_|liver_)", r"DICOM SEG|DICOM label map SEG"),
    (r"^(sm_image)", r"whole-slide image"),
    (r"^(rtdose|badVR)", r"RT dose grid"),
    (r"^rtstruct\.dcm", r"RT structure set"),
    (
        r"^(sr_doc|reports|test-SR|rtplan.*dcm|waveform|sm_annot|ExplVR_.*NoMeta|nested_priv|priv_SQ)",
        r"holds no pixels",
    ),
    (r"^(no_meta_group|meta_missing|empty_charset|UN_sequence)", r"holds no pixels"),
    (r"\.(txt|json|icc|gz|dump)$|^no_meta\.dcm", r"is not a DICOM file"),
    (r"^MR_truncated", r"fewer pixels than it claims"),
    (r"^JPEG2000-embedded", r"in its compressed data"),
    (r"(_2frame|examples_ybr_color|emri_small)", r"frames without positions.*pick one with --frame"),
)
BEYOND_PILLOW = r"^(JPEG-LL|JPEG-lossy|JPGExtended|SC_rgb_jpeg_gdcm|bad_sequence)\.dcm"
SENTENCE = re.compile(r"^[^\n]{20,600}\.$")


def reads_or_refuses(path: Path) -> None:
    """An image where no refusal is foreseen for this name; the foreseen sentence otherwise."""
    foreseen = next((words for names, words in REFUSED if re.search(names, path.name)), None)
    if re.search(BEYOND_PILLOW, path.name) and not dicom_codestream.can_decode():
        with pytest.raises(Failed, match=r"JPEG.*pip install imagecodecs"):
            read_dicom(path)
        return
    if foreseen is None:
        image = read_dicom(path)
        assert np.isfinite(image.array).all()
        assert image.array.min() < image.array.max()
        return
    with pytest.raises(BadInput, match=foreseen) as caught:
        read_dicom(path)
    assert SENTENCE.match(str(caught.value))
    assert path.name in str(caught.value)


@pytest.mark.parametrize("name", sorted(path.name for path in SHIPPED.iterdir() if path.is_file()))
def test_pydicoms_own_files_are_read_or_refused_in_one_sentence(name):
    reads_or_refuses(SHIPPED / name)


def test_one_magnetic_resonance_picture_in_eight_encodings_has_one_set_of_values():
    encodings = ("", "_RLE", "_bigendian", "_expb", "_implicit", "_jp2klossless", "_jpeg_ls_lossless", "_padded")
    images = [read_dicom(SHIPPED / f"MR_small{encoding}.dcm") for encoding in encodings]
    for image in images[1:]:
        np.testing.assert_array_equal(image.array, images[0].array)
        np.testing.assert_array_equal(image.affine, images[0].affine)
        assert image.display == images[0].display


def test_a_directory_of_many_series_lists_each():
    with pytest.raises(BadInput, match=r"dicomdirtests holds 13 series, pick one with --series: 1: .*; 13: ") as caught:
        read_dicom(SHIPPED / "dicomdirtests")
    assert not re.search("Doe|Peter|Archibald", str(caught.value))


@pytest.fixture(scope="session")
def collection(tmp_path_factory) -> Path:
    """The real odd files, unpacked; skipped where they are not on this machine."""
    if not DATA.is_file():
        pytest.skip(f"no dicom/dicom.zip under {DATA.parents[1].name} (set HILUM_DATA)")
    folder = tmp_path_factory.mktemp("dicom")
    with zipfile.ZipFile(DATA) as archive:
        archive.extractall(folder)
    return folder


def test_the_collected_files_are_read_or_refused_in_one_sentence(collection):
    files = [path for part in ("highdicom", "pydicom-data") for path in sorted((collection / part).iterdir())]
    assert len(files) == 44
    for path in files:
        reads_or_refuses(path)


def test_a_real_series_is_a_volume_of_one_millimetre(collection):
    image = read_dicom(collection / "mr_series_hippocampus_crop")
    assert image.array.shape == (1, 32, 51, 35)
    np.testing.assert_allclose(image.spacing, 1.0)
    assert image.source.modality == "MR"


def test_both_halves_of_an_enhanced_ct_are_one_volume(collection):
    image = read_dicom(collection / "pydicom-data" / "eCT_Supplemental.dcm")
    assert image.array.shape == (1, 2, 512, 512)
    assert image.source.unit == "HU"


@pytest.mark.parametrize("content", [b"", b"no DICOM at all", bytes(132) + b"DICM", bytes(128) + b"DICM"])
def test_files_that_are_nothing_are_one_sentence(tmp_path, content):
    (tmp_path / "odd.dcm").write_bytes(content)
    with pytest.raises(BadInput, match=r"^odd\.dcm [^\n]+\.$"):
        read_dicom(tmp_path / "odd.dcm")


@pytest.mark.parametrize("maker", ["classic", "enhanced"])
def test_a_file_cut_anywhere_is_one_sentence(tmp_path, maker):
    path = tmp_path / "whole.dcm"
    if maker == "enhanced":
        phantoms.enhanced_ct(path)
    else:
        phantoms.ct_slice("tilted", 3).save_as(path, enforce_file_format=True)
    whole = path.read_bytes()
    cut = tmp_path / "cut.dcm"
    for length in np.unique(np.geomspace(1, len(whole) - 1, 60).astype(int)):
        cut.write_bytes(whole[:length])
        with pytest.raises(BadInput, match=r"cut\.dcm"):
            read_dicom(cut)


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> list[bytes]:
    """A classic and an enhanced file, whole."""
    folder = tmp_path_factory.mktemp("originals")
    phantoms.enhanced_ct(folder / "enhanced.dcm")
    phantoms.ct_slice("tilted", 3).save_as(folder / "classic.dcm", enforce_file_format=True)
    return [path.read_bytes() for path in sorted(folder.iterdir())]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_header_changed_at_random_is_an_image_or_one_sentence(tmp_path, originals, data):
    """Bytes of tags, types, lengths and values are overwritten; what comes out never names the patient."""
    content = bytearray(data.draw(st.sampled_from(originals)))
    header = content.rfind(b"\xe0\x7f\x10\x00") + 12
    types = [match.start() for match in re.finditer(rb"[A-Z]{2}", content[:header])]
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.sampled_from(types)) + data.draw(st.integers(-4, 12))
        piece = data.draw(st.binary(min_size=1, max_size=6))
        content[place : place + len(piece)] = piece
    (tmp_path / "mutant.dcm").write_bytes(content)
    says = outcome(tmp_path / "mutant.dcm")
    assert "\n" not in says
    assert not any(value in says for value in phantoms.CANARY.values())


def outcome(path: Path) -> str:
    """What a user is told: a refusal, or the notes of the image."""
    try:
        return " ".join(read_dicom(path).source.notes)
    except HilumError as refused:
        return str(refused)
