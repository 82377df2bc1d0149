"""Platt scaling: the two numbers that it finds, and what a calibration refuses."""

from dataclasses import replace

import numpy as np
import pytest

from hilum.adapt import calibrating
from hilum.adapt.calibrating import CalibratedLabel, Calibration, Platt, fit
from hilum.train.labelled import LabelledImage
from hilum.values.answers import Scores
from hilum.values.errors import BadInput
from hilum.values.provenance import Provenance


def test_it_finds_the_numbers_that_made_the_truth():
    rng = np.random.default_rng(1)
    scores = rng.normal(0.3, 0.1, 20000)
    truth = rng.random(20000) < 1 / (1 + np.exp(-(20 * scores - 6)))
    found = fit(scores, truth)
    assert found.slope == pytest.approx(20, rel=0.05)
    assert found.intercept == pytest.approx(-6, rel=0.05)


def test_numbers_stay_finite_where_a_score_parts_all_and_where_it_parts_none():
    truth = np.arange(20) < 10
    parted = fit(np.where(truth, 0.31, 0.30), truth)
    assert 0.5 < float(parted(np.array(0.31))) < 1
    blind = fit(np.full(20, 0.3), truth)
    assert float(blind(np.array(0.3))) == pytest.approx(0.5)


def made(**changed) -> Calibration:
    labels = tuple(
        CalibratedLabel(name, (f"a {name}",), Platt(2.0, 0.0, -1.0, 1.0), 40, 20, 30) for name in ("mass", "edema")
    )
    return replace(Calibration("x.a", "ab", "similarity", labels, {}, "table.csv", "cd" * 32, 40), **changed)


def scores(*names: str, similarity: float = 0.5, said: str = "a {}") -> Scores:
    texts = tuple((said.format(name),) for name in names)
    share = np.full(len(names), 0.25)
    return Scores(names, np.full(len(names), similarity), share, Provenance("x", "x.a"), texts=texts)


def test_it_fills_the_probability_and_says_which_data():
    answer = made().applied(scores("edema"))
    assert answer.probability == pytest.approx(1 / (1 + np.exp(-1.0)))
    assert "fitted on table.csv (sha256 cdcdcdcdcdcdcdcd…, 40 images)" in answer.provenance.notes[0]
    assert len(answer.provenance.notes) == 1
    assert "outside" in made().applied(scores("edema", similarity=1.5)).provenance.notes[1]
    share = made(score="softmax").applied(scores("mass", "edema"))
    assert share.probability == pytest.approx([0.1, 0.1])  # 2 * log(1 / 3)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (("y.a", "ab", ["mass"]), "is that of x.a, and y.a is asked"),
        (("x.a", "ef", ["mass"]), "with sha256 ab…, and the weights here have ef"),
        (("x.a", "ab", ["mass", "lump"]), "has no label 'lump'; it has mass, edema"),
        (("x.a", "ab", ["mass"], 2), "one picture at a time, and 2 are asked"),
    ],
)
def test_another_system_weights_or_labels_are_refused(asked, sentence):
    with pytest.raises(BadInput, match=sentence):
        made().refuse(*asked)
    made().refuse("x.a", "ab", ["edema"])


def test_other_texts_are_refused_and_of_a_softmax_other_company():
    with pytest.raises(BadInput, match="mass was calibrated with the texts 'a mass', and is compared with 'no mass'"):
        made().applied(scores("mass", said="no {}"))
    made(score="softmax").refuse("x.a", "ab", ["edema", "mass"])
    with pytest.raises(BadInput, match="a softmax over mass, edema: ask for all"):
        made(score="softmax").refuse("x.a", "ab", ["mass"])


def test_it_is_read_as_it_was_written(tmp_path):
    calibrating.write(made(), tmp_path / "cal")
    assert calibrating.read(tmp_path / "cal") == made()
    with pytest.raises(BadInput, match="holds a calibration already"):
        calibrating.check_target(tmp_path / "cal", force=False)
    path = tmp_path / "cal" / calibrating.CONFIG
    path.write_text(path.read_text().replace("calibration/1", "calibration/9"))
    with pytest.raises(BadInput, match="written by another hilum"):
        calibrating.read(tmp_path / "cal")
    with pytest.raises(BadInput, match="is no calibration: make one"):
        calibrating.read(tmp_path)


def image(number: int, truth: bool | None, patient: str | None = None) -> LabelledImage:
    return LabelledImage(str(number), None, number, (truth,), patient or str(number), {})


def test_too_few_images_or_patients_are_refused():
    few = [image(number, number < 9) for number in range(30)]
    with pytest.raises(BadInput, match="9 images with mass: at least 10"):
        calibrating.enough(("mass",), few)
    unknown = [image(number, True if number < 15 else None) for number in range(30)]
    with pytest.raises(BadInput, match="0 images without mass"):
        calibrating.enough(("mass",), unknown)
    one = [image(number, number < 15, "one" if number < 15 else None) for number in range(30)]
    with pytest.raises(BadInput, match="all 15 images with mass are of one patient"):
        calibrating.enough(("mass",), one)
