"""`hilum check` at the command line: the table, the sentence, the exit code."""

import json

from hilum import registry


def test_weights_that_only_load_end_with_1(hilum, monkeypatch):
    tiny = registry.find("medsam").tiny()
    monkeypatch.setattr(registry, "load", lambda *given, **more: tiny)
    ended = hilum("check", "medsam")
    assert ended.code == 1
    assert ended.out.splitlines()[-1].startswith("medsam.tiny loads, but answers like random weights (Dice ")
    found = json.loads(hilum("check", "medsam", "--json").out)
    assert found["sound"] is False
    assert {"picture", "structure", "system", "untrained", "ellipse"} == set(found["scores"][0])


def test_the_embedded_weights_pass(hilum):
    ended = hilum("check", "scout")
    assert ended.code == 0, ended.out
    assert "answers as trained weights do" in ended.out or "worse than an ellipse" in ended.out


def test_weights_that_are_not_here_name_the_command(hilum):
    ended = hilum("check", "sam_med2d")
    assert ended.code == 1
    assert "hilum weights" in ended.err
