"""Which planes of a volume are shown, and which part of them."""

import numpy as np
import pytest
from seen import phantom

from hilum.io import planes
from hilum.values.image import from_array
from hilum.values.prompts import Box


def test_planes_go_evenly_through_the_object_and_through_the_clicks():
    area = np.zeros(100, dtype=int)
    area[20:60] = 10
    chosen = planes.spread(area, 5, asked=[], without=33)
    assert len(chosen) == 5
    assert 33 not in chosen
    assert min(chosen) >= 20
    assert max(chosen) < 60
    assert np.ptp(np.diff(chosen)) <= 10
    clicked = planes.spread(area, 5, asked=[41, 22], without=33)
    assert {41, 22} <= set(clicked)
    assert len(clicked) == 5


@pytest.mark.parametrize("count", [1, 2, 4])
def test_few_planes_are_shown_once_each(count):
    area = np.ones(count, dtype=int)
    assert planes.spread(area, 6, asked=[0], without=0) == list(range(1, count))


def test_the_large_panel_shows_the_plane_with_most_of_the_object():
    answer = phantom("tilted")
    section = planes.main_section(answer.image)
    area = planes.areas(section, planes.together(answer))
    assert planes.best(area, []) == int(np.argmax(answer.masks[0].sum(axis=(1, 2))))


def test_other_directions_are_shown_for_near_isotropic_square_voxels_only():
    isotropic = from_array(np.zeros((1, 20, 24, 28), np.float32), spacing=(1.0, 1.0, 1.2))
    section = planes.main_section(isotropic)
    assert [other.normal for other in planes.other_sections(isotropic, section)] == [1, 0]
    thick, tilted = phantom("axial").image, phantom("tilted").image
    for image in (thick, tilted):
        assert planes.other_sections(image, planes.main_section(image)) == ()


def test_a_close_up_is_square_in_millimetres_and_holds_the_object():
    image = from_array(np.zeros((1, 4, 200, 100), np.float32), spacing=(2.0, 1.0, 5.0))
    union = np.zeros(image.grid, dtype=bool)
    union[1, 100:120, 90:97] = True
    region = planes.around(image, image.section(2), union)
    assert region.width * 2.0 == pytest.approx(region.height * 1.0, abs=2.0)
    assert region.left <= 90 < 97 <= region.right <= 100
    assert region.top <= 100 < 120 <= region.bottom


def test_a_flat_box_is_looked_at_on_its_own_plane():
    answer = phantom()
    assert planes.main_section(answer.image, [Box([7, 3, 2], [7, 20, 8])]).normal == 0
    assert planes.main_section(answer.image, [Box([3, 3, 2], [7, 20, 8])]).normal == 2
