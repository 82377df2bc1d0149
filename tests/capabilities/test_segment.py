"""What the capability does around a plane-by-plane segmenter: volumes, objects, orientation, millimetres, refusals."""

from dataclasses import replace

import numpy as np
import pytest

from capabilities.threshold import Threshold
from hilum.values import geometry
from hilum.values.errors import BadInput, UnsupportedPrompt
from hilum.values.image import Display, Image, from_array
from hilum.values.prompts import Box, Labels, Mask, Points, Scribble

SHAPE = (20, 40, 48)


def ball(centre: tuple[float, float, float], radius: float) -> np.ndarray:
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    return (x - centre[0]) ** 2 + (y - centre[1]) ** 2 + 4 * (z - centre[2]) ** 2 < radius**2


TRUTH = ball((15, 20, 10), 11)
OTHER = ball((38, 12, 6), 6)


@pytest.fixture
def image() -> Image:
    array = (TRUTH | OTHER).astype(np.float32)[None] * 100
    plain = from_array(array, spacing=(1.0, 1.0, 2.0))
    turned = np.array([[0.8, 0.6, 0], [-0.6, 0.8, 0], [0, 0, 1.0]]) @ np.diag([1.0, 1.0, 2.0])
    return replace(plain, affine=geometry.with_step(turned, np.array([3.0, -40.0, 12.0])), display=Display(0, 100))


@pytest.fixture
def system() -> Threshold:
    return Threshold.tiny()


def test_one_click_walks_through_the_whole_object_and_stops_at_its_ends(system, image):
    answer = system.ask(image, Points([[15, 20, 10]]))
    hit = np.flatnonzero(TRUTH.any(axis=(1, 2)))
    assert np.array_equal(answer.masks[0][hit[0] + 1 : hit[-1]], TRUTH[hit[0] + 1 : hit[-1]])
    assert not (answer.masks[0] & ~TRUTH).any()


def test_a_thick_box_limits_the_planes(system, image):
    answer = system.ask(image, Box((2, 8, 8), (28, 32, 12)))
    planes = np.flatnonzero(answer.masks[0].any(axis=(1, 2)))
    assert planes.tolist() == [8, 9, 10, 11, 12]
    assert np.array_equal(answer.masks[0][8:13], TRUTH[8:13])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_box_that_is_flat_on_an_axis_is_answered_across_that_axis(system, image, axis):
    low, high = np.array([3.0, 8, 5]), np.array([27.0, 32, 15])
    low[axis] = high[axis] = (15, 20, 10)[axis]
    answer = system.ask(image, Box(low, high))
    assert answer.masks[0][10, 20, 15]
    where = 2 - axis
    plane = (15, 20, 10)[axis]
    assert np.array_equal(np.take(answer.masks[0], plane, where), np.take(TRUTH, plane, where))


def test_named_prompts_are_objects_of_their_own_and_may_overlap(system, image):
    answer = system.ask(
        image,
        Points([[15, 20, 10]], name="big"),
        Points([[38, 12, 6]], name="small"),
        Points([[16, 20, 10]], name="again"),
    )
    assert answer.names == ("big", "small", "again")
    assert not (answer.masks[0] & answer.masks[1]).any()
    assert np.array_equal(answer.masks[0], answer.masks[2])
    assert answer.overlaps() == (("big", "again"),)


def test_unnamed_boxes_are_objects_and_points_refine_the_one_before_them(system, image):
    answer = system.ask(image, Box((2, 8, 10), (28, 32, 10)), Box((30, 4, 6), (46, 20, 6)), Points([[38, 12, 6]]))
    assert answer.names == ("object 1", "object 2")
    with pytest.raises(BadInput, match="must follow the box"):
        system.ask(image, Points([[38, 12, 6]]), Box((2, 8, 10), (28, 32, 10)), Box((30, 4, 6), (46, 20, 6)))


def test_millimetres_mean_the_same_voxels(system, image):
    at = geometry.apply(image.affine, np.array([[15.0, 20, 10]]))
    assert np.array_equal(
        system.ask(image, Points(at, space="patient")).masks, system.ask(image, Points([[15, 20, 10]])).masks
    )


def test_a_mask_on_one_plane_is_a_beginning(system, image):
    start = np.zeros(SHAPE, dtype=bool)
    start[10, 18:22, 13:17] = True
    assert np.array_equal(system.ask(image, Mask(start)).masks[0][10], TRUTH[10])


def test_every_plane_is_looked_at_once_however_often_one_asks(system, image):
    Threshold.looks = 0
    look = system.look(image)
    look.ask(Points([[15, 20, 10]]))
    first = Threshold.looks
    look.ask(Points([[15, 20, 10]]))
    assert Threshold.looks == first <= SHAPE[0]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_flipping_array_and_affine_leaves_the_mask_in_the_patient(system, image, axis):
    at = np.array([[15.0, 20, 10]])
    turned = at.copy()
    turned[0, axis] = image.grid[::-1][axis] - 1 - at[0, axis]
    flipped = system.ask(image.flipped(axis), Points(turned))
    assert np.array_equal(np.flip(flipped.masks, 3 - axis), system.ask(image, Points(at)).masks)


def test_the_answer_says_where_it_comes_from(system, image):
    answer = system.ask(image.noted("spacing stated by the user"), Points([[15, 20, 10]]))
    said = answer.provenance.as_dict()
    assert said["system"] == "threshold"
    assert said["prompts"][0]["at"] == [[15.0, 20.0, 10.0]]
    assert said["notes"] == ("spacing stated by the user", "thresholded at half of the window")


def test_volume_in_millilitres_and_tight_box(system, image):
    answer = system.ask(image, Points([[15, 20, 10]]))
    assert answer.millilitres()[0] == pytest.approx(answer.masks.sum() * 2.0 / 1000)
    low, high = answer.boxes()[0]
    assert TRUTH[low[2] : high[2] + 1, low[1] : high[1] + 1, low[0] : high[0] + 1].sum() == answer.masks.sum()


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        (Points([[15, 20]]), "the image is a volume of 48 × 40 × 20 voxels: give x,y,z"),
        (Points([[15, 20, 20]]), "the point 15,20,20 lies outside the image of 48 × 40 × 20"),
        (Points([[-1, 20, 2]]), "lies outside"),
        (Box((60, 60, 3), (70, 70, 3)), "the box 60,60,3:70,70,3 lies outside"),
        (Mask(np.ones((3, 3))), "the mask is"),
    ],
)
def test_what_cannot_be_meant_is_said_in_a_sentence(system, image, prompt, sentence):
    with pytest.raises(BadInput, match=sentence):
        system.ask(image, prompt)


def test_a_plane_of_a_picture_needs_no_third_coordinate_and_refuses_one(system):
    picture = from_array(TRUTH[10].astype(np.float32)[None])
    assert np.array_equal(system.ask(picture, Points([[15, 20]])).masks[0], TRUTH[10])
    with pytest.raises(BadInput, match="one plane of 48 × 40 pixels: give x,y"):
        system.ask(picture, Points([[15, 20, 3]]))


def test_prompts_that_a_card_does_not_name_are_refused(system, image):
    for prompt in (Labels(("liver",)), Scribble(TRUTH)):
        with pytest.raises(UnsupportedPrompt, match="threshold takes points, box, mask, got"):
            system.ask(image, prompt)
    with pytest.raises(BadInput, match="wants a prompt"):
        system.ask(image)
    with pytest.raises(BadInput, match="wants an image"):
        system.ask(Points([[1, 1]]))
