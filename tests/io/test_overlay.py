"""The preview: letters, scale, edges and prompts lie where the patient has them, whichever way the array runs."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from grids import PROVENANCE, affines, answer_on, volume
from hypothesis import given, settings
from PIL import Image as Pillow
from scipy.ndimage import distance_transform_cdt
from seen import phantom, view_of

from hilum.io import marks, overlay, planes
from hilum.io.ink import INSIDE, OUTSIDE, PALE, PALETTE, blank, inner_edge
from hilum.io.lettering import Type, bar_length, coverage, plain, scale_bar, shortened
from hilum.io.overlay import preview, sheet
from hilum.io.panel import outlined, window_words
from hilum.io.view import Region, stretched
from hilum.io.words import rounded, size_words
from hilum.values.answers import Segmentation
from hilum.values.errors import BadInput
from hilum.values.image import Display, from_array
from hilum.values.prompts import Box, Labels, Mask, Points, Scribble
from phantoms import ct_affine


def flipped(answer, axis):
    """The same answer on the image reversed along x, y or z with its affine."""
    masks = np.flip(answer.masks, axis=answer.masks.ndim - 1 - axis)
    return replace(answer, image=answer.image.flipped(axis), masks=np.ascontiguousarray(masks))


def near(canvas, colour, tolerance=2):
    """Pixels of one colour."""
    return (np.abs(canvas.astype(int) - colour) <= tolerance).all(axis=-1)


def centre_of(pixels):
    """(x, y) px of the middle of marked pixels, in edge coordinates."""
    return np.argwhere(pixels)[:, ::-1].mean(axis=0) + 0.5


# Letters


def test_axial_has_the_right_side_left_and_the_front_on_top():
    assert view_of(volume()).sides() == ("R", "L", "A", "P")


def test_coronal_and_sagittal_have_the_head_on_top():
    assert view_of(volume(), normal=1).sides() == ("R", "L", "S", "I")
    assert view_of(volume(), normal=0).sides() == ("A", "P", "S", "I")


@settings(max_examples=40, deadline=None)
@given(affine=affines())
def test_letters_are_the_same_for_every_way_an_array_may_run(affine):
    image = volume((3, 4, 5), affine)
    for axis, normal in itertools.product(range(3), range(3)):
        turned = view_of(image.flipped(axis), normal)
        assert turned.sides() == view_of(image, normal).sides()
        left, right, top, bottom = turned.sides()
        assert {left, right} in ({"R", "L"}, {"A", "P"})
        assert (left, top) in (("R", "A"), ("R", "S"), ("A", "S")), (right, bottom)


def test_letters_and_scale_stand_only_where_they_mean_something():
    grey = np.zeros((1, 20, 30), dtype=np.uint8)
    photo, radiograph = from_array(grey), from_array(grey, spacing=(0.2, 0.2))
    assert view_of(photo).sides() is None
    assert view_of(photo).pixels_per_mm is None
    assert view_of(radiograph).sides() is None
    assert view_of(radiograph).pixels_per_mm == pytest.approx(400 / 30 / 0.2)


def test_a_plane_is_named_as_prompts_count_it():
    image = volume((7, 5, 6))
    assert view_of(image, 2, number=2).words() == "axial · z 2"
    assert view_of(image.flipped(2), 2, number=2).words() == "axial · z 4"
    assert view_of(volume((4, 5, 6), ct_affine("oblique"))).words().startswith("oblique axial")


# The picture follows the patient, not the array


def pictures_only(answer, prompts=()):
    """The preview without the words above panels, which name array indices."""
    shown = overlay.Shown(answer, tuple(prompts), planes.main_section(answer.image, prompts), planes.together(answer))
    area = planes.areas(shown.section, shown.union)
    shots = [*shown.shots(planes.best(area, []), []), shown.across(shown.section)]
    return [shot.paint(view_of(answer.image, shot.section.normal, shot.number, region=shot.region)) for shot in shots]


@pytest.mark.parametrize("kind", ["axial", "tilted", "oblique", "sagittal"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_flipped_array_with_its_affine_gives_the_same_pictures_to_the_pixel(kind, axis):
    answer = phantom(kind, objects=2)
    for straight, turned in zip(pictures_only(answer), pictures_only(flipped(answer, axis)), strict=True):
        assert np.array_equal(straight.picture, turned.picture)


@pytest.mark.parametrize("axis", [0, 1])
def test_flipped_in_plane_the_whole_sheet_is_the_same(axis):
    answer = phantom()
    prompts = (Points([[0.0, -6.0, 16.0], [8.0, -6.0, 16.0]], [True, False], space="patient"),)
    assert np.array_equal(sheet(answer, prompts), sheet(flipped(answer, axis), prompts))


def test_same_answer_same_bytes(tmp_path):
    first, second = (preview(phantom(), tmp_path / f"{name}.png") for name in "ab")
    assert first.read_bytes() == second.read_bytes()


# Scale


@settings(max_examples=60, deadline=None)
@given(affine=affines(sheared=False))
def test_a_millimetre_is_as_long_down_as_across(affine):
    view = view_of(volume((4, 5, 6), affine))
    axes = view.section.across, view.section.down
    across, down = (size / view.image.spacing[axis] for size, axis in zip(view.scale, axes, strict=True))
    assert across == pytest.approx(down, rel=1.0 / min(view.size) + 1e-9)


@pytest.mark.parametrize("pixels_per_mm", [0.8, 2.0, 3.7, 41.0, 2900.0])
def test_scale_bar_is_as_many_pixels_long_as_its_millimetres(pixels_per_mm):
    canvas = blank(500, 400)
    scale_bar(canvas, pixels_per_mm, style=Type(17))
    length = bar_length(500 / pixels_per_mm)
    runs = near(canvas, PALE).sum(axis=1)
    assert abs(runs.max() - length * pixels_per_mm) <= 0.5
    assert 0.1 * 500 < runs.max() <= 0.3 * 500 + 1
    assert round(length / 10 ** np.floor(np.log10(length) + 1e-9)) in (1, 2, 5)


# Masks


@pytest.mark.parametrize(("given", "wanted"), [(7, 40), (40, 7), (5, 5), (3, 10)])
def test_stretched_masks_neither_lose_nor_invent_voxels(given, wanted):
    for place in range(given):
        mask = np.zeros((given, 2), dtype=bool)
        mask[place] = True
        shown = stretched(mask, 0, wanted)
        assert shown.shape == (wanted, 2)
        assert shown.any()
        assert abs(shown[:, 0].sum() - wanted / given) < 1.01
        assert abs(np.flatnonzero(shown[:, 0]).mean() + 0.5 - (place + 0.5) * wanted / given) <= 1.0


def test_contour_lies_on_the_edge_of_the_scaled_mask():
    answer = phantom("tilted")
    view = view_of(answer.image, number=5)
    shown = view.mask(answer.masks[0])
    painted = near(outlined(view, answer.masks).picture, PALETTE[0])
    assert painted.any()
    deep = distance_transform_cdt(shown, metric="taxicab")
    assert np.array_equal(painted, (deep >= 1) & (deep <= 2))


def test_contour_stands_within_half_a_pixel_of_the_voxels_edge_on_anisotropic_planes():
    values = np.zeros((1, 12, 20, 10), dtype=np.float32)
    image = replace(from_array(values, spacing=(0.5, 1.5, 4.0)), display=Display(0.0, 1.0))
    mask = np.zeros(image.grid, dtype=bool)
    mask[6, 4:11, 3:8] = True
    view = view_of(image, 2, number=6)
    shown = view.mask(mask)
    down, across = np.argwhere(shown).min(axis=0), np.argwhere(shown).max(axis=0) + 1
    assert np.abs(np.array([down[1], down[0]]) - np.array([3, 4]) * view.scale).max() <= 0.5
    assert np.abs(np.array([across[1], across[0]]) - np.array([8, 11]) * view.scale).max() <= 0.5
    assert view.scale[1] / view.scale[0] == pytest.approx(3.0, rel=0.01)


def test_where_the_picture_cuts_a_mask_there_is_no_contour():
    mask = np.ones((10, 10), dtype=bool)
    assert not inner_edge(mask, 2).any()


def test_small_objects_stay_in_sight_on_large_ones():
    answer = phantom(objects=1)
    small = np.zeros_like(answer.masks[0])
    small[5, 14:18, 18:22] = True
    both = np.stack([small, answer.masks[0]])
    painted = outlined(view_of(answer.image, number=5), both).picture
    assert near(painted, PALETTE[0]).sum() == inner_edge(view_of(answer.image, number=5).mask(small), 2).sum()


# Prompts


@pytest.mark.parametrize("turn", [None, 0, 1, 2])
@pytest.mark.parametrize("space", ["voxel", "patient"])
def test_clicks_lie_on_their_voxel(turn, space):
    image = phantom("sagittal").image if turn is None else phantom("sagittal").image.flipped(turn)
    at = np.array([[30.0, 9.0, 4.0], [12.0, 20.0, 4.0]])
    given = at if space == "voxel" else at @ image.affine[:3, :3].T + image.affine[:3, 3]
    view = view_of(image)
    number = marks.prompted_planes(view, [Points(given, space=space)])
    assert len(number) == 1
    view = replace(view, number=number[0])
    canvas = blank(*view.size)
    marks.draw(canvas, view, [Points(given, [True, False], space=space)])
    shown = view.section.shown(at, image.grid)
    for colour, place in ((INSIDE, shown[0]), (OUTSIDE, shown[1])):
        wanted = (place[:2] + 0.5) * view.scale
        assert np.abs(centre_of(near(canvas, colour, 0)) - wanted).max() < 0.75


def test_box_runs_around_the_voxels_it_includes():
    image = replace(from_array(np.zeros((1, 9, 20, 10), np.float32), spacing=(1.5, 0.5, 3.0)))
    view = view_of(image, 2, number=4)
    canvas = blank(*view.size)
    marks.draw(canvas, view, [Box([2, 5, 4], [6, 12, 4])])
    line = np.argwhere(near(canvas, PALE, 0))[:, ::-1]
    assert np.abs(line.min(axis=0) - np.array([2, 5]) * view.scale).max() <= 0.5
    assert np.abs(line.max(axis=0) + 1 - np.array([7, 13]) * view.scale).max() <= 0.5


def test_prompts_leave_no_mark_on_other_planes():
    image = phantom().image
    said = [
        Points([[5, 5, 3]]),
        Box([2, 2, 3], [9, 9, 3]),
        Scribble(np.arange(10)[:, None, None] == np.full((10, 32, 40), 3)),
    ]
    for number in range(10):
        view = view_of(image, 2, number=number)
        for prompt in said:
            canvas = blank(*view.size)
            marks.draw(canvas, view, [prompt])
            assert (canvas != blank(*view.size)).any() == (number == 3), (number, prompt)


def test_a_box_far_larger_than_a_close_up_costs_nothing():
    image = phantom().image
    view = view_of(image, 2, number=5, region=Region(10, 10, 12, 12))
    canvas = blank(*view.size)
    marks.draw(canvas, view, [Box([-1e7, -1e7, 0], [1e7, 1e7, 9])])
    assert (canvas == blank(*view.size)).all()


# Words


def test_window_is_stated_for_ct_and_only_there():
    answer = phantom()
    assert window_words(answer.image) == "W 400 L 40 HU"
    half = replace(answer.image, display=Display(-10.0, 89.0))
    assert window_words(half) == "W 99 L 39.5 HU"
    assert window_words(volume()) == ""


def test_sizes_are_ml_of_volumes_mm2_of_pictures_and_pixels_elsewhere():
    answer = phantom("tilted")
    ml = answer.masks.sum() * abs(np.linalg.det(answer.image.affine[:3, :3])) / 1000
    assert size_words(answer) == [f"{rounded(ml)} ml"]
    flat = from_array(np.zeros((1, 10, 10), np.float32), spacing=(0.5, 2.0))
    assert size_words(answer_on(flat, 1)) == [f"{rounded(answer_on(flat, 1).voxels()[0] * 1.0)} mm²"]
    photo = answer_on(from_array(np.zeros((1, 10, 10), np.float32)), 1)
    assert size_words(photo) == [f"{photo.voxels()[0]} pixels"]


def test_numbers_have_three_digits_and_no_exponent():
    assert [rounded(number) for number in (0.01234, 1.0, 12.345, 1520.4)] == ["0.0123", "1.00", "12.3", "1520"]


def test_words_that_the_font_lacks_are_written_plainly():
    assert plain("Hüftgelenk × 2 – µm") == "Huftgelenk x 2 - um"
    assert plain("肝臓") == "??"
    assert coverage("mm²", 15).shape[1] > coverage("mm", 15).shape[1]
    assert shortened("a very long name of an object", 15, 90).endswith("…")


# Files, and answers of every kind


def tiles():
    """Eighty small squares."""
    owner = np.kron(np.arange(80).reshape(8, 10), np.ones((20, 20), dtype=int))
    masks = np.stack([owner == number for number in range(80)])
    image = from_array(np.zeros((1, *owner.shape), np.float32))
    return Segmentation(masks, tuple(f"cell {number}" for number in range(80)), (0.5,) * 80, image, PROVENANCE)


def odd_answers():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(1, 9, 12, 10)).astype(np.float32)
    broken = values.copy()
    broken[0, 4, 3:6] = [[np.nan], [np.inf], [-np.inf]]
    colours = rng.integers(0, 255, (3, 30, 40)).astype(np.uint8)
    one_row = from_array(rng.normal(size=(1, 1, 50)).astype(np.float32))
    yield (
        "no object",
        replace(
            answer_on(from_array(values, spacing=(1, 1, 1)), 1),
            masks=np.zeros((0, 9, 12, 10), bool),
            names=(),
            scores=(),
        ),
    )
    yield (
        "empty object",
        replace(answer_on(from_array(values, spacing=(1, 1, 1)), 1), masks=np.zeros((1, 9, 12, 10), bool)),
    )
    yield (
        "values that are none",
        answer_on(replace(from_array(values, spacing=(1, 1, 3)), array=broken), 2, overlapping=True),
    )
    yield "colours", answer_on(from_array(colours), 1)
    yield "colour volume", answer_on(from_array(rng.random((3, 5, 12, 10)).astype(np.float32), spacing=(1, 1, 1)), 2)
    yield "one row", answer_on(one_row, 1)
    yield "one plane", answer_on(from_array(values[:, :1], spacing=(1, 1, 1)), 1)
    yield "one sagittal plane", answer_on(from_array(values[:, :, :, :1], spacing=(1, 1, 1)), 1)
    yield "very many objects", tiles()
    sure = answer_on(from_array(values, spacing=(1, 1, 1)), 2)
    yield "uncertainty", replace(sure, uncertainty=rng.random(sure.masks.shape).astype(np.float32) * 0.6)
    flat = answer_on(from_array(colours), 2)
    yield "uncertain picture", replace(flat, uncertainty=rng.random(flat.masks.shape).astype(np.float32))
    yield "no confidence", replace(answer_on(from_array(colours), 1), scores=(math.nan,))


@pytest.mark.parametrize("answer", [pytest.param(each, id=name) for name, each in odd_answers()])
def test_every_answer_has_a_preview(answer, tmp_path):
    grid = answer.image.grid
    said = [Points([[1] * len(grid)]), Mask(np.ones(grid, bool)), Scribble(np.ones(grid, bool)), Labels(("liver",))]
    path = preview(answer, tmp_path / "seen.png", prompts=said)
    with Pillow.open(path) as picture:
        assert picture.mode == "RGB"
        assert min(picture.size) >= 384
    assert [each.name for each in tmp_path.iterdir()] == ["seen.png"]


def test_a_preview_is_a_png_and_replaces_nothing_unasked(tmp_path):
    with pytest.raises(BadInput, match=r"\.png"):
        preview(phantom(), tmp_path / "seen.jpg")
    (tmp_path / "seen.png").write_bytes(b"mine")
    with pytest.raises(BadInput, match="exists"):
        preview(phantom(), tmp_path / "seen.png")
    assert (tmp_path / "seen.png").read_bytes() == b"mine"
    preview(phantom(), tmp_path / "seen.png", force=True)
    assert (tmp_path / "seen.png").read_bytes().startswith(b"\x89PNG")
