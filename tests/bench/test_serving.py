"""The serving bench finds what is lost, doubled or out of order; and one real kill loses nothing."""

import numpy as np
import pytest

from hilum.bench import serving
from hilum.bench.serving_child import box, picture


class Answering:
    """Answers as a server would whose sessions stand so."""

    def __init__(self, lows, revision):
        prompts = [{"low": low} for low in lows]
        self.view = {"revision": revision, "objects": [{"prompts": prompts}]}

    def ask(self, method, path):
        return self.view


@pytest.mark.parametrize(
    ("lows", "revision", "missed"),
    [
        ([[1, 1], [2, 2]], 2, []),
        ([[1, 1]], 1, ["… lost"]),
        ([[1, 1], [2, 2], [2, 2]], 3, ["… doubled"]),
        ([[2, 2], [1, 1]], 2, ["… the order of a session"]),
    ],
    ids=["whole", "lost", "doubled", "reordered"],
)
def test_what_became_of_the_prompts_is_judged(lows, revision, missed):
    story = serving.Story(["a"], {"a": [("k1", {"low": [1, 1]}), ("k2", {"low": [2, 2]})]})
    lines = list(serving._judged(Answering(lows, revision), story, 1))
    assert [line.what for line in lines if line.met is False] == missed


def test_pictures_and_boxes_are_made_from_a_seed():
    assert picture(64, 1) == picture(64, 1) != picture(64, 2)
    made = box(90, np.random.default_rng(0))
    assert all(0 <= low < high < 90 for low, high in zip(made["low"], made["high"], strict=True))


@pytest.mark.slow
def test_a_kill_at_a_random_moment_loses_and_doubles_nothing(tmp_path):
    lines = list(serving.kill_lines(tmp_path / "state", 1))
    assert [line.what for line in lines if line.met is False] == []
    assert lines[0].ours == "12"
