"""`hilum check` tells weights that answer from weights that merely load."""

import json

import pytest

from hilum import registry
from hilum.app import check


@pytest.mark.parametrize("name", ["sam_study", "medsam", "scout"])
def test_random_weights_are_recognised(name, hilum, monkeypatch):
    tiny = registry.find(name).tiny()
    monkeypatch.setattr(registry, "load", lambda *given, **more: tiny)
    ended = hilum("check", name)
    assert ended.code == 1
    assert "answers like random weights" in ended.out


def test_a_segmenter_that_looks_is_not_accused(hilum, threshold):
    ended = hilum("check", "threshold", "--json")
    found = json.loads(ended.out)
    assert {each["pair"] for each in found["pairs"]} == {"nucleus", "cyst", "liver", "tumour"}
    nucleus = next(each for each in found["pairs"] if each["pair"] == "nucleus")
    assert nucleus["dice"] > 0.9
    assert 0.9 < nucleus["ellipse"] < 1.0


def test_a_system_that_no_picture_fits_is_loaded_and_said():
    verdict, sound = check.judged("some.tag", [])
    assert sound
    assert "loads" in verdict
