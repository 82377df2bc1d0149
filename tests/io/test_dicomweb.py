"""What comes from a DICOMweb server is what lies in its files: values, geometry, hash. What cannot is a sentence."""

import gc
import shutil
import socket
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

import hilum
from dicomweb_server import Archive, basic, serving
from hilum.io import lasting
from hilum.io.dicomweb_address import FORM, parsed
from hilum.io.dicomweb_store import push
from hilum.values.errors import BadInput, Failed, TooLarge
from phantoms import ct_series

pytest.importorskip("dicomweb_client", reason="the extra dicomweb is not installed")


@pytest.fixture(autouse=True)
def _nobody_known(monkeypatch, tmp_path):
    """No credentials of this machine's user, and temporary folders that can be counted."""
    for name in ("TOKEN", "USER", "PASSWORD", "CLEAR"):
        monkeypatch.delenv(f"HILUM_DICOMWEB_{name}", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.fixture
def archive(tmp_path_factory):
    """A server with a tilted CT of ten files; its address is `archive.series`."""
    folder = tmp_path_factory.mktemp("archive")
    ct_series(folder / "ct")
    with serving(folder) as served:
        served.head = next((folder / "ct").iterdir())
        head = pydicom.dcmread(served.head)
        served.series = served.address(head.StudyInstanceUID, head.SeriesInstanceUID)
        served.study = served.address(head.StudyInstanceUID)
        yield served


def folders(tmp_path: Path) -> list[Path]:
    return list(tmp_path.glob(f"{lasting.PREFIX}*"))


def alike(one, other) -> None:
    assert np.array_equal(one.array, other.array)
    assert one.array.dtype == other.array.dtype
    assert np.array_equal(one.affine, other.affine)
    assert (one.space, one.display, one.source.sha256) == (other.space, other.display, other.source.sha256)


def test_a_series_is_read_as_its_files_are(archive: Archive):
    fetched = hilum.read(archive.series)
    alike(fetched, hilum.read(archive.folder / "ct"))
    assert fetched.source.notes[-1] == "10 files came from a DICOMweb server"


@pytest.mark.parametrize(
    "name",
    ["CT_small.dcm", "MR_small_bigendian.dcm", "MR_small_RLE.dcm", "JPEG2000.dcm", "SC_rgb_small_odd_jpeg.dcm"],
)
def test_files_of_every_kind_come_as_they_are_stored(name, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    file = Path(get_testdata_file(name))
    shutil.copy(file, folder)
    head = pydicom.dcmread(file, force=True)
    with serving(folder) as served:
        alike(hilum.read(served.address(head.StudyInstanceUID, head.SeriesInstanceUID)), hilum.read(file))
        kind = next(headers["Accept"] for _, path, headers in served.requests if "series?" not in path)
    assert "transfer-syntax=*" in kind


def test_one_instance_is_one_picture(archive: Archive):
    uid = pydicom.dcmread(archive.head).SOPInstanceUID
    alike(hilum.read(f"{archive.series}/instances/{uid}"), hilum.read(archive.head))


def test_a_server_that_cannot_send_files_as_stored_sends_them_its_own_way(archive: Archive):
    archive.trouble = "as sent"
    alike(hilum.read(archive.series), hilum.read(archive.folder / "ct"))


def test_files_stay_as_long_as_their_image_and_no_longer(archive: Archive, tmp_path):
    image = hilum.read(archive.series)
    noted = image.noted("and more")
    (place,) = folders(tmp_path)
    assert place.stat().st_mode & 0o077 == 0
    del image
    gc.collect()
    assert all(file.is_file() for file in noted.source.files)
    del noted
    gc.collect()
    assert folders(tmp_path) == []


def test_what_a_killed_process_left_is_swept_and_what_is_in_use_is_not(archive: Archive, tmp_path, monkeypatch):
    used = hilum.read(archive.series)
    left = tmp_path / f"{lasting.PREFIX}left"
    left.mkdir()
    monkeypatch.setattr(lasting, "SETTLED", 0.0)
    lasting.sweep()
    assert not left.exists()
    assert used.source.files[0].is_file()


def test_of_a_study_its_only_series_of_images_is_read(archive: Archive):
    alike(hilum.read(archive.study), hilum.read(archive.folder / "ct"))


@pytest.fixture
def second(archive: Archive) -> str:
    """Another series in the same study, and a report; the UID of the series."""
    for number, (uid, modality) in enumerate((("1.2.3.77", "MR"), ("1.2.3.88", "SR"))):
        dataset = pydicom.dcmread(archive.head)
        dataset.SeriesInstanceUID, dataset.Modality = uid, modality
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{uid}.{number}"
        dataset.save_as(archive.folder / f"{number}.dcm")
    return "1.2.3.77"


def test_several_series_are_listed_without_a_word_of_their_author(archive: Archive, second):
    with pytest.raises(
        BadInput, match=r"2 series of images, pick one with --series: 1: .*MR, 1 file, UID ends"
    ) as told:
        hilum.read(archive.study)
    assert "Canary" not in str(told.value)
    assert hilum.read(archive.study, series="3.77").source.modality == "MR"
    assert hilum.read(archive.study, series="1").source.modality in ("CT", "MR")
    with pytest.raises(BadInput, match=r"--series 9\.9 fits 0 series"):
        hilum.read(archive.study, series="9.9")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"authorization": "Bearer other"}, r"wants credentials, or other ones \(401\).*netrc.*HILUM_DICOMWEB_USER"),
        ({"status": 403}, "does not let these credentials"),
        ({"status": 404}, "no such study, series or instance"),
        ({"status": 502}, "does not serve now"),
        ({"status": 503}, "too busy to serve"),
        ({"page": True}, "answers, but not as a DICOMweb server does"),
        ({"trouble": "junk"}, "is not a DICOM file"),
        ({"trouble": "break"}, "broke off in the middle"),
        ({"trouble": "short"}, "has 10 files and sent 9"),
        ({"said_count": 12}, "has 12 files and sent 10"),
    ],
    ids=str,
)
def test_what_goes_wrong_is_one_sentence_and_leaves_nothing(archive: Archive, tmp_path, change, sentence):
    for name, value in change.items():
        setattr(archive, name, value)
    with pytest.raises(BadInput, match=sentence) as told:
        hilum.read(archive.series)
    assert "Canary" not in str(told.value)
    assert folders(tmp_path) == []


def test_a_server_that_fails_is_not_the_users_fault(archive: Archive):
    archive.status = 500
    with pytest.raises(Failed, match="it says 500"):
        hilum.read(archive.series)


def test_an_unknown_series_is_said_before_anything_is_fetched(archive: Archive):
    with pytest.raises(BadInput, match="has no such series in that study"):
        hilum.read(archive.study + "/series/1.2.3")
    with pytest.raises(BadInput, match="no such study with a series"):
        hilum.read(archive.address("1.2.3"))
    assert all("/series?" in path for _, path, _ in archive.requests)


def test_nobody_there():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"dicomweb://127.0.0.1:{free.getsockname()[1]}/studies/1/series/2"
        with pytest.raises(BadInput, match=r"nobody answers at 127\.0\.0\.1"):
            hilum.read(address)


def test_a_server_without_a_certificate_is_not_believed(archive: Archive):
    with pytest.raises(BadInput, match="no certificate that is trusted here"):
        hilum.read(archive.series.replace("dicomweb:", "dicomweb+https:"))


@pytest.mark.parametrize(("variable", "value"), [("HILUM_MAX_FETCHED_BYTES", "5000"), ("HILUM_MAX_FILES", "3")])
def test_caps_end_a_fetch(archive: Archive, tmp_path, monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(TooLarge, match=variable):
        hilum.read(archive.series)
    assert folders(tmp_path) == []


def test_credentials_come_from_the_environment(archive: Archive, monkeypatch):
    archive.authorization = basic("reader", "secret")
    monkeypatch.setenv("HILUM_DICOMWEB_USER", "reader")
    monkeypatch.setenv("HILUM_DICOMWEB_PASSWORD", "secret")
    assert hilum.read(archive.series).grid == (10, 32, 40)
    archive.authorization = "Bearer a.b.c"
    monkeypatch.setenv("HILUM_DICOMWEB_TOKEN", "a.b.c")
    assert hilum.read(archive.series).grid == (10, 32, 40)


def test_credentials_come_from_netrc(archive: Archive, tmp_path):
    archive.authorization = basic("reader", "secret")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login reader password secret\n")
    (tmp_path / "netrc").chmod(0o600)
    assert hilum.read(archive.series).grid == (10, 32, 40)


def test_credentials_never_travel_readable(monkeypatch):
    monkeypatch.setenv("HILUM_DICOMWEB_TOKEN", "a.b.c")
    with pytest.raises(BadInput, match=r"would travel readable over http: write dicomweb\+https://"):
        hilum.read("dicomweb://pacs.invalid/dicom-web/studies/1/series/2")


@pytest.mark.parametrize(
    "word",
    [
        "dicomweb://reader:secret@127.0.0.1/studies/1/series/2",
        "dicomweb://secret@127.0.0.1/studies/1/series/2",
        "dicomweb://127.0.0.1/studies/1/series/2?token=secret",
        "dicomweb://127.0.0.1/studies/secret/series/2",
        "dicomweb://127.0.0.1/studies/1/series/2/../../secret",
        "dicomweb://127.0.0.1:secret/studies/1/series/2",
        "dicomweb:///studies/1/series/2",
        "dicomweb://127.0.0.1/",
        "dicomweb://127.0.0.1/studies/1/series/" + "2" * 65,
        "dicomweb://[::1/studies/1/series/2",
    ],
)
def test_a_wrong_address_is_a_sentence_that_does_not_repeat_it(word):
    with pytest.raises(BadInput, match=r"a DICOMweb address") as told:
        hilum.read(word)
    assert "secret" not in str(told.value)


def test_no_log_line_tells_whom_it_was_about(archive: Archive, caplog):
    with caplog.at_level("DEBUG"):
        image = hilum.read(archive.series)
        push(image.source.files[0], parsed(archive.series))
    assert image.grid == (10, 32, 40)
    assert parsed(archive.series).study not in caplog.text
    assert "Canary" not in caplog.text


def test_addresses_are_understood():
    address = parsed("dicomweb+https://pacs.example:8443/a/dicom-web/studies/1.2/series/3.4/instances/5.6/")
    assert (address.root, address.host) == ("https://pacs.example:8443/a/dicom-web", "pacs.example:8443")
    assert (address.study, address.series, address.instance) == ("1.2", "3.4", "5.6")
    assert parsed(FORM.replace("HOST[:PORT]/ROOT", "h").replace("UID", "1")).root == "http://h"


def test_what_is_pushed_is_a_dicom_file_even_if_its_preamble_was_lost(archive: Archive, tmp_path):
    dataset = pydicom.dcmread(archive.head)
    dataset.preamble = None
    bare = tmp_path / "bare.dcm"
    dataset.save_as(bare)
    assert bare.read_bytes()[128:132] != b"DICM"
    push(bare, parsed(archive.series))
    (content,) = archive.stored
    assert content[:132] == bytes(128) + b"DICM"


def test_what_the_server_does_not_take_is_said(archive: Archive):
    archive.failing = "A700"
    with pytest.raises(Failed, match=r"did not take .* \(reason A700H\)"):
        push(archive.head, parsed(archive.series))
