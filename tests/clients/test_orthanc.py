"""Orthanc, as Debian ships it: a series is read from it, a mask is pushed to it and comes back the same."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
import requests

import hilum as library
from hilum.values.errors import BadInput
from phantoms import ct_series

dicomweb_client = pytest.importorskip("dicomweb_client", reason="the extra dicomweb is not installed")

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
USER, PASSWORD = "reader", "secret"


@dataclass
class Orthanc:
    """A running server with one CT of ten slices."""

    url: str
    series: str
    folder: Path
    client: "dicomweb_client.DICOMwebClient"


@pytest.fixture(scope="module")
def orthanc(program, tmp_path_factory):
    """Debian's Orthanc on loopback, with a password, for this module."""
    path, place = program("Orthanc", package="orthanc"), tmp_path_factory.mktemp("orthanc")
    if not PLUGIN.exists():
        pytest.skip("the plug-in is not installed: make test-clients, or apt-get install orthanc-dicomweb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    (place / "config.json").write_text(json.dumps(configuration(place, number)))
    process = subprocess.Popen(
        [path, place / "config.json"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        said = []
        for line in process.stderr:  # ends when the process does
            said.append(line)
            if "Orthanc has started" in line:
                break
        else:
            pytest.fail("Orthanc did not start: " + "".join(said[-5:]))
        yield filled(f"http://127.0.0.1:{number}/dicom-web", place)
    finally:
        process.terminate()
        process.wait(20)
        process.stderr.close()


def configuration(place: Path, number: int) -> dict:
    """Headless, with nothing but DICOMweb."""
    return {
        "StorageDirectory": str(place / "storage"),
        "IndexDirectory": str(place / "storage"),
        "HttpPort": number,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": True, "WadoRoot": "/wado"},
    }


def filled(url: str, place: Path) -> Orthanc:
    """The server with the series in it."""
    ct_series(place / "ct", "tilted")
    session = requests.Session()
    session.auth = (USER, PASSWORD)
    client = dicomweb_client.DICOMwebClient(url, session=session)
    datasets = [pydicom.dcmread(path) for path in sorted((place / "ct").iterdir())]
    assert not client.store_instances(datasets).get("FailedSOPSequence")
    series = f"{url.replace('http', 'dicomweb', 1)}/studies/{datasets[0].StudyInstanceUID}"
    return Orthanc(url, f"{series}/series/{datasets[0].SeriesInstanceUID}", place / "ct", client)


@pytest.fixture
def _known(monkeypatch):
    """The credentials of a user who may."""
    monkeypatch.setenv("HILUM_DICOMWEB_USER", USER)
    monkeypatch.setenv("HILUM_DICOMWEB_PASSWORD", PASSWORD)


@pytest.mark.usefixtures("_known")
def test_a_series_from_orthanc_is_its_files_to_the_byte(orthanc: Orthanc):
    fetched, local = library.read(orthanc.series), library.read(orthanc.folder)
    assert np.array_equal(fetched.array, local.array)
    assert np.array_equal(fetched.affine, local.affine)
    assert fetched.source.sha256 == local.source.sha256


@pytest.mark.usefixtures("_known")
def test_the_program_asks_pushes_and_orthanc_gives_the_same_mask_back(orthanc: Orthanc, tmp_path):
    target = tmp_path / "out.seg.dcm"
    words = ["ask", "scout", orthanc.series, "--point", "20,16,5", "--backend", "torch", "-o", str(target), "--push"]
    done = subprocess.run(
        [sys.executable, "-m", "hilum.app.cli", *words], capture_output=True, text=True, env=os.environ, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "is stored at 127.0.0.1" in done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    written = highdicom.seg.segread(target)
    uids = written.StudyInstanceUID, written.SeriesInstanceUID, written.SOPInstanceUID
    stored = highdicom.seg.Segmentation.from_dataset(orthanc.client.retrieve_instance(*uids))
    uids = [pydicom.dcmread(file).SOPInstanceUID for file in library.read(orthanc.folder).source.files]
    masks = [
        each.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True) for each in (written, stored)
    ]
    assert masks[0].any()
    assert np.array_equal(*masks)
    assert set(orthanc.client.search_for_series(search_filters={"Modality": "SEG"})[0]) >= {"0020000E"}


@pytest.mark.usefixtures("_known")
@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("/series/1", "/series/2", "has no such series in that study"),
        ("dicom-web", "dicom", "no such study, series or instance"),
        ("dicom-web", "app", "check the address|not as a DICOMweb server"),
    ],
)
def test_what_orthanc_does_not_have_is_a_sentence(orthanc: Orthanc, old, new, sentence):
    with pytest.raises(BadInput, match=sentence):
        library.read(orthanc.series.replace(old, new))


def test_without_credentials_orthanc_gives_nothing(orthanc: Orthanc, monkeypatch, tmp_path):
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    with pytest.raises(BadInput, match="wants credentials"):
        library.read(orthanc.series)
