"""SAM-Med2D: its published files, its preparation, its prompts, what it trains and how."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch_files import Remembers, saved

from hilum.capabilities.trainable import Sample
from hilum.parts.sam import TINY, SamBatch
from hilum.systems.sam_med2d import MASKS, SamMed2d, SamMed2dConfig, best, terms
from hilum.values.errors import UnsupportedPrompt
from hilum.values.image import Display, Image, Source, from_array
from hilum.values.prompts import Box, Mask, PlanePrompt, Points, Scribble
from hilum.weights import store
from hilum.weights.importer import import_file
from hilum.weights.recognise import Candidate

SAM_AT_1024 = 93_735_472  # parameters of SAM ViT-B as published


def count(layout: dict[str, tuple[int, ...]]) -> int:
    return sum(int(np.prod(shape)) for name, shape in layout.items() if "gaussian_matrix" not in name)


def test_published_layout():
    layout = SamMed2d.layout("b")
    assert layout["image_encoder.pos_embed"] == (1, 16, 16, 768)
    assert layout["image_encoder.blocks.5.attn.rel_pos_h"] == (31, 64)
    assert layout["image_encoder.blocks.6.attn.rel_pos_h"] == (27, 64)
    for block in range(12):
        start = f"image_encoder.blocks.{block}.Adapter."
        assert {name.removeprefix(start): shape for name, shape in layout.items() if name.startswith(start)} == {
            "norm.weight": (768,),
            "norm.bias": (768,),
            "channel.0.weight": (192, 768),
            "channel.2.weight": (768, 192),
            "spatial.0.weight": (768, 768, 3, 3),
            "spatial.2.weight": (768, 768, 4, 4),
        }
    assert SamMed2d.layout("b_without_adapters") == layout
    plain = {name: shape for name, shape in layout.items() if "Adapter" not in name}
    assert SamMed2d.layout("ft_sam_b") == plain
    positions = (64**2 - 16**2) * 768 + 4 * 2 * (127 - 31) * 64  # fewer of them than at 1024 pixels
    assert count(plain) == SAM_AT_1024 - positions


def test_the_published_wrapper_is_imported_under_both_tags(tmp_path, monkeypatch):
    """{model: ..., optimizer: a pickled object}: the tensors are taken, the object is met as a stub."""
    monkeypatch.setenv("HILUM_WEIGHTS", str(tmp_path / "weights"))
    state = SamMed2d.table.inverse(SamMed2d.tiny().network.state_dict())
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    pool = [
        Candidate("sam_med2d", entry.tag, entry.file, lambda: shapes, licence=entry.licence, source=entry.source)
        for entry in SamMed2d.card.weights
    ]
    path = saved({"model": dict(state), "optimizer": Remembers()}, tmp_path / "sam-med2d_b.pth")
    imported = import_file(path, pool)
    assert [each.record.name for each in imported] == ["sam_med2d.b", "sam_med2d.b_without_adapters"]
    assert imported[0].record.wrappers == ("model",)
    assert imported[0].record.left_out == ("optimizer",)
    assert store.find(SamMed2d.card).tag == "b"


def test_adapters_prompt_encoder_and_decoder_are_trained_the_rest_is_not():
    network = SamMed2d.tiny().network
    for name, weight in network.image_encoder.named_parameters():
        assert weight.requires_grad == (".beside." in name)
    for part in (network.prompt_encoder, network.mask_decoder):
        assert all(weight.requires_grad for weight in part.parameters())


def test_idle_adapters_are_loaded_and_not_used():
    """The same file without them: SAM's blocks again, and nothing of the encoder is trained."""
    used = SamMed2d.tiny()
    idle = SamMed2d.seeded(replace(used.config, adapters="idle"), 1)
    idle.network.load_state_dict(used.network.state_dict())
    plain = SamMed2d.seeded(replace(used.config, adapters="none"), 2)
    without = {name: each for name, each in used.network.state_dict().items() if ".beside." not in name}
    plain.network.load_state_dict(without)
    pixels = torch.randn(1, 3, used.side, used.side)
    with torch.inference_mode():
        seen = [each.network.image_encoder(pixels) for each in (used, idle, plain)]
    assert torch.equal(seen[1], seen[2])
    assert not torch.allclose(seen[0], seen[1], atol=1e-2)
    assert not any(weight.requires_grad for weight in idle.network.image_encoder.parameters())


def test_an_odd_grid_is_refused_where_adapters_are_used():
    odd = replace(TINY, image_size=72)
    with pytest.raises(ValueError, match="side must be even; it is 9"):
        SamMed2dConfig(odd)
    assert SamMed2dConfig(odd, adapters="none").sam.grid == 9


def test_8_bit_pictures_are_seen_as_they_are():
    picture = from_array(np.random.default_rng(0).integers(5, 99, (3, 8, 9)).astype(np.uint8))
    assert SamMed2d.tiny().prepare(picture) is picture


def test_other_images_are_seen_over_their_whole_range_and_that_is_said():
    values = np.array([[[-1000, 0], [0, 0]], [[0, 0], [0, 1000]]], dtype=np.int16)
    prepared = SamMed2d.tiny().prepare(from_array(values[None], spacing=(1, 1, 2)))
    assert prepared.array[0].tolist() == [[[0, 128], [128, 128]], [[128, 128], [128, 255]]]
    assert "sam_med2d saw -1000 to 1000 in 8 bit" in prepared.source.notes


def test_inverted_pictures_are_turned_and_said_so():
    values = np.array([[0, 100], [200, 255]], dtype=np.uint8)
    image = Image(values[None], np.eye(4), "pixel", Display(0, 255, inverted=True), Source(modality="DX"))
    prepared = SamMed2d.tiny().prepare(image)
    assert prepared.array[0].tolist() == [[255, 155], [55, 0]]
    assert not prepared.display.inverted
    assert any("turned" in note for note in prepared.source.notes)


@pytest.mark.parametrize(
    ("small", "grid", "padded"),
    [
        ("padded", (40, 50), True),
        ("padded", (63, 63), True),
        ("padded", (40, 64), False),  # as large as the square on one side
        ("padded", (20, 90), False),
        ("stretched", (40, 50), False),
    ],
)
def test_which_pictures_are_padded(small, grid, padded):
    system = SamMed2d.seeded(SamMed2dConfig(TINY, small=small), 0)
    assert system.frame(*grid).padded == padded


def test_the_best_rated_of_three_is_the_answer():
    logits, quality = torch.randn(2, 4, 5, 5), torch.tensor([[9.0, 0.1, 0.3, 0.2], [9.0, 0.8, 0.3, 0.2]])
    chosen, rated = best(logits, quality)
    assert torch.equal(chosen[:, 0], torch.stack([logits[0, 2], logits[1, 1]]))
    assert rated.tolist() == [[pytest.approx(0.3)], [pytest.approx(0.8)]]


@pytest.mark.parametrize("grid", [(40, 52), (90, 70)])
def test_every_kind_of_prompt_and_their_sum_is_answered(grid):
    height, width = grid
    image = from_array(np.random.default_rng(0).integers(0, 256, (3, *grid)).astype(np.uint8))
    mask = np.zeros(grid, bool)
    mask[10:30, 12:33] = True
    box, click = Box((12, 10), (32, 29)), Points([[20, 15], [2, 3]], [True, False])
    look = SamMed2d.tiny().look(image)
    for said in ((box,), (click,), (Mask(mask),), (box, click, Mask(mask))):
        answer = look.ask(*said)
        assert answer.masks.shape == (1, height, width)
        assert 0 <= answer.scores[0] <= 1


def test_scribbles_and_silence_are_refused():
    system, image = SamMed2d.tiny(), from_array(np.zeros((1, 20, 24), np.uint8))
    with pytest.raises(UnsupportedPrompt, match="sam_med2d takes points, box, mask, got Scribble"):
        system.ask(image, Scribble(np.ones((20, 24), bool)))
    with pytest.raises(UnsupportedPrompt, match="nothing was said"):
        system.draw(system.see(image), PlanePrompt())


def test_volumes_are_walked_through():
    values = np.random.default_rng(0).normal(0, 300, (3, 40, 36)).astype(np.float32)
    image = from_array(values[None], spacing=(0.8, 0.8, 3.0), modality="CT")
    answer = SamMed2d.tiny().ask(image, Box((4, 6, 1), (30, 33, 1)))
    assert answer.masks.shape == (1, 3, 40, 36)
    assert any("in 8 bit" in note for note in answer.provenance.notes)


def blob(side: int, middle: tuple[int, int], radius: int) -> np.ndarray:
    y, x = np.indices((side, side))
    return (y - middle[0]) ** 2 + (x - middle[1]) ** 2 <= radius**2


def training_batch(system: SamMed2d, seed: int = 0) -> SamBatch:
    rng = np.random.default_rng(seed)
    masks = np.stack([blob(48, (20, 22), 9), blob(48, (33, 30), 8), np.zeros((48, 48), bool)])
    pictures = [60 * masks.any(0) + rng.normal(0, 5, (48, 48)) for _ in range(2)]
    samples = [Sample(from_array(picture[None]), masks) for picture in pictures]
    return system.batch(samples, np.random.default_rng(seed))


def test_a_batch_is_five_masks_of_each_image_and_a_prompt_for_each():
    system = SamMed2d.tiny()
    batch = training_batch(system)
    assert batch.pixels.shape == (2, 3, 64, 64)
    assert batch.masks.shape == (2 * MASKS, 1, 64, 64)
    assert len(batch.prompts) == 2 * MASKS
    assert batch.masks.flatten(1).any(1).all()
    assert torch.equal(training_batch(system).masks, batch.masks)


def test_what_learns_in_a_round_of_a_box_and_in_one_of_a_click():
    """The excuse on the card, to the letter: only the other prompt's embeddings and the reader of masks get nothing."""
    system = SamMed2d.tiny()
    clicks = {f"prompt_encoder.{name}" for name in ("positive", "negative", "not_a_point")}
    corners = {f"prompt_encoder.{name}" for name in ("low_corner", "high_corner")}
    reader = {
        f"prompt_encoder.{name}" for name, _ in system.network.prompt_encoder.named_parameters() if "read" in name
    }
    seen = set()
    for seed in range(8):
        batch = training_batch(system, seed)
        system.network.zero_grad(set_to_none=True)
        system.loss(batch).total.backward()
        named = [(name, weight) for name, weight in system.network.named_parameters() if weight.requires_grad]
        silent = {name for name, weight in named if weight.grad is None}
        boxed = batch.prompts.boxes is not None
        assert silent == reader | (clicks if boxed else corners)
        seen.add(boxed)
    assert seen == {True, False}
    assert SamMed2d.card.excuses["gradient"]


def test_the_loss_is_twenty_focal_dice_and_the_missed_overlap():
    masks = torch.zeros(2, 1, 8, 8)
    masks[:, :, :4] = 1
    found = terms(torch.zeros(2, 1, 2, 2), torch.tensor([[0.5], [0.0]]), masks)
    surprise = 0.25 * np.log(2)  # (1 - p)² of the true class, at p = 1/2
    assert float(found.parts["focal"]) == pytest.approx(20 * surprise * (0.25 + 0.75) / 2, rel=1e-5)
    assert float(found.parts["dice"]) == pytest.approx(1 - (64 + 1) / (128 + 1), rel=1e-5)
    overlap = 32 / (64 + 64 - 32)
    assert float(found.parts["quality"]) == pytest.approx(((overlap - 0.5) ** 2 + overlap**2) / 2, rel=1e-5)


def test_the_loss_goes_down():
    system = SamMed2d.tiny()
    batch = training_batch(system)
    optimiser = torch.optim.Adam([each for each in system.network.parameters() if each.requires_grad], lr=3e-3)
    losses = []
    for _ in range(25):
        found = system.loss(batch).total
        losses.append(float(found.detach()))
        optimiser.zero_grad()
        found.backward()
        optimiser.step()
    assert losses[-1] < 0.6 * losses[0]


def test_a_sample_without_objects_is_refused():
    empty = Sample(from_array(np.ones((1, 20, 20))), np.zeros((1, 20, 20), dtype=bool))
    with pytest.raises(ValueError, match="must show at least one object"):
        SamMed2d.tiny().batch([empty], np.random.default_rng(0))
