"""A calibration measured on patients that it was not fitted to, and the draws of whole patients."""

import numpy as np
import pytest

from hilum.bench.calibration import calibration_error, reliability
from hilum.bench.held_calibration import Plan, dealt, held_out, log_loss
from hilum.bench.resample import interval, redrawn


def cases(seed: int = 0, count: int = 600):
    """Scores whose true log-odds are 12 times them less 3, three cases a patient."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0.25, 0.2, count)
    truth = rng.random(count) < 1 / (1 + np.exp(-(12 * scores - 3)))
    return scores, truth, np.arange(count) // 3


def test_fits_on_others_make_a_claim_true_that_was_not():
    scores, truth, people = cases()
    claimed = np.full(len(scores), 0.9)
    held = held_out(scores, claimed, (truth, people), Plan(folds=4))
    facts = held.facts(Plan(draws=200))
    before, after = (facts["calibration_error"][when] for when in ("before", "after"))
    assert after[0] < 0.1 < before[0]
    assert before[1] <= before[0] <= before[2]
    assert facts["log_loss"]["after"][2] < facts["log_loss"]["before"][1]
    bins = reliability(held.after, truth)
    assert bins[:, 2].sum() == len(truth)
    error = (bins[:, 2] * abs(bins[:, 0] - bins[:, 1])).sum() / len(truth)
    assert error == pytest.approx(calibration_error(held.after, truth))


def test_patients_stay_in_one_fold_and_every_fold_leaves_some_with_the_label():
    people = np.repeat(np.arange(10), 3)
    truth = np.isin(people, (4, 7))
    for seed in range(20):
        fold = dealt(people, truth, Plan(folds=5, seed=seed))
        assert all(len(set(fold[people == person])) == 1 for person in range(10))
        assert all(truth[fold != held].any() for held in range(5))


def test_a_draw_takes_whole_patients_as_many_as_there_are():
    people = np.array(["b", "a", "b", "c"])
    for drawn in redrawn(people, draws=20):
        counts = np.bincount(drawn, minlength=4)
        assert counts[0] == counts[2]
        assert counts[0] + counts[1] + counts[3] == 3


def test_an_interval_wants_most_draws_to_give_a_number():
    values = np.stack([np.linspace(0, 1, 101), np.where(np.arange(101) < 30, np.nan, 0.5)], axis=1)
    low, high = interval(values)
    assert (low[0], high[0]) == pytest.approx((0.025, 0.975))
    assert np.isnan([low[1], high[1]]).all()


def test_the_loss_of_a_sure_mistake_is_large_and_finite():
    assert log_loss(np.array([1.0, 0.0]), np.array([True, False])) == pytest.approx(0)
    assert log_loss(np.array([0.0]), np.array([True])) == pytest.approx(-np.log(1e-7))
