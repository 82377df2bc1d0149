"""The reliability picture: a square for each label, drawn by the bins."""

import numpy as np
from PIL import Image as Pillow

from hilum.io.reliability import AFTER, Reliability, reliability_sheet


def test_a_bin_is_a_dot_where_claim_and_truth_meet(tmp_path):
    bins = np.array([[0.0, 0.0, 5.0], [0.5, 1.0, 20.0], [1.0, 1.0, 10.0]])
    label = Reliability("mass", "error 0.1 before, 0.2 after", bins, bins)
    path = reliability_sheet([label, label], tmp_path / "r.png", title="x.a", line="table.csv")
    with Pillow.open(path) as opened:
        picture = np.asarray(opened)
    drawn = (picture == AFTER).all(axis=-1)
    down, across = np.nonzero(drawn[:-60])  # without the key below
    assert across.max() - across.min() > 264  # from 0 of the first square to 1 of the second
    first = drawn[:-60, :350]
    down, across = np.nonzero(first)
    assert 264 < down.max() - down.min() < 264 + 20
    assert 264 < across.max() - across.min() < 264 + 20
