"""A closer look: when it is taken, that tiles land where they belong, and what it gains on lines one pixel wide."""

import numpy as np
import torch
from torch import Tensor

from hilum.parts.crop_dialogue import FEATURES, Clicks, Dialogue, Manner
from hilum.parts.crop_tiles import closer, seen_in, shrunk, thin
from hilum.parts.crop_window import Window
from hilum.parts.prompt_maps import CHANNELS, CropPrompt

NOTHING = Clicks(np.zeros((0, 2)), np.zeros(0, bool))


def comb(height: int, width: int) -> Tensor:
    """Lines one pixel wide, twelve apart, some of them crossing."""
    lines = torch.zeros(height, width)
    lines[:, 6::12] = 1
    lines[10::40] = 1
    return lines


def bright(image: Tensor, prompt: CropPrompt) -> tuple[Tensor, Tensor, Tensor]:
    """A network for tests: what is brighter than a quarter is the object, in every candidate."""
    logits = (20 * image[:, :1] - 5).expand(-1, 4, -1, -1)
    return logits, torch.zeros(len(image), 4), torch.zeros(len(image), CHANNELS, *image.shape[2:])


def test_lines_are_thin_and_discs_are_not():
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    assert thin(comb(64, 64) > 0)
    assert not thin((x - 30) ** 2 + (y - 30) ** 2 < 200)
    assert not thin(torch.zeros(64, 64, dtype=torch.bool))


def test_a_window_that_was_not_shrunk_has_nothing_more_to_show():
    logits = comb(64, 64) - 0.5
    assert shrunk(logits, Window(0, 0, 256, 256))
    assert not shrunk(logits, Window(0, 0, 64, 64))


def test_the_pixels_of_a_tile_are_found_in_the_window_around_it():
    image = torch.rand(1, 90, 90, generator=torch.Generator().manual_seed(0))
    around, tile = Window(10, 14, 32, 32), Window(17, 20, 9, 11)
    assert torch.allclose(seen_in(around.cut(image, 32)[0], around, tile), image[0, 20:31, 17:26], atol=1e-5)


def test_tiles_are_laid_into_the_window_and_judged_by_their_share():
    window, inner = Window(-10, -10, 220, 200), Window(0, 0, 150, 140)
    truth = comb(200, 220)

    def asked(tiles: list[Window]) -> tuple[list[Tensor], Tensor]:
        parts = [truth[t.top + 10 : t.top + 10 + t.height, t.left + 10 : t.left + 10 + t.width] for t in tiles]
        return [part - 0.5 for part in parts], torch.full((len(tiles),), 1.5)

    fine, quality = closer(window, inner, torch.full((32, 32), -3.0), asked)
    assert fine.shape == (200, 220)
    assert torch.equal(fine[10:150, 10:160] > 0, truth[10:150, 10:160] > 0)
    assert (fine[152:] == -3).all()
    assert abs(float(quality) - 1.5) < 1e-4


def test_lines_that_a_shrunk_window_loses_are_found_by_the_closer_look():
    lines = comb(300, 300)
    dialogue = Dialogue(bright, (0.1 + 0.8 * lines).expand(3, -1, -1), Manner())
    box = np.array([[0.0, 0.0], [299.0, 299.0]])
    answer = dialogue.boxed(box, NOTHING)
    assert answer.features.shape == (FEATURES,)
    assert answer.logits.shape == (450, 450)
    found, wanted = dialogue.canvas(answer) > 0.5, lines > 0
    assert found[wanted].all()
    assert found.sum() < 2 * wanted.sum()  # in the window of 450 pixels as 128, a line is 3.5 pixels wide at least
