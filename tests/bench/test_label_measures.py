"""Measures of labels without training: areas, choices, gaps between groups; and records that save a second look."""

import json
from dataclasses import replace

import numpy as np
import pytest
from capabilities.shade import Shade
from PIL import Image as Pillow

from hilum.bench import label_measures, label_records, label_table
from hilum.bench.classes import auroc, average_precision
from hilum.bench.label_measures import Cases, measured
from hilum.train import labelled
from hilum.train.labelled import LabelledImage
from hilum.values.errors import BadInput
from hilum.values.prompts import Labels


def cases(count: int = 60, *, exclusive: bool = False, noise: float = 0.3) -> Cases:
    rng = np.random.default_rng(2)
    truth = np.eye(2)[rng.integers(0, 2, count)]
    softmax = np.clip(truth * 0.5 + 0.25 + rng.normal(0, noise, (count, 1)) * [[1, -1]], 0, 1)
    softmax /= softmax.sum(axis=1, keepdims=True)
    return Cases(("a", "b"), softmax, softmax, truth, np.arange(count) // 2, exclusive)


def test_areas_are_those_of_the_definitions_and_the_mean_is_of_labels():
    given = cases()
    given = replace(given, score=given.score.round(1))  # with ties
    given.truth[:7, 0] = np.nan
    found = measured(given, draws=100)
    first, second, mean = found.lines
    assert (first.label, first.images, second.images, mean.label) == ("a", 53, 60, "mean of labels")
    known = given.truth[7:, 0] == 1
    assert first.with_it == known.sum()
    assert first.numbers["AUROC"][0] == pytest.approx(auroc(given.score[7:, 0], known))
    assert first.numbers["AUPRC"][0] == pytest.approx(average_precision(given.score[7:, 0], known))
    called = given.softmax[7:, 0] >= 0.5
    balanced = (called[known].mean() + (~called[~known]).mean()) / 2
    assert first.numbers["balanced accuracy at 0.5"][0] == pytest.approx(balanced)
    for name in label_measures.MEASURES:
        assert mean.numbers[name][0] == pytest.approx((first.numbers[name][0] + second.numbers[name][0]) / 2)
        assert mean.numbers[name][1] < mean.numbers[name][2]
    assert found.choice == {}


def test_labels_that_exclude_each_other_are_a_choice():
    given = cases(exclusive=True)
    accuracy, low, high = measured(given, draws=100).choice["balanced accuracy"]
    right = given.softmax.argmax(1) == given.truth.argmax(1)
    assert accuracy == pytest.approx(np.mean([right[given.truth[:, place] == 1].mean() for place in (0, 1)]))
    assert low < accuracy < high


def test_where_one_label_is_true_the_others_that_nobody_wrote_down_are_not(table):
    scored, _ = label_records.scored(
        Shade.tiny(), table.images, Labels(("bright",)), label_records.Settings("", None, {}, None, ""), None
    )
    unknown = replace(scored, images=tuple(replace(image, truth=(None,)) for image in scored.images))
    assert np.isnan(label_measures.cases(unknown, ("bright",), "softmax").truth).all()
    assert (label_measures.cases(unknown, ("bright",), "softmax", exclusive=True).truth == 0).all()


def test_a_label_that_all_have_gives_no_number():
    given = cases(6)
    given.truth[:, 0] = 1
    found = measured(given, draws=100)
    assert label_table.number(found.lines[0].numbers["AUROC"]) == "–"
    assert label_table.number(found.lines[-1].numbers["AUROC"]) == "–"


def groups(*, small: int = 40) -> dict:
    """A group that is told apart well, and one by a coin."""
    well, coin = cases(80, noise=0.1), cases(small)
    coin = Cases(
        coin.labels, np.random.default_rng(0).random(coin.score.shape), coin.softmax, coin.truth, coin.patients
    )
    return {"PA": measured(well, draws=100), "AP": measured(coin, draws=100)}


def test_the_largest_gap_is_named_with_both_groups_and_among_how_many():
    gap = label_table.largest_gap(groups())
    assert (gap.low[0], gap.high[0], gap.measure, gap.among) == ("AP", "PA", "AUROC", 2)
    assert gap.apart > 0.3
    assert "AP 0." in gap.sentence("view")
    assert label_table.largest_gap(groups(small=12)) is None
    text = label_table.markdown(["head"], measured(cases(), draws=100), {"view": groups(small=12)}, ["note"])
    assert "By view no two groups have 10 images with a label and 10 without" in text


@pytest.fixture
def table(tmp_path):
    """Five films of which three are bright."""
    for number, light in enumerate((20, 60, 200, 220, 240)):
        Pillow.fromarray(np.full((4, 4), light, dtype=np.uint8)).save(tmp_path / f"{number}.png")
    lines = ["file,bright", *(f"{number}.png,{int(number > 1)}" for number in range(5))]
    (tmp_path / "table.csv").write_text("\n".join(lines))
    return labelled.read(tmp_path / "table.csv", ("bright",))


def looked(table, labels, file) -> tuple:
    """What is scored, and how many looks that took."""
    system, before = Shade.tiny(), Shade.looks
    settings = label_records.Settings.of(system, labels, modality=None, backend="torch")
    return *label_records.scored(system, table.images, labels, settings, file), Shade.looks - before


def test_what_is_in_the_records_is_not_looked_at_again(table, tmp_path):
    file, labels = tmp_path / "records.jsonl", Labels(("bright",))
    first, failed, looks = looked(table, labels, file)
    assert (looks, failed) == (5, {})
    line = json.loads(file.read_text().split("\n")[1])
    assert line["texts"] == {"bright": ["a bright picture"]}
    file.write_text(file.read_text()[:-90])  # a kill in the middle of the last line
    again, _, looks = looked(table, labels, file)
    assert looks == 1
    np.testing.assert_array_equal(first.similarity, again.similarity)
    assert looked(table, labels, file)[2] == 0
    assert looked(table, Labels(("bright",), templates=("no {}",)), file)[2] == 5
    Pillow.fromarray(np.full((4, 5), 9, dtype=np.uint8)).save(tmp_path / "0.png")  # another picture
    assert looked(table, labels, file)[2] == 1


def test_an_image_that_fails_is_left_out(table, tmp_path):
    (tmp_path / "3.png").write_bytes(b"nothing")
    found, failed, _ = looked(table, Labels(("bright",)), None)
    assert len(found.images) == 4
    assert list(failed) == ["3.png"]


def test_exclusive_labels_want_one_true_label_for_each_image(table):
    with pytest.raises(BadInput, match="give at least two"):
        label_measures.check_exclusive(table)
    images = tuple(LabelledImage(str(at), None, at + 2, (True, at == 1), "p", {}) for at in range(2))
    both = labelled.Labelled(table.path, "", ("a", "b"), images)
    with pytest.raises(BadInput, match=r"table.csv, line 3: with --exclusive exactly one of a, b is wanted, and 2 are"):
        label_measures.check_exclusive(both)
