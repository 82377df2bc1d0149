"""Simulated prompts do what a person would do with the same mask."""

import numpy as np
import pytest

from hilum.parts import interaction


def disc(x: float = 30, y: float = 20, radius: float = 9, shape: tuple[int, int] = (48, 64)) -> np.ndarray:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def test_the_tight_box_includes_both_corners():
    assert interaction.tight_box(disc()).tolist() == [[21, 11], [39, 29]]


def test_an_empty_mask_has_no_box():
    with pytest.raises(ValueError, match="at least one pixel"):
        interaction.tight_box(np.zeros((4, 4), bool))


@pytest.mark.parametrize("seed", range(5))
def test_a_jittered_box_stays_in_the_image_and_keeps_its_corners_in_order(seed):
    box = interaction.jittered_box(disc(x=4, y=4), np.random.default_rng(seed), amount=0.4)
    assert (box[0] <= box[1]).all()
    assert (box >= 0).all()
    assert (box[1] <= [63, 47]).all()


def test_jitter_of_nothing_is_the_tight_box():
    rng = np.random.default_rng(0)
    assert np.array_equal(interaction.jittered_box(disc(), rng, amount=0.0), interaction.tight_box(disc()))


def test_the_first_click_is_the_middle_of_the_largest_part():
    click = interaction.first_click(disc() | disc(x=55, y=40, radius=3))
    assert click.inside
    assert click.at == (30.0, 20.0)


def test_a_single_pixel_at_the_border_can_be_clicked():
    mask = np.zeros((6, 6), bool)
    mask[0, 5] = True
    assert interaction.first_click(mask).at == (5.0, 0.0)


def test_random_clicks_fall_inside_and_mostly_deep():
    rng, mask = np.random.default_rng(0), disc()
    clicks = np.array([interaction.random_click(mask, rng).at for _ in range(200)]).astype(int)
    assert mask[clicks[:, 1], clicks[:, 0]].all()
    assert np.hypot(*(clicks - [30, 20]).T).mean() < 6  # 2/3 of the radius would be even over the area


def test_a_correction_goes_to_the_larger_error_and_says_which_way():
    missed = interaction.correction_click(disc(), disc() & ~disc(x=34))
    assert missed is not None
    assert missed.inside
    spilled = interaction.correction_click(disc(), disc() | disc(x=52, y=38, radius=5))
    assert spilled is not None
    assert not spilled.inside
    assert spilled.at == (52.0, 38.0)


def test_nothing_wrong_needs_no_correction():
    assert interaction.correction_click(disc(), disc()) is None


def test_corrections_painted_in_end_at_the_mask():
    """Repair a small disc around each click: the error must shrink to nothing in finitely many clicks."""
    mask, guess = disc(), disc(x=36, y=26)
    for _ in range(200):
        click = interaction.correction_click(mask, guess)
        if click is None:
            break
        around = disc(*click.at, radius=2)
        guess = np.where(around, mask, guess)
    assert np.array_equal(mask, guess)


@pytest.mark.parametrize("seed", range(5))
def test_scribbles_stay_in_their_region_and_are_strokes(seed):
    drawn = interaction.scribble(disc(), np.random.default_rng(seed))
    assert drawn.any()
    assert not (drawn & ~disc()).any()
    assert drawn.sum() < 0.3 * disc().sum()


def test_scribbling_in_nothing_draws_nothing():
    assert not interaction.scribble(np.zeros((8, 8), bool), np.random.default_rng(0)).any()


def test_the_margin_lies_outside_and_near():
    band = interaction.margin(disc(), width=4)
    assert not (band & disc()).any()
    assert not (band & ~disc(radius=16)).any()
    assert band.any()


def test_same_seed_same_prompts():
    first, second = (interaction.scribble(disc(), np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(first, second)
