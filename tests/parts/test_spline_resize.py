"""The spline gives scikit-image's numbers."""

import numpy as np
import pytest

from hilum.parts.spline_resize import spline_resize


@pytest.mark.parametrize(("given", "wanted"), [((40, 30), (64, 64)), ((90, 70), (32, 48)), ((50, 64), (64, 64))])
def test_equal_to_scikit_image(given, wanted):
    from skimage.transform import resize

    picture = np.random.default_rng(0).integers(0, 256, (3, *given)).astype(np.uint8)
    theirs = resize(np.moveaxis(picture, 0, -1), wanted, order=3, preserve_range=True, anti_aliasing=True)
    mine = np.moveaxis(spline_resize(picture, *wanted), 0, -1)
    assert np.abs(mine - theirs).max() < 1e-9
    assert np.array_equal(mine.astype(np.uint8), theirs.astype(np.uint8))


def test_the_range_is_kept():
    edge = np.zeros((1, 20, 20))
    edge[:, :, 10:] = 255
    resized = spline_resize(edge, 64, 64)
    assert resized.min() == 0
    assert resized.max() == 255


def test_the_same_size_is_the_same_picture():
    picture = np.random.default_rng(0).normal(size=(1, 12, 9))
    assert np.array_equal(spline_resize(picture, 12, 9), picture)
