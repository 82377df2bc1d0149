"""`hilum compare`: several systems side by side, with who is left out told, a sheet and a report."""

import json

import numpy as np
import pytest
from PIL import Image as Pillow


@pytest.fixture
def film(tmp_path):
    """A rather bright picture."""
    path = tmp_path / "film.png"
    Pillow.fromarray(np.full((30, 40), 200, dtype=np.uint8)).save(path)
    return path


def test_systems_stand_side_by_side_and_who_has_no_weights_is_told(hilum, shade, film, tmp_path):
    out = tmp_path / "out"
    words = ("compare", film, "--labels", "bright, dark", "--systems", "shade,chexzero,shade.none", "-o", out)
    ended = hilum(*words)
    assert ended.code == 0, ended.err
    head, first, second = ended.out.strip().splitlines()
    assert head.split() == ["label", *("shade.none", "similarity", "softmax") * 2]
    assert first.split()[0] == "bright"
    assert first.split()[1] == "0.784"
    assert float(second.split()[2]) < 0.1
    assert "weights are not on this machine (hilum weights list says more): chexzero." in ended.err
    told = json.loads((out / "compare.json").read_text())
    assert told["without_weights"] == ["chexzero"]
    assert [answer["provenance"]["weights"] for answer in told["answers"]] == ["shade.none", "shade.none"]
    assert told["answers"][0]["labels"][0]["texts"] == ["a bright picture"]
    with Pillow.open(out / "compare.png") as sheet:
        assert sheet.height > 560
    again = hilum(*words)
    assert again.code == 2
    assert "compare.png exists" in again.err
    assert hilum(*words, "--force").code == 0


def test_without_names_all_that_are_here_are_asked(hilum, shade, film):
    ended = hilum("compare", film, "--labels", "bright", "--json")
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)
    assert [answer["provenance"]["system"] for answer in told["answers"]] == ["biomedclip", "shade"]
    assert "chexzero" in told["without_weights"]


def test_probabilities_stand_where_a_system_is_calibrated(hilum, shade, films, film, tmp_path):
    folder = tmp_path / "cal"
    made = hilum("calibrate", "shade", "--data", films, "--labels", "bright", "-o", folder, "--draws", 100)
    assert made.code == 0, made.err
    words = ("compare", film, "--systems", "shade", "--calibration", folder)
    ended = hilum(*words, "--labels", "bright")
    assert ended.code == 0, ended.err
    assert ended.out.split()[:5] == ["label", "shade.none", "similarity", "softmax", "probability"]
    ended = hilum(*words, "--labels", "grey")
    assert ended.code == 1
    assert "shade: the calibration has no label 'grey'; it has bright." in ended.err
    assert "no system answered" in ended.err


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("--systems", "scout"), 2, "got Labels. Systems that take labels: "),
        (("--systems", "chexzeroo"), 2, "did you mean chexzero?"),
        (("--systems", ","), 2, "wanted names of systems"),
        (("--systems", "chexzero"), 1, "no system is left to ask"),
        (("--systems", "shade", "--calibration", "."), 2, "is no calibration"),
        (("--systems", "shade", "--frame", "3"), 2, ""),
    ],
)
def test_what_is_wrong_is_a_sentence(hilum, shade, film, words, code, sentence):
    ended = hilum("compare", film, "--labels", "bright", *words)
    assert ended.code == code, ended.err
    assert sentence in ended.err


def test_a_dicom_film_is_compared_and_its_patient_is_not_told(hilum, shade, tmp_path):
    from phantoms import CANARY, secondary_capture

    secondary_capture(tmp_path / "film.dcm", np.full((40, 30), 180, dtype=np.uint8))
    ended = hilum("compare", tmp_path / "film.dcm", "--labels", "bright", "--systems", "shade", "-o", tmp_path / "out")
    assert ended.code == 0, ended.err
    told = ended.out + ended.err + (tmp_path / "out" / "compare.json").read_text()
    assert not [value for value in CANARY.values() if value in told]
