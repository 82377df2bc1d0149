"""AutoSAM's heads, what they begin with, what they see and say, at tiny sizes and at the published one."""

import hashlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from hilum import registry
from hilum.capabilities.trainable import Sample
from hilum.objectives.class_overlap import foreground_dice_loss
from hilum.parts.sam import BASE, HUGE, LARGE, TINY, sam
from hilum.parts.sam_heads import ClassTokens, GrowingHead, PixelwiseHead
from hilum.systems import autosam
from hilum.systems.autosam import AutoSam, AutoSamConfig, CnnHead, DecoderHead, LinearHead
from hilum.values.errors import BadInput
from hilum.values.image import Display, Image, from_array
from hilum.weights.tables.sam import UPSTREAM

HEADS = {"decoder": DecoderHead(places=TINY.grid), "cnn": CnnHead(depth=3, top=4), "linear": LinearHead()}
SIZES = {"vit_b": BASE, "vit_l": LARGE, "vit_h": HUGE}
CLASSES = ("ring", "core")


def config(head: str) -> AutoSamConfig:
    return AutoSamConfig(TINY, HEADS[head], CLASSES, picture=48)


def layout(config: AutoSamConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the file that the published code would write."""
    with torch.device("meta"):
        network = AutoSam.build(config)
    return {name: tuple(each.shape) for name, each in AutoSam.table.inverse(network.state_dict()).items()}


def published_sam(size) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {name: tuple(each.shape) for name, each in UPSTREAM.inverse(sam(size).state_dict()).items()}


@pytest.mark.parametrize("size", SIZES)
def test_published_size_with_the_decoder(size):
    mine, sams = layout(AutoSamConfig(SIZES[size])), published_sam(SIZES[size])
    assert mine["mask_decoder.iou_token.weight"] == (4, 256)
    assert mine["mask_decoder.mask_tokens.weight"] == (8, 256)
    assert mine["mask_decoder.output_hypernetworks_mlps.1.layers.2.weight"] == (32, 256)
    assert "mask_decoder.output_hypernetworks_mlps.2.layers.0.weight" not in mine
    assert mine["mask_decoder.iou_prediction_head.layers.2.weight"] == (2, 256)
    assert mine["pe_layer.positional_encoding_gaussian_matrix"] == (2, 128)
    assert {n: s for n, s in mine.items() if n.startswith("image_encoder")} == {
        n: s for n, s in sams.items() if n.startswith("image_encoder")
    }


def test_published_heads_on_features():
    cnn = layout(AutoSamConfig(BASE, CnnHead()))
    assert cnn["mask_decoder.input_block.0.weight"] == (1024, 256, 1, 1)
    assert cnn["mask_decoder.blocks.0.2.weight"] == (512, 1024, 3, 3)
    assert cnn["mask_decoder.blocks.1.2.weight"] == (256, 512, 3, 3)
    assert "mask_decoder.blocks.1.4.weight" not in cnn
    assert cnn["mask_decoder.blocks.2.4.weight"] == (256, 128, 2, 2)
    assert cnn["mask_decoder.blocks.3.4.weight"] == (128, 64, 2, 2)
    assert cnn["mask_decoder.final.1.weight"] == (4, 64, 1, 1)
    linear = layout(AutoSamConfig(BASE, LinearHead()))
    assert linear["mask_decoder.output_upscaling.3.weight"] == (64, 32, 2, 2)
    assert linear["mask_decoder.final.2.weight"] == (4, 32, 1, 1)


@pytest.mark.parametrize("head", HEADS)
def test_what_begins_with_sams_weights(head):
    """All of one name, but for tokens and quality head; places, classes and convolutions begin at random."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        sams = UPSTREAM.inverse(sam(TINY).state_dict())
    fresh, system = AutoSam.seeded(config(head), 5), AutoSam.begun(config(head), sams, seed=5)
    before, after = (AutoSam.table.inverse(each.network.state_dict()) for each in (fresh, system))
    taken = {name for name in after if name in sams and torch.equal(after[name], sams[name])}
    kept = {name for name in after if torch.equal(after[name], before[name])}
    assert taken >= {name for name in after if name.startswith("image_encoder.")}
    fresh_decoder = {name for name in after if "iou" in name or "mask_tokens" in name or name.startswith("pe_layer")}
    wanted = {
        "decoder": {name for name in after if name.startswith("mask_decoder.")} - fresh_decoder,
        "cnn": set(),
        "linear": {name for name in after if "output_upscaling" in name},
    }[head]
    assert wanted <= taken
    assert kept >= set(after) - {name for name in after if name.startswith("image_encoder.")} - wanted
    assert set(autosam.lent(after, sams)) == wanted | {name for name in after if name.startswith("image_encoder.")}


@pytest.mark.parametrize("head", HEADS)
def test_a_file_that_says_its_sizes_is_opened_by_its_name(head, tmp_path):
    system, file = AutoSam.seeded(config(head), 4), tmp_path / "hearts.safetensors"
    state = {name: each.contiguous() for name, each in AutoSam.table.inverse(system.network.state_dict()).items()}
    save_file(state, file, {autosam.HEADING: system.config.told()})
    opened = registry.load("autosam", weights=file, device="cpu", backend="torch")
    assert opened.tag == "autosam.hearts"
    assert opened.config == system.config
    image = labelled(np.random.default_rng(1)).image
    assert np.array_equal(opened.ask(image).masks, system.ask(image).masks)
    assert opened.ask(image).provenance.weights_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    save_file(state, file)
    with pytest.raises(BadInput, match=r"hearts.safetensors does not say its sizes and classes"):
        registry.load("autosam", weights=file)
    with pytest.raises(BadInput, match="no safetensors file is at"):
        registry.load("autosam", weights=tmp_path / "none.safetensors")


def test_another_sams_file_is_refused():
    larger = {name: torch.zeros(1).expand(shape) for name, shape in published_sam(BASE).items()}
    with pytest.raises(BadInput, match="not the file of a SAM of this size"):
        AutoSam.begun(config("decoder"), larger)
    with pytest.raises(BadInput, match="not the file of a SAM of this size"):
        AutoSam.begun(config("decoder"), {})


@pytest.mark.parametrize("head", HEADS)
def test_the_encoder_and_the_quality_rest(head):
    network = AutoSam.build(config(head))
    resting = {name for name, each in network.named_parameters() if not each.requires_grad}
    names = {name for name, _ in network.named_parameters()}
    quality = ("mask_decoder.tokens.quality", "mask_decoder.quality_head.")
    assert resting == {name for name in names if name.startswith(("image_encoder.", *quality))}


def test_classes_are_answered_as_if_each_were_a_prompt():
    """Asked class by class, with the tokens of that class alone, the decoder gives the same masks."""
    system = AutoSam.seeded(config("decoder"), 0)
    decoder, embedding = system.network.mask_decoder, torch.randn(2, TINY.channels, TINY.grid, TINY.grid)
    with torch.no_grad():
        together = system.network.head(embedding)
        tokens = decoder.tokens
        for number in range(1 + len(CLASSES)):
            alone = ClassTokens(1, 2, TINY.channels)
            alone.quality.copy_(tokens.quality[number : number + 1])
            alone.masks.copy_(tokens.masks[2 * number : 2 * number + 2])
            decoder.tokens = alone
            torch.testing.assert_close(system.network.head(embedding)[:, 0], together[:, number])


def test_places_of_another_grid_are_refused():
    with pytest.raises(ValueError, match="64 places on a side, but the embedding has 8"):
        AutoSamConfig(TINY)


def test_cnn_doubles_at_every_stage_of_two_and_at_the_last_of_more():
    for depth, factor in ((1, 2), (2, 4), (3, 2), (4, 4)):
        assert GrowingHead(8, 3, depth=depth, top=2)(torch.zeros(1, 8, 5, 6)).shape == (1, 3, 5 * factor, 6 * factor)


def test_linear_head_is_sams_upscaling_and_two_maps_without_a_logit_below_zero():
    head, embedding = PixelwiseHead(16, 3), torch.randn(2, 16, 5, 7)
    with torch.no_grad():
        first, norm, _, second, _ = head.upscaling
        x = F.conv_transpose2d(embedding, first.weight, first.bias, stride=2)
        x = F.gelu(norm(x.movedim(1, -1)).movedim(-1, 1))
        x = F.gelu(F.conv_transpose2d(x, second.weight, second.bias, stride=2))
        logits = head(embedding)
        torch.testing.assert_close(logits, head.final(x))
    assert (logits >= 0).all()
    assert logits.shape == (2, 3, 20, 28)


def labelled(rng: np.random.Generator, shape=(40, 36)) -> Sample:
    y, x = np.indices(shape)
    away = np.hypot(y - rng.integers(16, 24), x - rng.integers(14, 22))
    masks = np.stack([(away < 11) & (away >= 5), away < 5])
    array = (90 * masks[0] + 40 * masks[1] + rng.normal(0, 5, shape)).astype(np.float32)
    return Sample(from_array(array[None]), masks)


@pytest.mark.parametrize("head", HEADS)
def test_the_loss_goes_down(head):
    system, rng = AutoSam.seeded(config(head), 1), np.random.default_rng(0)
    batch = system.batch([labelled(rng) for _ in range(3)], rng)
    assert batch.pictures.shape == (3, 3, 48, 48)
    assert set(batch.labels.unique().tolist()) == {0, 1, 2}
    optimiser = torch.optim.Adam([each for each in system.network.parameters() if each.requires_grad], lr=1e-2)
    losses = []
    for _ in range(25):
        total = system.loss(batch).total
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        losses.append(float(total.detach()))
    assert losses[-1] < 0.95 * losses[0]
    without = {n for n, each in system.network.named_parameters() if each.requires_grad and each.grad is None}
    assert without == {n for n in without if n.startswith("mask_decoder.mask_heads.1.")}
    assert AutoSam.card.excuses["gradient"]


def test_a_sample_needs_a_mask_for_each_class():
    sample = labelled(np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"learns 2 classes \(ring, core\): .* got 1"):
        AutoSam.seeded(config("cnn"), 0).batch([Sample(sample.image, sample.masks[:1])], np.random.default_rng(0))


def test_dice_of_the_foreground():
    labels = torch.tensor([[[0, 1], [2, 2]]])
    logits = torch.log(torch.tensor([[0.5, 0.25], [0.2, 0.3]]))
    logits = torch.stack([logits, torch.log(torch.tensor([[0.3, 0.5], [0.2, 0.1]])), torch.zeros(2, 2)])[None]
    p = logits.softmax(1)[0].double()
    terms = []
    for number in (1, 2):
        t = (labels[0] == number).double()
        terms.append(1 - (2 * (p[number] * t).sum() + 1) / ((p[number] ** 2).sum() + t.sum() + 1))
    assert float(foreground_dice_loss(logits, labels)) == pytest.approx(float(sum(terms) / 2))


def test_a_class_whose_term_is_not_above_zero_is_left_out_of_the_mean():
    labels = torch.tensor([[[0, 1], [0, 1]]])
    half = torch.tensor([[[[0.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]], [[-200.0, -200.0], [-200.0, -200.0]]]])
    term = 1 - (2 * 1.0 + 1) / (4 * 0.25 + 2 + 1)  # class 1; class 2 is nowhere and foretold nowhere: its term is 0
    assert float(foreground_dice_loss(half, labels)) == pytest.approx(term)
    perfect = torch.where(F.one_hot(labels, 3).movedim(-1, 1).bool(), 200.0, -200.0).requires_grad_()
    nothing = foreground_dice_loss(perfect, labels)
    nothing.backward()
    assert float(nothing.detach()) == 0.0


def test_pictures_are_seen_from_0_to_1_by_their_own_range_over_all_channels():
    picture = np.stack([np.full((4, 5), value, dtype=np.uint8) for value in (10, 20, 30)])
    assert autosam.ranged(picture)[0, :, 0, 0].tolist() == [0.0, 0.5, 1.0]
    assert autosam.ranged(np.full((1, 4, 5), 7.0)).abs().max() == 0


def test_inverted_pictures_are_turned_and_said_so():
    values = np.array([[0, 100], [200, 255]], dtype=np.uint8)
    prepared = AutoSam.tiny().prepare(Image(values[None], np.eye(4), "pixel", Display(0, 255, inverted=True)))
    assert prepared.array[0].tolist() == [[255, 155], [55, 0]]
    assert "autosam saw the inverted values turned" in prepared.source.notes


@pytest.mark.parametrize("head", HEADS)
def test_the_strongest_class_of_each_pixel_is_the_answer(head):
    system = AutoSam.seeded(config(head), 2)
    image = labelled(np.random.default_rng(1)).image
    seen = system.see(system.prepare(image))
    found = system.parse(seen)
    with torch.no_grad():
        logits = system.logits(autosam.resized(autosam.ranged(image.array), 48))
        strongest = F.interpolate(logits, size=image.grid, mode="bilinear", align_corners=False)[0].argmax(0).numpy()
    for number, mask in enumerate(found, 1):
        assert (mask.mask <= (strongest == number)).all()
        assert 0 <= mask.quality <= 1
    assert sum(mask.mask.astype(int) for mask in found).max() <= 1
    assert system.targets() == CLASSES
