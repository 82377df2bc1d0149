"""Scout answers boxes, clicks, strokes and masks; obeys clicks; says how sure it is. All tiny and random."""

import numpy as np
import pytest
import torch

from hilum.capabilities.trainable import Sample, Trainable
from hilum.parts import interaction
from hilum.parts.crop_choice import best, cut_off
from hilum.parts.crop_dialogue import Clicks, Dialogue, Drawn, obedient
from hilum.parts.crop_window import Window
from hilum.parts.prompt_maps import CHANNELS, CropPrompt, log_ratio, prompt_maps
from hilum.systems.scout import Scout, stroked
from hilum.values.errors import BadInput
from hilum.values.image import from_array
from hilum.values.prompts import Box, Mask, PlanePrompt, Points, Scribble

BOX = np.array([[20.0, 14.0], [40.0, 30.0]])


def disc(shape: tuple[int, int] = (48, 64)) -> np.ndarray:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return ((columns - 30) / 10) ** 2 + ((rows - 22) / 8) ** 2 <= 1


def picture() -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 0.05, (1, 48, 64))
    return (0.3 + 0.4 * disc() + noise).astype(np.float32).clip(0, 1)


@pytest.fixture(scope="module")
def scout() -> Scout:
    return Scout.tiny()


@pytest.fixture(scope="module")
def seen(scout):
    return scout.see(from_array(picture()))


def drawn(scout, seen, **said) -> np.ndarray:
    return scout.draw(seen, PlanePrompt(**said)).probability


def test_every_sort_of_prompt_gives_a_probability_on_the_plane(scout, seen):
    strokes = np.zeros((48, 64), bool)
    strokes[22, 25:35] = True
    for said in (
        {"box": BOX},
        {"points": np.array([[30.0, 22.0]]), "inside": np.array([True])},
        {"points": np.array([[2.0, 2.0], [30.0, 22.0]]), "inside": np.array([False, True])},
        {"mask": disc().astype(np.float32)},
        {"strokes_in": strokes, "strokes_out": np.roll(strokes, 20, 0)},
        {"box": BOX, "mask": disc().astype(np.float32), "strokes_out": np.roll(strokes, 20, 0)},
    ):
        answer = scout.draw(seen, PlanePrompt(**said))
        assert answer.probability.shape == (48, 64)
        assert answer.probability.dtype == np.float32
        assert answer.probability.min() >= 0
        assert answer.probability.max() <= 1
        assert 0 <= answer.quality <= 1


def test_a_click_outside_alone_is_refused_with_what_is_wanted(scout, seen):
    with pytest.raises(BadInput, match="at least one point or stroke inside"):
        drawn(scout, seen, points=np.array([[5.0, 5.0]]), inside=np.array([False]))


@pytest.mark.parametrize("seed", range(3))
def test_clicked_pixels_obey(scout, seen, seed):
    rng = np.random.default_rng(seed)
    at = rng.integers(0, [64, 48], (6, 2)).astype(float)
    inside = np.array([True, False] * 3)
    probability = drawn(scout, seen, box=BOX, points=at, inside=inside)
    assert np.array_equal(probability[at[:, 1].astype(int), at[:, 0].astype(int)] > 0.5, inside)


def test_clicks_are_replayed_one_after_the_other(scout):
    """The answer to a box and two clicks is that of asking again with the answer before."""
    image = torch.from_numpy(picture()).expand(3, -1, -1)
    dialogue = Dialogue(scout.network, image, scout.config.manner)
    clicks = Clicks(np.array([[30.0, 22.0], [10.0, 10.0]]), np.array([True, False]))
    with torch.inference_mode():
        answer = dialogue.boxed(BOX, clicks.first(0))
        for count in (1, 2):
            answer = dialogue.boxed(BOX, clicks.first(count), dialogue.canvas(answer))
        wanted = dialogue.canvas(answer).numpy() > 0.5
    got = drawn(scout, scout.see(from_array(picture())), box=BOX, points=clicks.at, inside=clicks.inside) > 0.5
    got[22, 30], got[10, 10] = wanted[22, 30], wanted[10, 10]
    assert np.array_equal(got, wanted)


def test_many_clicks_do_not_overflow(scout, seen):
    at = np.random.default_rng(0).integers(0, [64, 48], (60, 2)).astype(float)
    assert drawn(scout, seen, box=BOX, points=at, inside=np.arange(60) % 2 == 0).shape == (48, 64)


def test_a_box_over_the_border_and_a_box_of_one_pixel_are_answered(scout, seen):
    for box in ([[0, 0], [63, 47]], [[63, 47], [63, 47]], [[5, 5], [5, 40]]):
        assert drawn(scout, seen, box=np.array(box, float)).shape == (48, 64)


def test_scale_of_the_values_does_not_matter(scout):
    """The crop's own range is taken: brighter and with more contrast is the same image."""
    plain, stretched = (scout.see(from_array(array)) for array in (picture(), picture() * 0.5 + 0.2))
    assert np.allclose(drawn(scout, plain, box=BOX), drawn(scout, stretched, box=BOX), atol=1e-3)


def test_colour_and_grey_pictures_are_taken(scout):
    colour = np.concatenate([picture(), picture() * 0.5, picture() * 0.2])
    assert scout.ask(from_array(colour), Box(*BOX)).masks.shape == (1, 48, 64)


def test_each_prompt_type_is_taken_by_ask(scout):
    stroke = np.zeros((48, 64), bool)
    stroke[22, 25:35] = True
    for prompt in (Box(*BOX), Points([[30, 22]]), Mask(disc()), Scribble(stroke)):
        assert scout.ask(from_array(picture()), prompt).masks.shape == (1, 48, 64)


def test_strokes_become_few_points_on_the_stroke():
    stroke = np.zeros((48, 64), bool)
    stroke[10, :] = True
    found = stroked(PlanePrompt(strokes_in=stroke, strokes_out=np.roll(stroke, 5, 0)), 12)
    assert len(found) == 12
    assert found.inside.sum() == 6
    assert (found.at[found.inside][:, 1] == 10).all()
    assert (found.at[~found.inside][:, 1] == 15).all()


def test_every_trainable_weight_gets_a_gradient():
    scout = Scout.tiny()
    assert isinstance(scout, Trainable)
    samples = [Sample(from_array(picture()), disc()[None])] * 4
    terms = scout.loss(scout.batch(samples, np.random.default_rng(0)))
    terms.total.backward()
    assert not [name for name, weight in scout.network.named_parameters() if weight.grad is None]


def test_a_few_steps_fit_one_image():
    """The real machinery learns: from random weights to a disc in a box."""
    scout = Scout.tiny()
    optimizer = torch.optim.Adam(scout.network.parameters(), 5e-3)
    samples, rng = [Sample(from_array(picture()), disc()[None])] * 4, np.random.default_rng(0)
    for _ in range(40):
        optimizer.zero_grad()
        scout.loss(scout.batch(samples, rng)).total.backward()
        optimizer.step()
    mask = scout.ask(from_array(picture()), Box(*interaction.tight_box(disc()))).masks[0]
    assert 2 * (mask & disc()).sum() / (mask.sum() + disc().sum()) > 0.8


class TestWindow:
    def test_a_crop_pasted_back_is_the_image(self):
        image = torch.from_numpy(picture())
        window = Window(-4, -6, 40, 40)
        canvas = torch.zeros(48, 64)
        window.paste(window.cut(image, 40)[0], canvas)
        assert torch.equal(canvas[:34, :36], image[0, :34, :36])
        assert not canvas[34:].any()
        assert not canvas[:, 36:].any()

    def test_points_and_pixels_agree(self):
        """A bright pixel is found in the crop where `to_crop` says."""
        image = torch.zeros(1, 48, 64)
        image[0, 21, 33] = 1
        window = Window(30, 18, 8, 8)
        y, x = np.unravel_index(int(window.cut(image, 32)[0].argmax()), (32, 32))
        assert np.abs(window.to_crop(np.array([[33.0, 21.0]]), 32) - [x, y]).max() <= 0.5

    def test_a_box_keeps_its_outer_edges(self):
        window = Window(0, 0, 16, 16)
        assert window.box_to_crop(np.array([[0.0, 0.0], [15.0, 15.0]]), 32).tolist() == [[0, 0], [31, 31]]

    def test_a_window_grows_to_hold_points_and_no_further(self):
        window = Window(10, 10, 20, 20)
        assert window.holding(np.array([[15.0, 15.0]])) == window
        grown = window.holding(np.array([[40.0, 15.0]]))
        assert grown.left == 10
        assert grown.left + grown.width > 40
        assert grown.top == 10

    def test_slim_boxes_get_a_window_at_least_half_as_wide_as_long(self):
        window = Window.around(np.array([[10.0, 0.0], [10.0, 39.0]]), scale=1.5)
        assert (window.width, window.height) == (30, 60)


class TestMaps:
    def prompt(self, **changed) -> CropPrompt:
        fields = {
            "box": torch.tensor([[8.0, 8, 23, 23]]),
            "boxed": torch.tensor([True]),
            "points": torch.zeros(1, 4, 2),
            "sign": torch.zeros(1, 4),
            "previous": torch.zeros(1, 1, 32, 32),
            "continued": torch.tensor([False]),
        }
        return CropPrompt(**(fields | changed))

    def image(self) -> torch.Tensor:
        image = torch.full((1, 3, 32, 32), 0.2)
        image[..., 8:24, 8:24] = 0.8
        return image + 0.02 * torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    def test_there_are_as_many_as_the_network_takes(self):
        assert prompt_maps(self.image(), self.prompt()).shape == (1, CHANNELS, 32, 32)

    def test_evidence_is_positive_where_the_grey_is_that_of_the_inside(self):
        for channel in (8, 9, 10):
            evidence = prompt_maps(self.image(), self.prompt())[0, channel]
            assert evidence[12:20, 12:20].min() > 0 > evidence[:4].max()

    def test_an_inverted_image_gives_the_same_evidence(self):
        plain, inverted = (prompt_maps(image, self.prompt())[0, 10] for image in (self.image(), 1 - self.image()))
        assert torch.equal(plain[12:20, 12:20] > 0, inverted[12:20, 12:20] > 0)

    def test_crops_of_a_batch_do_not_see_each_other(self):
        both = torch.cat([self.image(), self.image().flip(2) * 0.5])
        doubled = CropPrompt(
            *(torch.cat([value, value]) for value in (getattr(self.prompt(), name) for name in CropPrompt.__slots__))
        )
        alone = prompt_maps(self.image(), self.prompt())
        assert torch.allclose(prompt_maps(both, doubled)[:1], alone, atol=1e-6)

    def test_a_ratio_of_equal_histograms_says_nothing(self):
        index = torch.randint(0, 8, (1, 100), generator=torch.Generator().manual_seed(0))
        weight = torch.ones(1, 100)
        assert log_ratio(index, weight, weight, bins=(8,)).abs().max() < 1e-6


def test_obedience_changes_only_the_neighbourhood_of_disobeyed_clicks():
    logits = torch.full((32, 32), -3.0)
    changed = obedient(logits, torch.tensor([[10.0, 12.0], [25.0, 25.0], [0.0, 0.0]]), torch.tensor([1.0, -1.0, 0.0]))
    assert changed[12, 10] == pytest.approx(2.0)
    assert torch.allclose(changed[24:], logits[24:], atol=1e-3)


def test_a_mask_that_runs_over_its_window_counts_as_cut_off_unless_the_image_ends_there():
    full = torch.ones(1, 1, 8, 8)
    assert cut_off(full, [Window(4, 4, 8, 8)], (20, 20)).item() == 1.0
    assert cut_off(full, [Window(0, 0, 8, 8)], (8, 8)).item() == 0.0


def test_windows_that_agree_outvote_a_lone_favourite():
    """Two windows see the same square, a third one judges its own speck best."""
    windows = [Window(0, 0, 32, 32), Window(8, 8, 16, 16), Window(12, 12, 8, 8)]
    canvas = torch.full((1, 32, 32), -1.0)
    canvas[:, 12:20, 12:20] = 1
    logits = torch.stack([window.cut(canvas, 32) for window in windows])
    logits[2] = -1
    logits[2, :, 14:17, 14:17] = 1
    place, _ = best(logits[:, None, 0], torch.tensor([[1.0], [1.0], [1.3]]), windows, (32, 32))
    assert place < 2


def test_what_is_priced_is_a_pass_that_prompts_make(scout):
    """So that `--max-memory` can refuse it; a look itself is free."""
    module, shape = scout.priced()
    with torch.inference_mode():
        logits, _ = module(torch.zeros(shape))
    assert logits.shape == (shape[0], scout.config.candidates, *shape[2:])
    assert scout.costly() is None


def test_confidence_follows_the_calibration(scout):
    answer = Drawn(Window(0, 0, 8, 8), torch.zeros(8, 8), torch.tensor([1.0, 2.0, 0.5, 0.5, 0.5, 0.0]))
    assert scout.confidence(answer, boxed=True) == pytest.approx(float(torch.sigmoid(torch.tensor(2.0))))
