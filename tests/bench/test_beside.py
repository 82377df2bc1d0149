"""Ways side by side: gains are paired, and a shortcut that only tells groups apart is nothing within them."""

from dataclasses import replace

import numpy as np
import pytest

from hilum.bench.beside import WITHIN, Beside, facts, within_markdown
from hilum.bench.classes import auroc
from hilum.bench.label_measures import Cases, balanced_accuracy, mean_auroc
from hilum.train.labelled import LabelledImage

COUNT = 200
RNG = np.random.default_rng(0)
VIEW = RNG.random(COUNT) < 0.5
ILL = RNG.random(COUNT) < np.where(VIEW, 0.8, 0.2)  # mostly taken at the bedside


def way(score, *, exclusive: bool = False) -> Cases:
    two = np.stack([score, 1 - score], axis=1)
    truth = np.stack([ILL, ~ILL], axis=1).astype(float)
    return Cases(("ill", "well"), two, two, truth, np.arange(COUNT) // 2, exclusive)


@pytest.fixture
def given() -> Beside:
    """A way that knows the view alone, and one that knows something of the illness alone."""
    images = [
        LabelledImage(str(at), None, at, (), str(at // 2), {"view": "PA" if VIEW[at] else "AP"}) for at in range(COUNT)
    ]
    noise = RNG.uniform(0, 0.3, COUNT)
    honest = np.clip(0.35 + 0.3 * ILL + RNG.normal(0, 0.25, COUNT), 0, 1)
    return Beside({"honest": way(honest), "view": way(0.2 + 0.5 * VIEW + noise)}, images, draws=200)


def test_a_shortcut_is_good_over_all_and_chance_within_each_group(given):
    found = given.within("view")
    assert given.area("view")[0] > 0.75
    for name in ("AP", "PA", WITHIN):
        value, low, high = found["view"][name]
        assert low < 0.5 < high or abs(value - 0.5) < 0.1
        assert found["honest"][name][1] > 0.6
    middle = np.mean([found["honest"][name][0] for name in ("AP", "PA")])
    assert found["honest"][WITHIN][0] == pytest.approx(middle)
    lines = within_markdown(given, "view")
    assert "| by | all together | AP | PA | mean of groups |" in lines
    assert set(facts(given, ["view"])) == {"gains", "within"}


def test_gains_are_differences_on_the_same_draws(given):
    value, low, high = given.gains()["view"]["AUROC"]
    assert value == pytest.approx(mean_auroc(given.ways["honest"]) - mean_auroc(given.ways["view"]))
    assert low <= value <= high
    same = replace(given, ways={"a": given.ways["honest"], "b": given.ways["honest"]})
    assert same.gains()["b"]["AUROC"] == (0.0, 0.0, 0.0)


def test_labels_that_exclude_each_other_are_held_by_their_choice_too():
    score = np.clip(0.5 + 0.4 * (ILL - 0.5) + RNG.normal(0, 0.2, COUNT), 0, 1)
    cases = way(score, exclusive=True)
    assert mean_auroc(cases) == pytest.approx(auroc(score, ILL))
    right = (score >= 0.5) == ILL
    assert balanced_accuracy(cases) == pytest.approx((right[ILL].mean() + right[~ILL].mean()) / 2)
    found = Beside({"a": cases, "b": way(1 - score, exclusive=True)}, [], draws=100)
    assert set(replace(found, images=[None] * COUNT).gains()["b"]) == {"AUROC", "balanced accuracy"}


def test_a_group_with_one_truth_has_no_number_of_its_own(given):
    images = [
        replace(image, groups={"view": "ill" if ill else "well"}) for image, ill in zip(given.images, ILL, strict=True)
    ]
    assert replace(given, images=images).within("view") == {}
    assert within_markdown(replace(given, images=images), "view") == []
