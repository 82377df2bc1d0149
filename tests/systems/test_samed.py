"""SAMed's preparation, answers, training and files, at its published sizes and at a tiny one."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from hilum.capabilities.segment import Semantic
from hilum.capabilities.system import Completed
from hilum.capabilities.trainable import Sample, Trainable
from hilum.parts import zoomed_slice
from hilum.parts.qv_lora import Update
from hilum.parts.sam import TINY
from hilum.parts.unprompted import Unprompted
from hilum.systems import samed
from hilum.systems.samed import ORGANS, Samed, SamedConfig
from hilum.values.errors import BadInput, UnsupportedPrompt
from hilum.values.image import Display, Image, Source, from_array
from hilum.values.prompts import Box, Labels
from hilum.weights.rename import Mismatch, fill

RESTING = SamedConfig(TINY, taught_size=48, decoder_rests=True)


def ct(values: np.ndarray, **more) -> Image:
    return from_array(np.asarray(values)[None], modality="CT", **more)


def moved(system: Samed) -> Samed:
    """Every update away from zero."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for part in system.network.modules():
            if isinstance(part, Update):
                part.up.weight.copy_(0.2 * torch.randn(part.up.weight.shape, generator=generator))
    return system


def pixels(count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, TINY.image_size, TINY.image_size, generator=torch.Generator().manual_seed(2))


def test_it_is_what_the_house_calls_it():
    system = Samed.tiny()
    assert isinstance(system, Semantic)
    assert isinstance(system, Trainable)
    assert issubclass(Samed, Completed)


@pytest.mark.parametrize(("tag", "megabytes"), [("vit_b", 18), ("vit_b_s", 6), ("vit_h", 21)])
def test_published_sizes(tag, megabytes):
    """The files hold what is trained, and have the published sizes; SAM's encoder is not in them."""
    layout = Samed.layout(tag)
    size = 4 * sum(int(np.prod(shape)) for shape in layout.values()) / 2**20
    assert abs(size - megabytes) < 1
    assert not any("image_encoder" in name for name in layout)
    depth, width = (32, 1280) if tag == "vit_h" else (12, 768)
    assert {name for name in layout if name.startswith("w_")} == {
        f"w_{factor}_{number:03d}" for factor in "ab" for number in range(2 * depth)
    }
    assert layout["w_a_000"] == (4, width)
    assert layout["w_b_001"] == (width, 4)
    assert layout["mask_decoder.mask_tokens.weight"] == (9, 256)
    assert layout["mask_decoder.output_hypernetworks_mlps.8.layers.2.weight"] == (32, 256)
    assert ("mask_decoder.transformer.layers.0.self_attn.q_proj.weight" in layout) == (tag != "vit_b_s")


def test_the_small_files_decoder_updates():
    """SAMed_s: two layers' self-attention and both cross-attentions, and the last look; query and value of each."""
    layout = Samed.layout("vit_b_s")
    for stem in ("sa", "cti", "cit"):
        assert {name for name in layout if name.startswith(f"{stem}_")} == {
            f"{stem}_{factor}_{number:03d}" for factor in "ab" for number in range(4)
        }
    assert layout["sa_b_000"] == (256, 4)
    assert layout["cti_b_000"] == layout["fati_qb"] == (128, 4)
    assert layout["fati_va"] == (4, 256)


@pytest.mark.parametrize("config", [SamedConfig(TINY), RESTING])
def test_what_rests_and_what_is_trained(config):
    network = Samed.seeded(config, 0).network
    for name, weight in network.named_parameters():
        update = ".down." in name or ".up." in name
        rests = name.startswith("image_encoder.") or (
            config.decoder_rests and name.startswith("mask_decoder.transformer.")
        )
        assert weight.requires_grad == (update or not rests), name


@pytest.mark.parametrize("config", [SamedConfig(TINY), RESTING])
def test_names_lead_there_and_back_one_by_one(config):
    """Each name alone too: an adapter names single tensors."""
    state = Samed.seeded(config, 0).network.state_dict()
    upstream = Samed.table.inverse(state)
    assert len(upstream) == len(state)
    assert Samed.table.apply(upstream).keys() == state.keys()
    for name, tensor in state.items():
        (alone,) = Samed.table.inverse({name: tensor})
        assert upstream[alone] is tensor


@pytest.mark.parametrize("config", [SamedConfig(TINY), RESTING])
def test_updates_are_nothing_at_birth_and_can_be_folded_in(config):
    system = Samed.seeded(config, 0)
    with torch.inference_mode():
        born = Unprompted(system.network)(pixels())
        assert torch.equal(Unprompted(system.merged())(pixels()), born)
        changed = Unprompted(moved(system).network)(pixels())
        folded = Unprompted(system.merged())(pixels())
    assert float((changed - born).abs().max()) > 1e-3
    torch.testing.assert_close(folded, changed, atol=1e-5, rtol=1e-5)
    assert not any(isinstance(part, Update) for part in system.merged().modules())


def test_all_classes_come_back_for_each_of_several_slices():
    system = Samed.tiny()
    with torch.inference_mode():
        logits = Unprompted(system.network)(pixels(3))
        single = Unprompted(system.network)(pixels(3)[1:2])
    assert logits.shape == (3, 1 + len(ORGANS), 32, 32)
    torch.testing.assert_close(logits[1:2], single, atol=1e-5, rtol=0)


def test_ct_is_seen_in_the_published_window():
    values = np.array([[-1000, -125], [75, 3000]], dtype=np.int16)
    prepared = Samed.tiny().prepare(ct(values))
    assert prepared.array.dtype == np.float32
    assert prepared.array[0].tolist() == [[0, 0], [0.5, 1]]
    assert prepared.source.notes == ("samed saw -125 to 275 HU",)


def test_values_that_may_not_be_hounsfield_units_are_doubted():
    prepared = Samed.tiny().prepare(ct(np.full((4, 4), 1040, dtype=np.uint16)))
    assert any("no value is below 0" in note for note in prepared.source.notes)


def test_8_bit_greys_are_taken_for_the_window_and_said_so():
    values = np.array([[[0, 255], [51, 102]]], dtype=np.uint8)
    image = Image(values, np.eye(4), "pixel", Display(0, 255), Source())
    prepared = Samed.tiny().prepare(image)
    np.testing.assert_allclose(prepared.array[0], [[0, 1], [0.2, 0.4]], atol=1e-6)
    assert any("does not say what they are" in note for note in prepared.source.notes)
    turned = Samed.tiny().prepare(replace(image, display=Display(0, 255, inverted=True)))
    np.testing.assert_allclose(turned.array, 1 - prepared.array, atol=1e-6)


def test_what_is_not_ct_is_refused_with_a_sentence():
    system = Samed.tiny()
    with pytest.raises(BadInput, match="this picture has colours"):
        system.ask(from_array(np.zeros((3, 20, 20), dtype=np.uint8)))
    with pytest.raises(BadInput, match=r"samed.tiny was trained on CT; this image says MR"):
        system.ask(from_array(np.zeros((1, 20, 20), dtype=np.float32), modality="MR"))
    with pytest.raises(UnsupportedPrompt, match="samed takes labels, got Box"):
        system.ask(ct(np.zeros((20, 20), dtype=np.float32)), Box((2, 2), (9, 9)))


def test_a_slice_goes_through_the_size_of_the_training_slices():
    config = SamedConfig(TINY, taught_size=24)
    plane = np.random.default_rng(0).random((40, 30), dtype=np.float32)
    small = ndimage.zoom(plane, (24 / 40, 24 / 30), order=3)
    wanted = ndimage.zoom(small, 64 / 24, order=3)
    given = samed.network_input(plane, config)
    assert given.shape == (1, 3, 64, 64)
    assert np.array_equal(given[0, 1].numpy(), wanted)
    assert torch.equal(given[0, 0], given[0, 2])


def test_a_slice_of_the_right_size_is_not_touched():
    plane = np.random.default_rng(0).random((64, 64), dtype=np.float32)
    assert np.array_equal(samed.network_input(plane, SamedConfig(TINY, taught_size=64))[0, 0].numpy(), plane)


def test_classes_exclude_each_other_and_labels_choose_among_them():
    values = np.random.default_rng(0).normal(50, 200, (3, 40, 36)).astype(np.float32)
    system, image = Samed.tiny(), ct(values, spacing=(0.8, 0.8, 5.0))
    answer = system.ask(image)
    assert answer.masks.sum(axis=0).max() == 1
    assert len(answer.names) > 1
    chosen = system.ask(image, Labels((answer.names[1].title(),)))
    assert chosen.names == (answer.names[1],)
    assert np.array_equal(chosen.masks[0], answer.masks[1])
    with pytest.raises(BadInput, match="samed does not know heart; it knows spleen, right kidney"):
        system.ask(image, Labels(("heart",)))


def blobs() -> np.ndarray:
    """A mask for each organ, most of them empty."""
    masks = np.zeros((len(ORGANS), 40, 44), dtype=bool)
    masks[4, 5:25, 4:20], masks[0, 22:36, 28:40] = True, True
    return masks


def samples(count: int = 4) -> list[Sample]:
    masks, rng = blobs(), np.random.default_rng(0)
    clean = -80 + 150.0 * masks[4] + 260.0 * masks[0]
    return [Sample(ct((clean + rng.normal(0, 8, clean.shape)).astype(np.float32)), masks) for _ in range(count)]


def test_batches_hold_prepared_slices_and_classes_at_the_logits_size():
    system = Samed.tiny()
    batch = system.batch(samples(3), np.random.default_rng(1))
    assert batch.pixels.shape == (3, 3, 64, 64)
    assert batch.labels.shape == (3, 32, 32)
    assert set(batch.labels.unique().tolist()) == {0, 1, 5}
    again = system.batch(samples(3), np.random.default_rng(1))
    assert torch.equal(batch.pixels, again.pixels)
    assert torch.equal(batch.labels, again.labels)


def test_slices_and_classes_are_turned_together():
    grey, labels = np.arange(36.0).reshape(6, 6), np.arange(36, dtype=np.uint8).reshape(6, 6)
    kinds = set()
    for seed in range(60):
        turned, classes = zoomed_slice.varied(grey, labels, np.random.default_rng(seed))
        assert np.array_equal(turned, classes)
        kinds.add(turned.tobytes())
    assert len(kinds) > 12


def test_a_sample_with_other_classes_is_refused():
    with pytest.raises(ValueError, match=r"samed learns 8 classes .* got 2"):
        Samed.tiny().batch([Sample(ct(np.zeros((20, 20))), np.zeros((2, 20, 20), bool))], np.random.default_rng(0))


@pytest.mark.parametrize("config", [SamedConfig(TINY, taught_size=48), RESTING])
def test_the_loss_goes_down_and_reaches_all_that_an_unprompted_answer_needs(config):
    system = Samed.seeded(config, 0)
    batch = system.batch(samples(), np.random.default_rng(0))
    named = {name: weight for name, weight in system.network.named_parameters() if weight.requires_grad}
    optimiser = torch.optim.AdamW(named.values(), lr=5e-3, weight_decay=0.1)
    losses = []
    for _ in range(15):
        optimiser.zero_grad()
        terms = system.loss(batch)
        terms.total.backward()
        optimiser.step()
        losses.append(float(terms.total.detach()))
    assert losses[-1] < 0.8 * losses[0]  # the Dice of classes that are nowhere falls last
    without = {name for name, weight in named.items() if weight.grad is None}
    unseen = ("prompt_encoder.", "mask_decoder.quality_head.")
    assert without == {name for name in named if name.startswith(unseen)} - {"prompt_encoder.no_mask"}
    assert Samed.card.excuses["gradient"]


def test_other_classes_are_refused_by_the_strict_loader():
    other = Samed.seeded(SamedConfig(TINY, classes=("tumour",)), 0)
    with pytest.raises(Mismatch, match="these weights are not this network's"):
        fill(Samed.build(SamedConfig(TINY)), other.network.state_dict())


def test_a_file_of_ones_own_opens_with_its_own_classes():
    system = moved(Samed.seeded(SamedConfig(TINY, classes=("tumour", "cyst"), rank=2), 0))
    whole = Samed.table.inverse(system.network.state_dict())
    own = {name: tensor for name, tensor in whole.items() if Samed.carries(name)}
    base = {name.removeprefix("sam."): tensor for name, tensor in whole.items() if not Samed.carries(name)}
    opened = Samed.from_files(system.config, own, base)
    state = system.network.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in opened.network.state_dict().items())
    assert opened.targets() == ("tumour", "cyst")


@pytest.mark.parametrize("tag", [tag for tag in Samed.configs if tag != "pocket"])
def test_sizes_are_read_from_a_file(tag):
    own = {name: torch.empty(shape, device="meta") for name, shape in Samed.layout(tag).items()}
    assert samed.config_of(own, ORGANS) == Samed.configs[tag]
    with pytest.raises(BadInput, match="8 classes beside the background, and 1 names were given"):
        samed.config_of(own, ("liver",))
    with pytest.raises(BadInput, match="11 layers of width"):
        samed.config_of({f"w_a_{n:03d}": own["w_a_000"] for n in range(22)}, ORGANS)


def test_the_pocket_weights_want_mr_by_its_own_display_window():
    system = Samed(None, Samed.configs["pocket"], tag="pocket")
    image = from_array(np.linspace(0, 900, 400, dtype=np.float32).reshape(1, 20, 20), modality="MR")
    seen = system.prepare(replace(image, display=Display(100, 500)))
    assert seen.array.min() == 0
    assert seen.array.max() == 1
    assert any("100 to 500" in note for note in seen.source.notes)
    with pytest.raises(BadInput, match=r"samed.pocket was trained on MR; this image says CT"):
        system.prepare(ct(np.zeros((20, 20), dtype=np.float32)))
