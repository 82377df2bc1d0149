"""Calibration and the rank of what is wrong."""

import numpy as np
import pytest

from hilum.bench.calibration import calibration_error, rank_area


def test_a_probability_that_is_true_has_no_error():
    probability = np.repeat([0.25, 0.75], 400)
    truth = np.tile([True, False, False, False], 100).tolist() + np.tile([True, True, True, False], 100).tolist()
    assert calibration_error(probability, np.array(truth)) == pytest.approx(0)
    assert calibration_error(probability, ~np.array(truth)) == pytest.approx(0.5)


def test_a_mask_is_as_wrong_as_it_has_wrong_pixels():
    truth = np.zeros((10, 10), dtype=bool)
    truth[:5] = True
    mask = truth.copy()
    mask[0] = False
    assert calibration_error(mask.astype(np.float32), truth) == pytest.approx(0.1)


def test_the_area_is_the_share_of_pairs_in_the_right_order():
    score = np.array([0.1, 0.4, 0.4, 0.9])
    assert rank_area(score, np.array([False, False, True, True])) == pytest.approx((1 + 0.5 + 2) / 4)
    assert np.isnan(rank_area(score, np.zeros(4, dtype=bool)))
