"""The doctor names what is here and what is missing, and the command that mends it."""

import json
import os

import pytest

from hilum import registry
from hilum.app import health
from hilum.weights import store


def found(what: str) -> health.Finding:
    return next(each for each in health.findings() if each.what == what)


@pytest.fixture(autouse=True)
def _no_broken_weights(monkeypatch):
    """The embedded weights may not be trained yet where this runs."""
    monkeypatch.setattr(health, "weights", lambda: iter(()))


def test_every_finding_that_is_not_ok_says_what_mends_it():
    for each in health.findings():
        assert each.found
        assert (each.state == "ok") == (each.mend == ""), each


def test_it_is_told_for_people_and_for_machines(hilum):
    told = hilum("doctor")
    assert told.code == 0
    for words in ("python", "cores", "memory", "torch", "openvino", "bf16", "DICOM JPEG 2000", "folder of weights"):
        assert words in told.out
    table = json.loads(hilum("doctor", "--json").out)
    assert {"what", "state", "found", "mend"} == set(table[0])


def test_a_missing_extra_is_absent_with_its_command(monkeypatch):
    monkeypatch.setattr(health, "requires", lambda name: ["nothing-like-this>=2; extra == 'dream'"])
    [finding] = health.packages()
    assert finding == health.Finding(
        "extra dream", "absent", "nothing-like-this not installed", "pip install 'hilum[dream]'"
    )


def test_a_package_older_than_is_safe_is_broken(monkeypatch):
    monkeypatch.setattr(health, "requires", lambda name: ["numpy>=99"])
    [finding] = health.packages()
    assert finding.state == "broken"
    assert ">=99 is wanted" in finding.found
    assert finding.mend == "pip install 'numpy>=99'"


def test_a_broken_plug_in_is_named_and_the_exit_code_is_1(hilum, monkeypatch):
    monkeypatch.setattr(registry, "broken", lambda: {"dreamer": "dreamer.toml: family takes house, got 'dream'"})
    told = hilum("doctor")
    assert told.code == 1
    assert "plug-in dreamer" in told.out


def test_a_decoder_that_is_missing_names_what_to_install(monkeypatch):
    monkeypatch.setattr(health, "_plugins", lambda decoder: ())
    monkeypatch.setattr("hilum.io.dicom_codestream.can_decode", lambda: False)
    assert {(each.state, each.mend) for each in health.decoders()} == {("absent", "pip install imagecodecs")}


def test_a_folder_without_rights_or_room_is_broken(monkeypatch, tmp_path):
    monkeypatch.setattr(store, "folder", lambda: tmp_path / "none" / "weights")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "no right to write" in found("folder of weights").found
    monkeypatch.setattr(os, "access", lambda path, mode: True)
    monkeypatch.setattr(health, "ROOM", 1 << 80)
    assert "free" in found("folder of weights").found
    assert found("folder of weights").state == "broken"


def test_looking_makes_no_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HILUM_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("HILUM_CACHE", str(tmp_path / "cache"))
    list(health.findings())
    assert list(tmp_path.iterdir()) == []
