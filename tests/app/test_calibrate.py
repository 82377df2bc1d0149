"""`hilum calibrate` and `hilum ask --calibration`: from a table to probabilities, and what is refused."""

import json

import numpy as np
import pytest
from PIL import Image as Pillow


@pytest.fixture
def folder(hilum, shade, films, tmp_path):
    """A calibration of the tests' matcher."""
    words = ("--data", films, "--labels", "bright, dark", "-o", tmp_path / "cal", "--draws", 100, "--folds", 3)
    ended = hilum("calibrate", "shade", *words)
    assert ended.code == 0, ended.err
    assert "bright" in ended.out
    assert "--calibration" in ended.out
    return tmp_path / "cal"


def test_a_calibration_says_what_it_is_and_draws_a_picture(folder):
    told = json.loads((folder / "calibration.json").read_text())
    assert (told["system"], told["weights_sha256"], told["data"]) == ("shade.none", "ab" * 32, "table.csv")
    bright, dark = told["labels"]
    assert bright["texts"] == ["a bright picture"]
    assert (bright["cases"], bright["patients"]) == (48, 24)
    assert bright["positives"] + dark["positives"] == 48
    assert bright["platt"]["slope"] > 0
    for name in ("calibration_error", "log_loss"):
        for when in ("before", "after"):
            value, low, high = bright["held"][name][when]
            assert low <= value <= high or name == "calibration_error"
    with Pillow.open(folder / "reliability.png") as picture:
        assert picture.width > 600


def test_asking_with_it_gives_probabilities_and_says_of_which_data(hilum, folder, films, tmp_path):
    values = []
    for light in (40, 215):
        Pillow.fromarray(np.full((6, 8), light, dtype=np.uint8)).save(tmp_path / "film.png")
        ended = hilum("ask", "shade", tmp_path / "film.png", "--labels", "bright", "--calibration", folder, "--json")
        assert ended.code == 0, ended.err
        answer = json.loads(ended.out)
        assert any("fitted on table.csv" in note for note in answer["provenance"]["notes"])
        assert answer["labels"][0]["texts"] == ["a bright picture"]
        values.append(answer["labels"][0]["probability"])
    assert values[0] < 0.3 < 0.7 < values[1]
    table = hilum("ask", "shade", tmp_path / "film.png", "--labels", "bright,dark", "--calibration", folder)
    assert "probability" in table.out


def test_what_it_was_not_fitted_for_is_refused(hilum, shade, folder, films, tmp_path):
    film = films.parent / "films" / "p0__0.png"
    asked = ("ask", "shade", film, "--calibration", folder)
    for words, sentence in (
        (("--labels", "grey"), "has no label 'grey'"),
        (("--labels", "bright", "--template", "no {}"), "is compared with 'no bright' here"),
        ((), "give --labels with it"),
    ):
        ended = hilum(*asked, *words)
        assert ended.code == 2, ended.out
        assert sentence in ended.err
    shade.sha256 = "cd" * 32
    ended = hilum(*asked, "--labels", "bright")
    assert ended.code == 2
    assert "the weights here have cdcd" in ended.err
    ended = hilum("ask", "shade", film, "--labels", "bright", "--calibration", tmp_path)
    assert ended.code == 2
    assert "is no calibration" in ended.err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("scout", "--labels", "bright"),
            "mask, scribble, got Labels. Systems that take labels: ",
        ),
        (("clip_driven_universal", "--labels", "bright"), "answers labels with segmentation, not with scores"),
        (("shade", "--labels", "grey"), "no image has the label grey"),
        (("shade", "--labels", "bright", "--score", "cosine"), "choose similarity or softmax"),
    ],
)
def test_what_is_wrong_is_a_sentence(hilum, shade, films, tmp_path, words, sentence):
    ended = hilum("calibrate", *words, "--data", films, "-o", tmp_path / "out")
    assert ended.code == 2
    assert sentence in ended.err
    assert not (tmp_path / "out").exists()


def test_too_few_are_refused_and_a_folder_is_not_written_twice(hilum, folder, films):
    words = ("calibrate", "shade", "--data", films, "--labels", "bright")
    ended = hilum(*words, "-o", folder)
    assert ended.code == 2
    assert "holds a calibration already" in ended.err
    films.write_text("\n".join(films.read_text().splitlines()[:12]) + "\n")
    ended = hilum(*words, "-o", folder, "--force")
    assert ended.code == 2
    assert "at least 10 are wanted to calibrate it" in ended.err


def test_an_image_that_fails_is_told_and_the_rest_is_done(hilum, shade, films, tmp_path):
    broken = films.parent / "films" / "p3__7.png"
    broken.write_bytes(b"nothing")
    words = ("--data", films, "--labels", "bright", "-o", tmp_path / "cal", "--draws", 100, "--score", "softmax")
    ended = hilum("calibrate", "shade", *words, "--json")
    assert ended.code == 1
    assert "films/p3__7.png: " in ended.err
    assert "1 of 48 images failed" in ended.err
    assert json.loads(ended.out)["images"] == 47
