"""Measures beside cases that can be counted by hand."""

import numpy as np
import pytest

from hilum.bench.measure import dice, ellipse, interval, otsu, surface_dice


def square(low: int, high: int) -> np.ndarray:
    mask = np.zeros((40, 40), dtype=bool)
    mask[low : high + 1, low : high + 1] = True
    return mask


def test_dice_of_hand_counted_squares():
    assert dice(square(0, 9), square(5, 14)) == pytest.approx(2 * 25 / 200)
    assert dice(square(0, 9), square(0, 9)) == 1.0
    assert dice(np.zeros((4, 4), bool), np.zeros((4, 4), bool)) == 1.0


def test_surface_dice_forgives_what_is_within_tolerance():
    assert surface_dice(square(5, 20), square(6, 21), step=(1.0, 1.0), tolerance=1.5) == 1.0
    assert surface_dice(square(5, 20), square(10, 25), step=(1.0, 1.0), tolerance=1.0) < 0.6
    assert surface_dice(square(5, 20), np.zeros((40, 40), bool), step=(1.0, 1.0), tolerance=2.0) == 0.0


def test_surface_dice_minds_the_spacing():
    assert surface_dice(square(5, 20), square(6, 21), step=(3.0, 3.0), tolerance=1.5) < 1.0


def test_the_ellipse_touches_the_boxs_sides():
    mask = ellipse(np.array([4.0, 10.0]), np.array([24.0, 20.0]), (40, 40))
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    assert (columns[0], rows[0], columns[-1], rows[-1]) == (4, 10, 24, 20)
    assert mask.sum() == pytest.approx(np.pi * 10.5 * 5.5, rel=0.03)


def test_otsu_finds_the_bright_middle():
    grey = square(10, 20) * 0.6 + np.random.default_rng(0).normal(0, 0.02, (40, 40))
    assert dice(square(10, 20), otsu(grey, np.array([6.0, 6.0]), np.array([25.0, 25.0]))) > 0.98
    assert dice(square(10, 20), otsu(-grey, np.array([6.0, 6.0]), np.array([25.0, 25.0]))) > 0.98


def test_the_interval_draws_whole_images():
    """Ten equal objects of one image carry no more than one: the interval spans both images' means."""
    values, groups = np.repeat([0.2, 0.8], 10), np.repeat(["a", "b"], 10)
    low, high = interval(values, groups)
    assert (low, high) == (pytest.approx(0.2), pytest.approx(0.8))
