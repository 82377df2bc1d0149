"""Explanations by hand: where a grid lies on a picture, what is covered, what a prompt is worth, what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from capabilities.shade import Shade
from capabilities.threshold import Threshold
from hilum import registry
from hilum.capabilities.ablation import changes
from hilum.capabilities.explain import by_occlusion, explain
from hilum.capabilities.match import Probe, Traced
from hilum.capabilities.occlusion import Rescored, blurred, seen_together
from hilum.parts.shown_map import laid
from hilum.values.errors import BadInput
from hilum.values.explanation import Explanation
from hilum.values.image import from_array
from hilum.values.prompts import Box, Labels, Mask, Points, Scribble
from hilum.values.provenance import Provenance

TRACED = ("biomedclip", "chexzero", "cite", "medclip", "mi_zero", "plip")
PROVENANCE = Provenance(system="shade", weights="shade.none")


def explained(system, image, *prompts):
    look = system.look(image)
    return explain(look, prompts, look.ask(*prompts))


def disc(size=(40, 60), at=(18, 20), radius=9):
    down, across = np.ogrid[: size[0], : size[1]]
    inside = (down - at[0]) ** 2 + (across - at[1]) ** 2 < radius**2
    return from_array(np.where(inside, 220, 30).astype(np.uint8)[None]), inside


# Where a grid lies


def test_a_grid_as_fine_as_the_picture_is_the_picture():
    values = np.random.default_rng(0).random((2, 7, 9), dtype=np.float32)
    np.testing.assert_allclose(laid(values, (7, 9), (7.0, 9.0)), values, atol=1e-6)


def test_a_grid_on_the_middle_leaves_the_margins_at_the_lowest():
    values = np.arange(1, 17, dtype=np.float32).reshape(1, 4, 4)
    shown = laid(values, (4, 10), (4.0, 4.0))[0]
    np.testing.assert_allclose(shown[:, 3:7], values[0], atol=1e-5)
    assert (shown[:, :3] == shown.min()).all()
    assert (shown[:, 7:] == shown.min()).all()


def test_of_a_grid_larger_than_the_picture_the_padding_is_cut_off():
    values = np.arange(36, dtype=np.float32).reshape(1, 6, 6)
    np.testing.assert_allclose(laid(values, (6, 2), (6.0, 6.0))[0], values[0][:, 2:4], atol=1e-4)


@pytest.mark.parametrize("name", TRACED)
@pytest.mark.parametrize("size", [(50, 90), (90, 50)])
def test_what_lies_outside_of_what_is_shown_has_no_say(name, size):
    system = registry.find(name).tiny()
    assert isinstance(system, Traced)
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 256, (1, *size), dtype=np.uint8)
    shows = system.shows(size)
    down, across = (np.abs(np.arange(length) + 0.5 - length / 2) for length in size)  # from the middle
    beyond = (down[:, None] > shows[0] / 2 + 3) | (across[None] > shows[1] / 2 + 3)
    within = (down[:, None] < shows[0] / 2 - 3) & (across[None] < shows[1] / 2 - 3)
    labels = Labels(("one", "two"))

    def scores(array):
        return system.ask(from_array(array), labels).similarity

    other = np.where(beyond, 255 - picture, picture)
    np.testing.assert_allclose(scores(other), scores(picture), atol=1e-6)
    edge = within & ~((down[:, None] < shows[0] / 2 - 9) & (across[None] < shows[1] / 2 - 9))
    assert np.abs(scores(np.where(edge, 255 - picture, picture)) - scores(picture)).max() > 1e-5


@pytest.mark.parametrize("name", TRACED)
def test_what_is_traced_is_the_similarity_of_the_answer(name):
    system = registry.find(name).tiny()
    labels = Labels(("one", "two"), texts=(("a", "b c"), ()), opposites=(("d",), ()))
    look = system.look(from_array(np.random.default_rng(0).integers(0, 256, (1, 40, 40), dtype=np.uint8)))
    score = system.scorer(labels)([look.seen(look.prepared().section(), 0)])
    np.testing.assert_allclose(score.detach().numpy(), look.ask(labels).similarity, atol=1e-6)


# Ways of their own


@pytest.mark.parametrize("name", ["biovil_t", "maco"])
def test_the_published_grounding_of_a_text_is_its_labels_map(name):
    system = registry.find(name).tiny()
    image = from_array(np.random.default_rng(0).integers(0, 256, (1, 50, 80), dtype=np.uint8))
    found = explained(system, image, Labels(("a finding",), texts=(("an opacity on the left",),)))
    wanted = system.pointed("an opacity on the left", image, mode="bilinear")
    seen = ~np.isnan(wanted)
    np.testing.assert_allclose(found.maps[0][seen], wanted[seen], atol=1e-6)
    assert (found.maps[0][~seen] == found.maps[0].min()).all()


def test_beside_an_earlier_film_the_present_one_is_explained():
    rng = np.random.default_rng(0)
    now, before = (from_array(rng.integers(0, 256, (1, *size), dtype=np.uint8)) for size in ((50, 80), (64, 64)))
    labels = Labels(("improving", "worsening"))
    look = registry.find("biovil_t").tiny().look(now, before)
    assert explain(look, (labels,), look.ask(labels)).maps.shape == (2, 50, 80)


# Occlusion


def test_what_is_seen_together_is_what_is_seen_alone():
    system = registry.find("plip").tiny()
    pictures = np.random.default_rng(0).integers(0, 256, (20, 3, 40, 40), dtype=np.uint8)
    planes = [system.prepare(from_array(each)) for each in pictures]
    for one, plane in zip(seen_together(system, planes), planes, strict=True):
        np.testing.assert_allclose(one["vector"], system.see(plane)["vector"], atol=1e-5)


def test_the_brightest_part_speaks_for_bright_and_against_dark():
    image, inside = disc()
    found = explained(Shade.tiny(), image, Labels(("bright", "dark")))
    assert "blurred" in found.method
    across, down = found.peak(0)
    assert inside[down, across]
    assert found.maps[1][inside].mean() < 0


def test_blurring_keeps_the_kind_of_numbers_and_takes_structures():
    picture = np.zeros((1, 50, 50), dtype=np.uint8)
    picture[:, ::2] = 200
    assert blurred(picture).dtype == np.uint8
    assert blurred(picture).std() < 0.2 * picture.std()


def test_scores_of_the_same_picture_are_the_looks_own():
    image, _ = disc()
    labels = Labels(("bright", "dark"))
    look = Shade.tiny().look(image)
    scored = Rescored(look, (labels,))
    np.testing.assert_allclose(scored.of([scored.plane.array])[0], look.ask(labels).similarity, atol=1e-6)


def test_of_a_bag_the_first_picture_is_covered():
    rng = np.random.default_rng(0)
    tiles = [from_array(rng.integers(0, 256, (3, 32, 32), dtype=np.uint8)) for _ in range(2)]
    look = registry.find("mi_zero").tiny().look(*tiles)
    found = explain(look, (Labels(("a", "b")),), look.ask(Labels(("a", "b"))))
    assert "first of 2 pictures" in found.method
    assert found.maps.any()


def test_the_classes_of_a_probe_are_explained_by_occlusion():
    system = Shade.tiny()
    system.probe = Probe(("dark", "bright"), np.array([[0.0, 2.0], [2.0, 0.0]]), np.zeros(2), np.zeros(2), np.ones(2))
    image, inside = disc()
    look = system.look(image)
    scored = Rescored(look, ())
    found = by_occlusion(scored)
    assert found.maps[1][inside].mean() > 0 > found.maps[0][inside].mean()


# Prompts of a segmenter


def test_a_prompt_that_matters_is_told_from_one_that_does_not():
    image, _ = disc()
    found = explained(Threshold.tiny(), image, Box((8, 6), (20, 30)), Points([[20, 18], [16, 18]]))
    by = {each.prompt: each.dice for each in found.ablations}
    assert by["click inside 16,18"] == 1
    assert by["box"] < 0.8
    assert 0 < found.maps[0][18, 25] <= 1 / 3 + 1e-6  # only the box keeps the right half out
    assert found.maps[0][18, 14] == 0


def test_names_keep_objects_and_their_prompts_apart():
    image, _ = disc()
    prompts = (Box((8, 6), (32, 30), name="a"), Points([[20, 18]], name="a"), Box((40, 0), (50, 10), name="b"))
    found = explained(Threshold.tiny(), image, *prompts)
    assert found.names == ("a", "b")
    assert {each.prompt for each in found.ablations if each.name == "a"} == {"box", "click inside 20,18"}
    assert {each.how for each in found.ablations if each.name == "a"} == {"left out"}
    assert all("tenth" in each.how for each in found.ablations if each.name == "b")
    assert not found.maps[1].any()


@pytest.mark.parametrize(
    ("prompt", "count"),
    [(Box((8, 6), (32, 30)), 6), (Points([[20.0, 18.0]]), 4), (Scribble(np.eye(40, 60, dtype=bool)), 2)],
)
def test_an_only_prompt_is_moved_not_left_out(prompt, count):
    image, inside = disc()
    found = list(changes([prompt], inside, image))
    assert len(found) == count
    assert all(len(each.said) == 1 and "left out" not in each.how for each in found)


def test_a_mask_is_made_smaller_and_larger():
    image, inside = disc()
    less, more = (each.said[0].array.sum() for each in changes([Mask(inside)], inside, image))
    assert less < inside.sum() < more


def test_a_click_in_millimetres_moves_as_far_as_one_in_voxels():
    image = from_array(np.zeros((1, 9, 40, 40), np.int16), spacing=(0.5, 2.0, 3.0))
    full = np.zeros(image.grid, dtype=bool)
    full[2:8, 5:36, 5:36] = True
    voxel, patient = (
        [each.said[0].at for each in changes([Points([at], space=space)], full, image)]
        for at, space in (((20.0, 20.0, 4.0), "voxel"), ((10.0, 40.0, 12.0), "patient"))
    )
    np.testing.assert_allclose(np.array(voxel) * [0.5, 2.0, 3.0], patient)


def test_an_outside_click_alone_is_nothing_to_ask_with():
    image, inside = disc()
    found = list(changes([Points([[20, 18], [50, 30]], [True, False])], inside, image))
    assert [each.how for each in found if "outside" in each.prompt] == ["left out"]
    assert all("moved" in each.how for each in found if "inside" in each.prompt)


def test_a_mask_without_prompts_has_nothing_to_be_explained_by():
    image, _ = disc()
    look = Threshold.tiny().look(image)
    answer = look.ask(Box((8, 6), (32, 30)))
    with pytest.raises(BadInput, match="explained by its prompts"):
        explain(look, (), answer)


# The value


def test_a_map_says_its_peak_and_how_much_is_in_a_tenth_of_it():
    image = from_array(np.zeros((1, 10, 10), np.uint8))
    maps = np.full((3, 10, 10), -1.0, dtype=np.float32)
    maps[0, 3, 6] = 2.0
    maps[1] = 5.0
    found = Explanation(maps, ("spot", "even", "against"), "relevance", "by hand", image, PROVENANCE)
    assert found.peak(0) == (6, 3)
    assert found.share_in_top_tenth(0) == 1
    assert found.peak(1) is None
    assert found.share_in_top_tenth(2) is None
    ramp = replace(found, maps=np.tile(np.arange(100, dtype=np.float32).reshape(10, 10), (3, 1, 1)))
    assert ramp.share_in_top_tenth(0) == pytest.approx(sum(range(90, 100)) / sum(range(100)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_map_holds_numbers_only(bad):
    image = from_array(np.zeros((1, 2, 2), np.uint8))
    with pytest.raises(ValueError, match="numbers only"):
        Explanation(np.full((1, 2, 2), bad, np.float32), ("a",), "relevance", "by hand", image, PROVENANCE)
