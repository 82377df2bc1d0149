"""MedSAM's own preparation, prompts and training, at its published size and at a tiny one."""

import numpy as np
import pytest
import torch

from hilum.capabilities.trainable import Sample
from hilum.parts.sam import SamBatch
from hilum.systems import medsam
from hilum.systems.medsam import MedSam
from hilum.values.errors import UnsupportedPrompt
from hilum.values.image import Display, Image, Source, from_array
from hilum.values.prompts import Box, PlanePrompt, Points


def grey(values: np.ndarray, modality: str | None = None) -> Image:
    return from_array(values[None], modality=modality)


def test_published_size():
    layout = MedSam.layout("vit_b")
    parameters = {name: np.prod(shape) for name, shape in layout.items() if "gaussian_matrix" not in name}
    assert sum(parameters.values()) == 93_735_472
    frozen = sum(count for name, count in parameters.items() if name.startswith("prompt_encoder."))
    assert frozen == 6_220
    assert layout["image_encoder.pos_embed"] == (1, 64, 64, 768)
    assert layout["image_encoder.blocks.2.attn.rel_pos_h"] == (127, 64)
    assert layout["image_encoder.blocks.3.attn.rel_pos_h"] == (27, 64)


def test_the_prompt_encoder_is_frozen_and_the_rest_is_trained():
    network = MedSam.tiny().network
    assert not any(weight.requires_grad for weight in network.prompt_encoder.parameters())
    assert all(weight.requires_grad for weight in network.image_encoder.parameters())
    assert all(weight.requires_grad for weight in network.mask_decoder.parameters())


def test_ct_is_seen_in_the_soft_tissue_window_of_the_whole_volume():
    values = np.linspace(-1000, 1000, 2 * 4 * 5).reshape(2, 4, 5).astype(np.int16)
    prepared = MedSam.tiny().prepare(from_array(values[None], spacing=(1, 1, 2), modality="CT"))
    expected = ((np.clip(values, -160, 240) + 160) / 400 * 255).astype(np.uint8)
    assert np.array_equal(prepared.array[0], expected)
    assert "medsam saw -160 to 240 HU in 8 bit" in prepared.source.notes


def test_a_narrow_ct_is_stretched_over_its_own_range():
    values = np.array([[0, 50], [100, 100]], dtype=np.int16)
    assert MedSam.tiny().prepare(grey(values, "CT")).array[0].tolist() == [[0, 127], [255, 255]]


def test_other_grey_images_lose_their_extremes_and_keep_their_zeros():
    values = np.random.default_rng(0).gamma(2.0, 100.0, (30, 30)).astype(np.float32)
    values[:10] = 0
    values[20, 20] = 1e5
    prepared = MedSam.tiny().prepare(grey(values, "MR")).array[0]
    low, high = np.percentile(values[values > 0], (0.5, 99.5))
    expected = ((np.clip(values, low, high) - low) / (high - low) * 255).astype(np.uint8)
    expected[values == 0] = 0
    assert np.abs(prepared.astype(int) - expected.astype(int)).max() <= 1  # rounding of float32 percentiles
    assert (prepared[:10] == 0).all()
    assert prepared[20, 20] == 255


def test_8_bit_pictures_are_seen_as_they_are():
    picture = np.random.default_rng(0).integers(5, 99, (3, 8, 9)).astype(np.uint8)
    assert MedSam.tiny().prepare(from_array(picture)).array is picture


def test_inverted_pictures_are_turned_and_said_so():
    values = np.array([[0, 100], [200, 255]], dtype=np.uint8)
    image = Image(values[None], np.eye(4), "pixel", Display(0, 255, inverted=True), Source(modality="DX"))
    prepared = MedSam.tiny().prepare(image)
    assert prepared.array[0].tolist() == [[255, 155], [55, 0]]
    assert not prepared.display.inverted
    assert any("inverted" in note for note in prepared.source.notes)


def test_the_network_sees_a_square_from_0_to_1_without_imagenets_constants():
    picture = np.random.default_rng(0).integers(20, 200, (1, 30, 50)).astype(np.uint8)
    pixels = medsam.network_input(picture, 64)
    assert pixels.shape == (1, 3, 64, 64)
    assert float(pixels.min()) == 0
    assert float(pixels.max()) == 1
    assert torch.equal(pixels[0, 0], pixels[0, 2])


def test_boxes_are_scaled_per_axis_with_the_stretched_picture():
    scaled = medsam.scaled(np.array([[10.0, 6.0], [40.0, 24.0]]), (30, 50), 64)
    assert scaled.tolist() == [[pytest.approx(v) for v in (12.8, 12.8, 51.2, 51.2)]]


def test_probability_is_enlarged_not_the_logit():
    """Between a certain pixel and an uncertain one the two differ: the published order is sigmoid first."""
    logits = torch.tensor([[[[-10.0, 1.0]]]])
    first = medsam.enlarged(logits.sigmoid(), 1, 8)[0, 0, 0] > 0.5
    last = medsam.enlarged(logits, 1, 8).sigmoid()[0, 0, 0] > 0.5
    assert first.sum() > last.sum()


def test_answers_and_their_notes_reach_the_user():
    values = np.random.default_rng(0).normal(0, 300, (3, 40, 36)).astype(np.float32)
    image = from_array(values[None], spacing=(0.8, 0.8, 3.0), modality="CT")
    answer = MedSam.tiny().ask(image, Box((4, 6, 1), (30, 33, 1)))
    assert answer.masks.shape == (1, 3, 40, 36)
    assert any("HU in 8 bit" in note for note in answer.provenance.notes)


def test_points_are_refused():
    with pytest.raises(UnsupportedPrompt, match="medsam takes box, got Points"):
        MedSam.tiny().ask(grey(np.zeros((20, 20), dtype=np.uint8)), Points([[3, 4]]))
    system = MedSam.tiny()
    seen = system.see(grey(np.zeros((20, 20), dtype=np.uint8)))
    with pytest.raises(UnsupportedPrompt):
        system.draw(seen, PlanePrompt())


def blob(side: int, centre: tuple[int, int], radius: int) -> np.ndarray:
    y, x = np.indices((side, side))
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2


def training_batch(seed: int = 0) -> tuple[MedSam, SamBatch]:
    rng = np.random.default_rng(seed)
    system = MedSam.tiny()
    masks = [blob(48, (20, 22), 9), blob(48, (30, 25), 12)]
    samples = [Sample(grey(60 * mask + rng.normal(0, 5, mask.shape), "MR"), mask[None]) for mask in masks]
    return system, system.batch(samples, np.random.default_rng(seed))


def test_training_boxes_hold_their_object_and_are_at_most_a_little_too_large():
    system, batch = training_batch()
    side, shift = system.config.image_size, round(medsam.BOX_SHIFT * system.config.image_size)
    for box, mask in zip(batch.prompts.boxes, batch.masks[:, 0], strict=True):
        rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
        tight = torch.stack([columns[0], rows[0], columns[-1], rows[-1]]).float()
        outward = (box - tight) * torch.tensor([-1, -1, 1, 1])
        assert (outward >= 0).all()
        assert (outward <= shift).all()
        assert (box >= 0).all()
        assert (box <= side - 1).all()


def test_the_loss_goes_down_and_reaches_all_that_the_first_mask_needs():
    system, batch = training_batch()
    named = dict(system.network.named_parameters())
    optimiser = torch.optim.AdamW([weight for weight in named.values() if weight.requires_grad], lr=1e-2)
    losses = []
    for _ in range(12):
        terms = system.loss(batch)
        losses.append(float(terms.total.detach()))
        optimiser.zero_grad()
        terms.total.backward()
        optimiser.step()
    assert losses[-1] < 0.9 * losses[0]
    trained = {name: weight for name, weight in named.items() if weight.requires_grad}
    without = {name for name, weight in trained.items() if weight.grad is None or not weight.grad.any()}
    unseen = ("mask_decoder.quality_head", *(f"mask_decoder.mask_heads.{head}" for head in (1, 2, 3)))
    assert without == {name for name in named if name.startswith(unseen)}
    assert MedSam.card.excuses["gradient"]


def test_a_sample_without_objects_is_refused():
    with pytest.raises(ValueError, match="must show at least one object"):
        MedSam.tiny().batch(
            [Sample(grey(np.ones((20, 20)), "MR"), np.zeros((1, 20, 20), dtype=bool))], np.random.default_rng(0)
        )
