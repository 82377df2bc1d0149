"""PLIP's traps: preparation to the pixel, padding by the end's id, long texts, random cuts."""

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from hilum.parts.hub_clip import text_vector
from hilum.systems.plip import PAPER, Plip


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (3, height, width)).astype(np.uint8)


@pytest.mark.parametrize("size", [(224, 224), (300, 517), (451, 224), (90, 60)])
def test_pixels_are_those_of_transformers(size):
    from transformers import CLIPImageProcessorPil

    mine = Plip(None, PAPER).pixels(picture(*size))
    theirs = CLIPImageProcessorPil()(Pillow.fromarray(np.moveaxis(picture(*size), 0, -1)), return_tensors="pt")
    torch.testing.assert_close(mine, theirs["pixel_values"], atol=1e-5, rtol=0)


def test_padding_by_zeros_or_by_the_end_is_the_same():
    """Published texts are padded with the end's id, ours with zeros: pooled is the first end."""
    system = Plip.tiny()
    zeros = system.ids(["gland", "invasive ductal carcinoma"])
    end = system.config.clip.vocabulary - 1
    ends = torch.where(zeros == 0, end, zeros)
    assert (zeros != ends).any()
    with torch.inference_mode():
        torch.testing.assert_close(text_vector(system.network, zeros), text_vector(system.network, ends))


def test_a_long_text_keeps_its_end():
    ids = Plip(None, PAPER).ids(["lymphocytes " * 200, "a"])
    assert ids.shape == (2, 77)
    assert ids[0, -1] == ids[1, 2] == 49407


def test_training_cuts_differ_and_have_the_networks_side():
    system, rng = Plip.tiny(), np.random.default_rng(1)
    first, second = (system.cut(picture(100, 140), rng) for _ in range(2))
    side = system.config.clip.image_size
    assert first.shape == (1, 3, side, side)
    assert not torch.equal(first, second)
    assert torch.equal(first, system.cut(picture(100, 140), np.random.default_rng(1)))


def test_files_of_older_libraries_carry_position_ids():
    from hilum.weights.recognise import Candidate, fit

    layout = Plip.layout("vit_b_32")
    older = {f"{tower}_model.embeddings.position_ids": (1, 77) for tower in ("text", "vision")}
    found = fit(Candidate("plip", "vit_b_32", "pytorch_model.bin", lambda: layout), layout | older)
    assert not found.wrong
    assert set(found.ignored) == set(older)
