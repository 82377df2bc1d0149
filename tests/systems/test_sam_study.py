"""SAM as published: its frame, its choice of mask, and what it finds unprompted."""

import numpy as np
import pytest
import torch

from hilum.parts import sam_everything
from hilum.parts.sam_everything import Sweep, everything
from hilum.parts.sam_frame import SURE, SamFrame
from hilum.parts.sam_predictor import ambiguous
from hilum.parts.sam_prompt_encoder import SamPrompts
from hilum.systems.sam_study import SamStudy
from hilum.values.image import Display, Image, Source, from_array
from hilum.values.prompts import PlanePrompt, Points

SIZES = {"vit_b": (768, 12), "vit_l": (1024, 24), "vit_h": (1280, 32)}


@pytest.mark.parametrize("tag", SIZES)
def test_published_sizes(tag):
    """As the public files hold them: names, widths, depths, and the length of the tables of positions."""
    layout, (width, depth) = SamStudy.layout(tag), SIZES[tag]
    assert layout["image_encoder.pos_embed"] == (1, 64, 64, width)
    assert len([name for name in layout if name.endswith("attn.qkv.weight")]) == depth
    tables = [shape[0] for name, shape in layout.items() if name.endswith("rel_pos_h")]
    assert sorted(set(tables)) == [27, 127]
    assert tables.count(127) == 4
    if tag == "vit_b":
        assert sum(np.prod(s) for name, s in layout.items() if "gaussian_matrix" not in name) == 93_735_472


@pytest.mark.parametrize(
    ("given", "inner"),
    [((768, 1024), (768, 1024)), ((333, 1500), (227, 1024)), ((50, 31), (1024, 635)), ((7, 7), (1024, 1024))],
)
def test_the_longest_side_fills_the_square(given, inner):
    assert SamFrame(*given, 1024).inner == inner


def test_padding_comes_after_normalising_and_is_zero():
    pixels = SamFrame(20, 40, 64).pixels(np.full((1, 20, 40), 255, dtype=np.uint8))
    assert (pixels[..., 32:, :] == 0).all()
    expected = [(255 - mean) / deviation for mean, deviation in ((123.675, 58.395), (116.28, 57.12), (103.53, 57.375))]
    assert pixels[0, :, 0, 0].tolist() == pytest.approx(expected)


def test_coordinates_move_with_the_picture():
    frame = SamFrame(20, 40, 64)
    assert frame.scaled(np.array([[40.0, 20.0]])).tolist() == [[64.0, 32.0]]


def test_a_restored_mask_has_the_pictures_size_and_ignores_the_padding():
    logits = torch.full((1, 1, 16, 16), -5.0)
    logits[..., :8, :] = 5.0  # the upper half of the square: all of a picture twice as wide as high
    restored = SamFrame(20, 40, 64).restored(logits)
    assert restored.shape == (1, 1, 20, 40)
    assert (restored[..., :18, :] > 0).all()


def test_a_mask_prompt_survives_the_way_to_the_network_and_back():
    """The previous answer as a probability becomes about the logits it came from."""
    frame, side = SamFrame(48, 64, 64), 16
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    logits = (5.0 - ((x - 7.0) ** 2 + (y - 5.0) ** 2).sqrt() * 1.5).clamp(-SURE, SURE)[None, None]
    probability = frame.restored(logits).sigmoid()[0, 0].numpy()
    back = frame.mask_logits(probability, side)
    assert float((back - logits)[..., :11, :].abs().max()) < 1.0  # inside the picture; the padding is surely nothing
    assert float(back[..., -1, :].max()) == pytest.approx(-SURE)
    assert float(((back > 0) != (logits > 0)).float().mean()) < 0.02


def test_a_certain_mask_prompt_is_bounded():
    probability = np.zeros((64, 64), dtype=np.float32)
    probability[10:30, 10:40] = 1
    logits = SamFrame(64, 64, 64).mask_logits(probability, 16)
    assert float(logits.max()) == pytest.approx(SURE)
    assert float(logits.min()) == pytest.approx(-SURE)


@pytest.fixture(scope="module")
def system() -> SamStudy:
    return SamStudy.tiny()


@pytest.fixture(scope="module")
def picture() -> Image:
    return from_array(np.random.default_rng(0).integers(0, 256, (3, 40, 52)).astype(np.uint8))


def test_one_click_gives_the_best_rated_of_three_masks(system, picture):
    seen = system.see(picture)
    click = PlanePrompt(points=np.array([[20.0, 12.0]]), inside=np.array([True]))
    frame = SamFrame(40, 52, system.config.image_size)
    with torch.inference_mode():
        logits, quality = system.network.ask(seen["embedding"], frame.prompts(click, cells=32))
    best = 1 + int(quality[0, 1:].argmax())
    assert np.array_equal(system.draw(seen, click).mask, (frame.restored(logits)[0, best] > 0).numpy())


@pytest.mark.parametrize(
    "prompt",
    [
        PlanePrompt(points=np.array([[20.0, 12.0], [30.0, 3.0]]), inside=np.array([True, False])),
        PlanePrompt(box=np.array([[5.0, 6.0], [30.0, 33.0]])),
        PlanePrompt(mask=np.full((40, 52), 0.9, dtype=np.float32)),
        PlanePrompt(points=np.array([[20.0, 12.0]]), inside=np.array([True]), box=np.array([[5.0, 6.0], [30.0, 33.0]])),
    ],
)
def test_every_clearer_prompt_gives_the_first_mask(system, picture, prompt):
    assert not ambiguous(prompt)
    seen, frame = system.see(picture), SamFrame(40, 52, system.config.image_size)
    with torch.inference_mode():
        logits, quality = system.network.ask(seen["embedding"], frame.prompts(prompt, cells=32))
    drawn = system.draw(seen, prompt)
    assert np.array_equal(drawn.mask, (frame.restored(logits)[0, 0] > 0).numpy())
    assert drawn.quality == pytest.approx(min(max(float(quality[0, 0]), 0), 1))


def test_what_is_not_8_bit_is_seen_through_its_display_window(system):
    values = np.array([[-1000.0, 0.0], [200.0, 3000.0]])
    image = Image(values[None], np.eye(4), "pixel", Display(-200, 200), Source(modality="CT"))
    prepared = system.prepare(image)
    assert prepared.array[0].tolist() == [[0, 128], [255, 255]]
    assert "sam_study saw the display window -200 to 200 in 8 bit" in prepared.source.notes


def test_clicks_are_the_middles_of_equal_tiles():
    assert sam_everything.clicks(SamFrame(20, 40, 64), 2).tolist() == [[10, 5], [30, 5], [10, 15], [30, 15]]


def test_stability_and_box_of_a_mask():
    logits = torch.full((10, 12), -5.0)
    logits[2:6, 3:9] = 5.0
    logits[6, 3:9] = 0.5  # within the offset: in the wide mask, not in the narrow one
    stable, box = sam_everything.measure(logits, 1.0)
    assert stable == pytest.approx(24 / 30)
    assert box.tolist() == [3, 2, 8, 6]


class Painter(torch.nn.Module):
    """Stands for SAM: a click is answered by the quadrant it lies in, rated by the quadrant, and by two bad masks."""

    def ask(self, embedding: torch.Tensor, prompts: SamPrompts):
        column, row = (prompts.points[:, 0] >= 32).long().unbind(-1)
        logits = torch.full((len(column), 4, 16, 16), -6.0)
        for number, (i, j) in enumerate(zip(row.tolist(), column.tolist(), strict=True)):
            logits[number, 1, 8 * i : 8 * i + 8, 8 * j : 8 * j + 8] = 6.0
            logits[number, 2, 4 * i :, :] = 0.2  # well rated, but a matter of threshold
            logits[number, 3] = 6.0  # stable, but badly rated
        quality = torch.stack(
            [torch.ones(len(row)), 0.9 + 0.02 * row + 0.01 * column, torch.ones(len(row)), torch.zeros(len(row))]
        )
        return logits, quality.T


def test_everything_keeps_good_stable_masks_once_best_first():
    frame = SamFrame(64, 64, 64)
    found = list(everything(Painter(), torch.zeros(1, 1, 8, 8), frame, Sweep(side=6, together=5)))
    assert [mask.quality for mask in found] == pytest.approx([0.93, 0.92, 0.91, 0.90])
    middle = [tuple(np.argwhere(mask.mask).mean(0) > 31) for mask in found]
    assert middle == [(True, True), (True, False), (False, True), (False, False)]


def test_everything_is_the_answer_without_a_prompt(picture):
    system = SamStudy.tiny()
    system.sweep = Sweep(side=3, quality=-10, stability=0.0, overlap=0.99)
    answer = system.ask(picture)
    assert len(answer.masks) > 0
    assert answer.masks.shape[1:] == picture.grid
    assert list(answer.scores) == sorted(answer.scores, reverse=True)
    assert SamStudy.sweep == Sweep()


def test_a_second_click_corrects_the_same_look(system, picture):
    look = system.look(picture)
    one, two = look.ask(Points([[20, 12]])), look.ask(Points([[20, 12], [40, 30]], [True, False]))
    assert one.masks.shape == two.masks.shape == (1, 40, 52)
