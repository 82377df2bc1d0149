"""The rivals beat chance where their feature tells the classes apart, and groups of likeness hold."""

import numpy as np

from hilum.bench import probe, probe_table, rivals

RNG = np.random.default_rng(0)
LABELS = np.arange(40) % 2


def stripes(upright: bool) -> np.ndarray:
    wave = 128 + 100 * np.sin(np.arange(128) / 4 + RNG.uniform(0, 6))
    plane = np.tile(wave, (128, 1)) + RNG.normal(0, 10, (128, 128))
    return np.clip(plane if upright else plane.T, 0, 255).astype(np.uint8)


def test_gradients_tell_stripes_apart_and_thumbnails_tell_brightness():
    squares, groups = [stripes(bool(label)) for label in LABELS], list(range(40))
    features = rivals.gradients(squares)
    assert probe.cross_validated(rivals.ridge, features, LABELS, groups).measures["accuracy"] == 1
    lit = [np.full((128, 128), 60 + 120 * label, np.uint8) for label in LABELS]
    small = rivals.thumbnails(lit)
    assert small.shape == (40, 64)
    assert probe.cross_validated(rivals.nearest, small, LABELS, groups).measures["accuracy"] == 1


def test_the_middle_is_a_square_of_the_short_side():
    grey = np.zeros((50, 200), np.uint8)
    grey[:, 75:125] = 255
    assert (rivals.middle(grey, 64) > 200).mean() > 0.95


def test_pictures_that_look_alike_are_one_group():
    one, other = (RNG.integers(0, 256, (16, 16), dtype=np.uint8).repeat(8, 0).repeat(8, 1) for _ in range(2))
    near = np.clip(one.astype(int) + 3, 0, 255).astype(np.uint8)
    groups = probe_table.alike([one, near, other])
    assert groups[0] == groups[1] != groups[2]
    assert len({probe_table.alike([one, near, other], ["a", "b", "b"])[place] for place in range(3)}) == 1
    assert len(set(probe_table.alike([one, other], ["a", "b"]))) == 2
