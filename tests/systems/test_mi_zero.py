"""MI-Zero's traps: buffers in the file, a bag of tiles, mirrored captions, draws of prompts, sizes of tiles."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hilum.app.weights_commands import candidates
from hilum.capabilities.trainable import Captioned
from hilum.parts.bag_scores import best_sum, nearest, smoothed
from hilum.parts.slide_prompts import TEMPLATES, draws
from hilum.systems.mi_zero import ENDS, SIDES, TINY, MiZero, exchanged, padded
from hilum.values.image import from_array
from hilum.values.prompts import Labels
from hilum.weights.recognise import by_layout

NAMES = ("lung adenocarcinoma", "squamous cell carcinoma")


def tile(seed: int, side: int = 48):
    return from_array(np.random.default_rng(seed).integers(0, 256, (3, side, side)).astype(np.uint8))


@pytest.mark.parametrize("tag", list(MiZero.configs))
def test_the_published_file_is_known_by_its_layout(tag):
    layout = MiZero.layout(tag)
    buffers = {
        "visual.trunk.layers.2.blocks.1.attn_mask": (16, 49, 49),
        "visual.trunk.layers.2.blocks.1.attn.relative_position_index": (49, 49),
        "transformer.embeddings.position_ids": (1, 512),
    }
    assert layout["visual.trunk.layers.0.downsample.reduction.weight"] == (192, 384)
    assert layout["visual.head.proj.bias"] == (512,)
    assert layout["text_projection"] == (768, 512)
    mine = [each for each in candidates() if each.system == "mi_zero"]
    wrapped = {f"module.{name}": shape for name, shape in {**layout, **buffers}.items()}
    found = by_layout(mine, wrapped, "epoch_50.pt")
    assert found.candidate.tag == tag
    assert {name.removeprefix("module.") for name in found.ignored} == set(buffers)


def test_the_file_fits_the_side_it_was_trained_at_too():
    config = MiZero.configs["ctranspath_448_pubmedbert"]
    with torch.device("meta"):
        trained = MiZero.build(replace(config, vision=replace(config.vision, image_size=448)))
    assert {name: tuple(each.shape) for name, each in trained.state_dict().items()} == MiZero.layout(
        "ctranspath_448_pubmedbert"
    )


def test_tiles_given_together_are_one_bag_whose_order_does_not_matter():
    system, tiles = MiZero.tiny(), [tile(seed) for seed in range(7)]
    labels = Labels(NAMES)
    bag = system.ask(*tiles, labels)
    np.testing.assert_allclose(system.ask(*tiles[::-1], labels).similarity, bag.similarity, atol=1e-6)
    each = np.stack([system.ask(one, labels).similarity for one in tiles])
    np.testing.assert_allclose(bag.similarity, np.sort(each, axis=0)[-TINY.best :].mean(axis=0), atol=1e-6)
    whole = MiZero(system.network, replace(TINY, pool="mean")).ask(*tiles, labels)
    np.testing.assert_allclose(whole.similarity, each.mean(axis=0), atol=1e-6)


@torch.no_grad()
def test_a_text_is_its_first_state_through_the_matrix_however_far_it_is_padded():
    network, read = MiZero.tiny().network, MiZero.tiny().read(["a tumour", "glands of the colon with a tumour"])
    assert read.ids.shape == (2, TINY.reading.context)
    states = network.transformer(input_ids=read.ids, attention_mask=read.mask.long()).last_hidden_state
    torch.testing.assert_close(network.texts(read), states[:, 0] @ network.text_projection, atol=1e-5, rtol=0)


def test_neighbours_and_the_best_are_as_many_as_there_are():
    scores = torch.tensor([[0.1, 0.5], [0.3, 0.2], [0.2, 0.9]])
    torch.testing.assert_close(best_sum(scores, 2), torch.tensor([0.5, 1.4]))
    torch.testing.assert_close(best_sum(scores, 50), scores.sum(0))
    few = nearest(np.array([[0, 0], [0, 10], [0, 30]]), 8)
    assert few.tolist() == [[0, 1, 2], [1, 0, 2], [2, 1, 0]]
    torch.testing.assert_close(smoothed(scores, few[:, :2])[2], torch.tensor([0.25, 0.55]))
    assert nearest(np.array([[4, 4]]), 8).tolist() == [[0]]


def test_a_mirrored_picture_has_a_mirrored_caption():
    assert exchanged("Left upper lobe, right side; leftover", SIDES) == "Right upper lobe, left side; leftover"
    assert exchanged("at the top of the left image", ENDS) == "at the bottom of the left image"
    system, rng = MiZero.tiny(), np.random.default_rng(0)
    picture = tile(0, 32).array
    seen = set()
    for _ in range(40):
        moved, text = system.mirrored(picture, "top left", rng)
        back = np.array(moved)
        back = back[:, ::-1] if "right" in text else back
        back = back[::-1] if "bottom" in text else back
        np.testing.assert_array_equal(back, np.moveaxis(picture, 0, -1))
        seen.add(text)
    assert seen == {"top left", "top right", "bottom left", "bottom right"}


def test_small_pictures_stand_on_glass_and_large_ones_are_made_smaller():
    from PIL import Image as Pillow

    small = np.array(padded(Pillow.new("RGB", (20, 10)), 32))
    assert (small == 0).all(axis=-1).sum() == 200
    assert (small[:11] == 255).all()
    large = np.array(padded(Pillow.new("RGB", (100, 50)), 32))
    assert (large == 0).all(axis=-1).sum() == 32 * 16


def test_training_pairs_take_captions_that_are_empty():
    system = MiZero.tiny()
    batch = system.pairs([Captioned(tile(0), ""), Captioned(tile(1), "tumour at the top")], np.random.default_rng(0))
    assert batch.pixels.shape == (2, 3, 32, 32)
    assert system.loss(batch).total.isfinite()


def test_prompts_are_drawn_from_names_and_templates():
    pools = {"LUAD": ("adenocarcinoma", "lung adenocarcinoma"), "LUSC": ("squamous cell carcinoma",)}
    drawn = list(draws(pools, count=30))
    assert len(drawn) == 30
    assert all(each.names == ("LUAD", "LUSC") and len(each.texts[0]) == len(each.texts[1]) for each in drawn)
    assert {len(each.texts[0]) for each in drawn} == set(range(1, len(TEMPLATES) + 1))
    assert {any("lung" in text for text in each.texts[0]) for each in drawn} == {True, False}
    again = list(draws(pools, count=30))
    assert [each.texts for each in again] == [each.texts for each in drawn]
