"""bright_region: what its card says, as claims."""

import numpy as np

import hilum


def test_a_click_finds_the_disc_that_it_lies_in():
    y, x = np.ogrid[:40, :60]
    disc = (x - 20) ** 2 + (y - 18) ** 2 < 81
    image = hilum.from_array(np.where(disc, 220.0, 30.0)[None])
    answer = hilum.load("bright_region").ask(image, hilum.Points([[20, 18]]))
    assert np.array_equal(answer.masks[0], disc)
