"""No patient's name, id or date in what a server answers, logs or notes, whatever is sent; a SEG alone carries them."""

import gzip
import io
import logging

import pytest

from canaries import SONG, canaries
from hilum.app.server.logged import LOG
from phantoms import ct_series
from served import begun, said

SAVED = (".nii.gz", ".nii", ".nrrd", ".seg.nrrd", ".png", ".preview.png", ".json", ".npz")


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    place = tmp_path_factory.mktemp("patients") / "Canary_Yellow_19340506"
    ct_series(place, "tilted", **canaries())
    paths = sorted(place.iterdir())
    return [("file", (f"Canary^Yellow_{number}.dcm", path.read_bytes())) for number, path in enumerate(paths)]


@pytest.fixture
def heard(caplog, monkeypatch):
    """What is logged while the test runs, but for the lines of the client, who knows what it sends.

    Other tests of this process may have set or silenced the server's logger, libraries' configurations among them.
    """
    monkeypatch.setattr(logging.root.manager, "disable", logging.NOTSET)
    for name, value in (("disabled", False), ("propagate", True)):
        monkeypatch.setattr(LOG, name, value)

    def lines() -> bytes:
        return "\n".join(each.getMessage() for each in caplog.records if not each.name.startswith("httpx")).encode()

    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, logger=LOG.name):
        yield lines


def silent(*answers):
    for answer in answers:
        content = answer.content + repr(sorted(answer.headers.items())).encode()
        if answer.content[:2] == b"\x1f\x8b":
            content += gzip.decompress(answer.content)
        assert SONG.findall(content) == [], answer.request.url


def test_the_journey_of_a_series_through_every_route_does_not_sing(client, series, heard):
    sent = client.post("/api/images", files=series)
    image = sent.json()["id"]
    session = begun(client, image)
    place = f"/api/sessions/{session}"
    box = {"kind": "box", "low": [8, 6, 5], "high": [32, 26, 5]}
    silent(sent, said(client, session, box), client.get(f"/api/images/{image}"), client.get("/api/images"))
    job = client.post(f"/api/images/{image}/looks", json={"system": "scout"})
    silent(job, client.get(f"/api/jobs/{job.json()['id']}", params={"wait": 60}))
    silent(client.get(f"/api/images/{image}/planes/2/5.png"), client.get(f"/api/images/{image}/volume.nii.gz"))
    silent(*(client.get(f"{place}/save", params={"as": suffix}) for suffix in SAVED[:-1]))
    silent(client.get(f"{place}/mask.raw"), client.get(f"{place}/objects/1/runs"), client.get(place))
    silent(client.get(f"{place}/planes/2/5.png"), client.get(f"{place}/planes/2/5.png", params={"of": "uncertainty"}))
    silent(client.post(f"{place}/explanation", json={"object": 1}), client.get(f"{place}/explanation/0/planes/2/5.png"))
    silent(client.patch(f"{place}/objects/1", json={"colour": "#ffffff"}), client.post(f"{place}/undo"))
    silent(client.post(f"{place}/redo"), client.delete(f"{place}/objects/1"), client.delete(place))
    silent(client.delete(f"/api/images/{image}"), client.get("/api/"), client.get("/api/systems"))
    audit = client.app.state.house.audit.path.read_bytes()
    assert b'"event": "saved"' in audit
    assert SONG.findall(audit + heard()) == []
    assert b"/api/sessions/{id}/prompts 200" in heard()


def broken(series):
    yield [(name, (given, content[:700])) for name, (given, content) in series]
    yield [(name, (given, content[:-200])) for name, (given, content) in series]
    yield series[:3] + series[6:]
    yield series + series[:1]
    yield [*series, ("file", ("Canary.txt", b"Canary^Yellow"))]


def test_broken_series_end_in_problems_that_do_not_sing(client, series, heard):
    for files in broken(series):
        answer = client.post("/api/images", files=files)
        assert answer.status_code in (201, 422), answer.text
        silent(answer)
    for query in ({"series": "Canary"}, {"frame": "99"}, {"spacing": "Canary"}, {"modality": "CANARY"}):
        answer = client.post("/api/images", files=series, params=query)
        assert answer.status_code == 422
    for address in ("/api/images/Canary^Yellow", "/Canary^Yellow?Canary=19340506", "/api/systems/Canary"):
        answer = client.get(address, headers={"user-agent": "Canary", "cookie": "Canary=1"})
        silent(answer)
    assert SONG.findall(heard()) == []


def test_a_seg_belongs_to_its_patient(client, series):
    import pydicom

    image = client.post("/api/images", files=series).json()["id"]
    session = begun(client, image)
    said(client, session, {"kind": "box", "low": [8, 6, 5], "high": [32, 26, 5]})
    seg = client.get(f"/api/sessions/{session}/save", params={"as": ".dcm"})
    assert str(pydicom.dcmread(io.BytesIO(seg.content)).PatientName) == "Canary^Yellow"
