"""Uploads: what comes in, what is told of it, what is refused, what a broken decoder does, when all is gone."""

import io
import sys
import time
import zlib

import pytest
from PIL import Image as Pillow

from hilum.app.server import decoding
from hilum.app.server.settings import Caps
from phantoms import CANARY, ct_series
from served import ball, begun, disc, said, uploaded


@pytest.fixture
def series(tmp_path):
    ct_series(tmp_path / "scan", "oblique")
    return [("file", (path.name, path.read_bytes())) for path in sorted((tmp_path / "scan").iterdir())]


def test_a_file_may_be_a_part_or_the_body_itself(client):
    as_part = client.get(f"/api/images/{uploaded(client, disc())}").json()
    answer = client.post("/api/images", content=disc(), headers={"content-type": "image/png"})
    as_body = answer.json()
    assert {**as_body, "id": "", "expires": 0} == {**as_part, "id": "", "expires": 0}
    assert as_part["size"] == [60, 40]
    assert as_part["planes"][0]["sides"] is None


def test_a_dicom_series_is_one_image_whose_seg_refers_to_it(client, series, tmp_path):
    import pydicom

    answer = client.post("/api/images", files=series)
    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert (told["size"], told["modality"], told["format"]) == ([40, 32, 10], "CT", "dicom")
    assert told["planes"][2]["orientation"] == "oblique axial"
    session = begun(client, told["id"])
    said(client, session, {"kind": "box", "low": [8, 6, 5], "high": [32, 26, 5]}, name="bright")
    saved = client.get(f"/api/sessions/{session}/save", params={"as": ".dcm"})
    assert saved.headers["content-type"] == "application/dicom"
    seg = pydicom.dcmread(io.BytesIO(saved.content))
    source = pydicom.dcmread(io.BytesIO(series[0][1][1]))
    assert seg.Modality == "SEG"
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID
    assert str(seg.PatientName) == CANARY["PatientName"]


def test_what_is_no_image_is_refused_in_a_sentence(client):
    for content in (b"", b"words", disc()[:100], b"\x89PNG\r\n\x1a\n" + bytes(100)):
        answer = client.post("/api/images", files={"file": ("Canary.png", content)})
        assert answer.status_code == 422, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"] == "urn:hilum:problem:bad-input"
        assert "Canary" not in answer.text
    nothing = client.post("/api/images", data={"word": "x"}, files={"other": ("a", b"")})
    assert nothing.status_code == 422


def header_that_claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is this large."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)

    size = width.to_bytes(4) + height.to_bytes(4) + bytes([8, 0, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def test_more_voxels_than_the_cap_are_refused_before_they_are_decoded(serve):
    client = serve(caps=Caps(voxels=1_000_000))
    answer = client.post("/api/images", content=header_that_claims(3_000, 4_000))
    assert answer.status_code == 413, answer.text
    assert "3000 = 12,000,000 voxels, the cap is 1,000,000" in answer.json()["detail"]


def test_more_images_than_the_cap_have_no_room_until_one_goes(serve):
    client = serve(caps=Caps(images=1))
    first = uploaded(client, disc())
    full = client.post("/api/images", content=disc())
    assert (full.status_code, full.headers["retry-after"]) == (503, "5")
    assert client.delete(f"/api/images/{first}").status_code == 204
    uploaded(client, disc())
    assert client.get(f"/api/images/{first}").status_code == 404


@pytest.mark.parametrize(
    "harm",
    [
        "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
        "import sys; sys.stdin.readline(); sys.exit(3)",
        "import resource, sys; sys.stdin.readline(); resource.setrlimit(resource.RLIMIT_CPU, (1, 1))\nwhile True: pass",
    ],
    ids=["crash", "exit", "endless"],
)
def test_a_decoder_that_breaks_is_an_error_of_its_upload_alone(serve, monkeypatch, harm):
    client = serve()
    first = uploaded(client, disc())
    monkeypatch.setattr(decoding, "COMMAND", ("-c", harm))
    client.portal.call(client.app.state.house.decoding.close)  # the one that waits is whole
    answer = client.post("/api/images", content=disc())
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("the decoder broke on it")
    monkeypatch.undo()
    client.portal.call(client.app.state.house.decoding.close)
    assert uploaded(client, disc()) != first
    assert len(client.get("/api/images").json()["images"]) == 2


def test_a_decoder_has_no_more_memory_than_it_was_given(serve):
    stream = io.BytesIO()
    Pillow.new("RGB", (6000, 6000)).save(stream, format="PNG")
    client = serve(caps=Caps(decoder_memory=150 << 20))
    answer = client.post("/api/images", content=stream.getvalue())
    assert answer.status_code in (413, 422), answer.text


def test_what_nobody_used_is_forgotten_with_its_files(serve, tmp_path):
    client = serve(keep=30.0)
    image = uploaded(client, disc())
    session = begun(client, image)
    said(client, session, {"kind": "box", "low": [11, 9], "high": [29, 27]})
    house = client.app.state.house
    folder = tmp_path / "state" / "images" / image
    house.expire()
    assert folder.is_dir()
    house.ledger.run("UPDATE image SET used = ?", (time.time() - 31,))
    house.expire()
    assert folder.is_dir(), "a session that is in use keeps its image"
    house.ledger.run("UPDATE session SET used = ?", (time.time() - 31,))
    house.expire()
    assert not folder.exists()
    for address in (f"/api/images/{image}", f"/api/sessions/{session}", f"/api/images/{image}/planes/2/0.png"):
        gone = client.get(address)
        assert gone.status_code == 404
        assert "has expired" in gone.json()["detail"]


def test_an_upload_that_was_being_decoded_when_the_server_was_killed_leaves_nothing(serve, tmp_path):
    stranger = tmp_path / "state" / "images" / ("0" * 32) / "given"
    stranger.mkdir(parents=True)
    (stranger / "000000").write_bytes(disc())
    serve()
    assert list((tmp_path / "state" / "images").iterdir()) == []


def test_an_image_and_its_session_outlive_the_server(serve, tmp_path):
    first = serve()
    image = uploaded(first, ball(tmp_path / "ball.nii.gz"))
    session = begun(first, image)
    told = said(first, session, {"kind": "box", "low": [11, 7, 5], "high": [29, 25, 5]}).json()
    raw = first.get(f"/api/sessions/{session}/mask.raw").content
    serve.end()
    again = serve()
    now = again.get(f"/api/sessions/{session}").json()
    assert {**now, "expires": 0, "job": told["job"]} == {**told, "expires": 0}
    assert again.get(f"/api/sessions/{session}/mask.raw").content == raw
    assert again.post(f"/api/sessions/{session}/undo").json()["objects"] == []


def test_no_two_servers_share_a_folder(serve, tmp_path):
    from hilum.app.server.house import House
    from hilum.app.server.settings import Settings
    from hilum.values.errors import BadInput

    serve()
    with pytest.raises(BadInput, match="another hilum server uses"):
        House(Settings(state=tmp_path / "state"))


def test_the_decoder_needs_no_torch():
    import subprocess

    code = (
        "import sys; import hilum.app.server.decoder as found; [__import__(name) for name in found.HEAVY]; "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
