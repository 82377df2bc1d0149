"""Colours and greys arrive in three channels of 8 bit; what is changed is said."""

import numpy as np

from hilum.parts.colour_frame import FULL, as_colour
from hilum.values.image import Display, Image, from_array


def test_8_bit_stays_as_it_is_and_nothing_is_noted():
    rng = np.random.default_rng(0)
    for channels in (1, 3):
        picture = from_array(rng.integers(0, 256, (channels, 5, 7)).astype(np.uint8))
        seen = as_colour(picture, "plip")
        np.testing.assert_array_equal(seen.array, np.broadcast_to(picture.array, (3, 5, 7)))
        assert seen.display == FULL
        assert not seen.source.notes


def test_other_values_are_shown_through_their_display_and_noted():
    array = np.array([[[0.0, 50, 100, 200]]], np.float32)
    picture = from_array(array)
    inverted = Image(array, picture.affine, picture.space, Display(0.0, 100.0, inverted=True))
    seen = as_colour(inverted, "plip")
    np.testing.assert_array_equal(seen.array[:, 0], [[255, 128, 0, 0]] * 3)
    assert seen.source.notes == ("plip saw 0 to 100 in 8 bit",)
