"""What a worker does with a line is what `hilum ask` does with the same words; what goes wrong is the line's own."""

import json

import numpy as np
import pytest
from capabilities.threshold import Threshold
from PIL import Image as Pillow

from hilum.app.run.answering import Answering, Setting, brief, hire
from hilum.app.run.table import items
from hilum.values.answers import Reply, Scores
from hilum.values.errors import Failed
from hilum.values.provenance import Provenance

BOX = '"8,6:32,30"'
HEAD = "image,system,box,point,mask,output,preview"


@pytest.fixture
def worked(tmp_path, disc, threshold, monkeypatch):
    """Works through a table by one hand in this process; items, outcomes, and the folder."""
    drawn = np.zeros((40, 60), dtype=np.uint8)
    drawn[15:20, 15:20] = 255
    Pillow.fromarray(drawn).save(tmp_path / "guess.png")
    out = tmp_path / "out"
    out.mkdir()

    def work(*lines: str):
        (tmp_path / "jobs.csv").write_text("\n".join((HEAD, *lines)) + "\n")
        found, hand = items(tmp_path / "jobs.csv", {}), Answering(out, 1)
        return [(item, hand.do(item)) for item in found], out

    return work


def test_the_files_are_those_of_hilum_ask_to_the_byte(worked, hilum, disc, tmp_path):
    [(_, first), (_, second)], out = worked(
        f"disc.png,threshold,{BOX},,,mask.png,look.png", "disc.png,threshold,,,guess.png,,"
    )
    assert first.done, first.why
    assert second.done, second.why
    words = ("--box", "8,6:32,30", "-o", tmp_path / "mask.png", "--preview", tmp_path / "look.png")
    assert hilum("ask", "threshold", disc, *words).code == 0
    for name in ("mask.png", "look.png"):
        assert (out / name).read_bytes() == (tmp_path / name).read_bytes()
    assert hilum("ask", "threshold", disc, "--mask", tmp_path / "guess.png", "-o", tmp_path / "second.png").code == 0
    assert (out / "disc_mask.png").read_bytes() == (tmp_path / "second.png").read_bytes()


def test_the_report_is_that_of_hilum_ask_with_names_as_in_the_table(worked, hilum, disc):
    [(item, outcome)], out = worked(f"disc.png,threshold,{BOX},,,sub/mask.png,")
    told = json.loads((out / item.report).read_text())
    asked = json.loads(hilum("ask", "threshold", disc, "--box", "8,6:32,30", "--json").out)
    assert told.pop("image") == ["disc.png"]
    assert told.pop("written") == ["sub/mask.png"]
    assert told == {name: each for name, each in asked.items() if name not in ("image", "written")}
    assert outcome.answer == "object 249 pixels, confidence 0.90"
    assert outcome.system == "threshold.tiny"
    assert outcome.notes == ("thresholded at half of the window",)
    assert set(outcome.files) == {"sub/mask.png", "reports/sub/mask.json"}


def test_lines_about_one_image_share_a_look_and_its_answers_are_the_same(worked, disc):
    lines = [f"disc.png,threshold,{BOX},,,{name}.png," for name in "abc"]
    before = Threshold.looks
    found, out = worked(*lines)
    assert Threshold.looks == before + 1
    assert len({(out / f"{name}.png").read_bytes() for name in "abc"}) == 1
    assert all(outcome.done for _, outcome in found)


def test_a_line_that_fails_is_a_sentence_and_the_next_is_done(worked, tmp_path):
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    found, out = worked(f"torn.png,threshold,{BOX},,,,", f"disc.png,threshold,{BOX},,,,")
    [(item, first), (_, second)] = found
    assert not first.done
    assert "torn.png" in first.why
    assert str(tmp_path) not in first.why
    assert second.done
    assert not (out / item.report).exists()


def test_what_nobody_wrote_for_the_user_names_its_place_and_quotes_nothing(worked, monkeypatch):
    monkeypatch.setattr(Threshold, "see", lambda self, plane: {}["Jane Doe"])
    [(_, outcome)], _ = worked(f"disc.png,threshold,{BOX},,,,")
    assert "KeyError" in outcome.why
    assert "Jane" not in outcome.why


def test_without_a_system_the_best_that_is_here_answers(worked, monkeypatch):
    from hilum import registry

    entries, broken = registry._found()
    monkeypatch.setattr(registry, "_found", lambda: ({"threshold": entries["threshold"]}, broken))
    [(_, outcome)], _ = worked(f"disc.png,,{BOX},,,,")
    assert outcome.system == "threshold.tiny"


def test_a_worker_that_does_not_see_the_folder_says_so(tmp_path):
    with pytest.raises(Failed, match=r"does not see .*: workers on other machines want a folder that all share"):
        hire(Setting(str(tmp_path)))


def test_answers_are_one_line_each():
    provenance = Provenance("a", "a.b")
    scores = Scores(("ill", "well"), np.array([0.1, 0.2]), np.array([0.25, 0.75]), provenance=provenance)
    assert brief(scores) == "softmax ill 0.250, well 0.750"
    assert brief(Reply("Yes,\n  a shadow.", 3, provenance)) == "Yes, a shadow."
