"""LVM-Med's layouts at their published sizes, its preparation to the pixel, its boxes, its training."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from hilum.capabilities.trainable import Sample
from hilum.parts.nearest_resize import nearest_resize
from hilum.parts.sam import TINY
from hilum.parts.sam_frame import DEVIATION, MEAN
from hilum.systems import lvm_med
from hilum.systems.lvm_med import LvmMed, LvmMedConfig, ResNetConfig
from hilum.systems.sam_study import SamStudy
from hilum.values.answers import Embedding
from hilum.values.errors import BadInput, UnsupportedPrompt
from hilum.values.image import from_array
from hilum.values.prompts import Box, PlanePrompt
from hilum.weights.store import Weights

SMALL = ResNetConfig(layers=(1, 1, 1, 1), group_width=4, image_size=64)


def colour(seed: int = 0, size: tuple[int, int] = (37, 53)) -> np.ndarray:
    return np.random.default_rng(seed).integers(10, 200, (3, *size)).astype(np.uint8)


@pytest.mark.parametrize("tag", ["vit_b", "vit_b_sam"])
def test_published_vit_is_sams_encoder_without_positions_and_without_a_prefix(tag):
    layout = LvmMed.layout(tag)
    sam = {name.removeprefix("image_encoder."): shape for name, shape in SamStudy.layout("vit_b").items()}
    own = {name for name in sam if not name.startswith(("prompt_encoder.", "mask_decoder."))}
    assert layout == {name: sam[name] for name in own - {"pos_embed"}}
    assert layout["blocks.2.attn.rel_pos_h"] == (127, 64)
    assert layout["blocks.3.attn.rel_pos_h"] == (27, 64)
    assert sum(map(math.prod, layout.values())) == 86_525_184


def test_published_resnet_has_torchvisions_names():
    from torchvision.models import resnet50

    with torch.device("meta"):
        theirs = {name: tuple(t.shape) for name, t in resnet50().state_dict().items() if not name.startswith("fc.")}
    assert LvmMed.layout("resnet50") == theirs


def test_resnet_is_torchvisions():
    from torchvision.models.resnet import Bottleneck, ResNet

    config = LvmMedConfig(SMALL)
    system = LvmMed.seeded(config, 0)
    theirs = ResNet(Bottleneck, list(SMALL.layers), width_per_group=SMALL.group_width).eval()
    theirs.fc = torch.nn.Identity()
    theirs.load_state_dict(LvmMed.table.inverse(system.network.state_dict()), strict=True)
    vectors = system.ask(from_array(colour())).vectors
    with torch.inference_mode():
        expected = theirs(lvm_med.network_input(colour(), 64))
    np.testing.assert_allclose(vectors, expected.numpy(), atol=1e-5)


def test_sams_file_completes_the_encoder():
    config = LvmMedConfig(replace(TINY, positions=False), decoder=True)
    whole = LvmMed.table.inverse(LvmMed.seeded(config, 1).network.state_dict())
    own = {name: tensor for name, tensor in whole.items() if LvmMed.carries(name)}
    base = SamStudy.table.inverse(SamStudy.tiny(2).network.state_dict())
    completed = LvmMed.completed(config, own, base)
    assert completed.keys() == whole.keys()
    assert all(completed[name] is (own if name in own else base)[name] for name in completed)


def test_opened_from_the_encoders_file_and_sams(tmp_path, monkeypatch):
    """Two files, one network: embeds as the encoder alone does, and draws."""
    from safetensors.torch import save_file

    config = LvmMedConfig(replace(TINY, positions=False), decoder=True)
    monkeypatch.setitem(LvmMed.configs, "vit_b_sam", config)
    monkeypatch.setitem(LvmMed.configs, "vit_b", replace(config, decoder=False))
    whole = LvmMed.table.inverse(LvmMed.seeded(config, 1).network.state_dict())
    own = {name: tensor.contiguous() for name, tensor in whole.items() if LvmMed.carries(name)}
    sam = SamStudy.table.inverse(SamStudy.tiny(2).network.state_dict())
    save_file(own, tmp_path / "own.safetensors")
    save_file({name: tensor.contiguous() for name, tensor in sam.items()}, tmp_path / "sam.safetensors")
    base = Weights("sam_study", "vit_b", tmp_path / "sam.safetensors", "0")
    both = LvmMed.open(Weights("lvm_med", "vit_b_sam", tmp_path / "own.safetensors", "1", base), backend="torch")
    alone = LvmMed.open(Weights("lvm_med", "vit_b", tmp_path / "own.safetensors", "1"), backend="torch")
    picture = from_array(colour())
    np.testing.assert_array_equal(both.ask(picture).vectors, alone.ask(picture).vectors)
    assert both.ask(picture, Box((3, 4), (20, 21))).masks.shape == (1, 37, 53)


@pytest.mark.parametrize(("size", "side"), [((37, 53), 64), ((90, 130), 64), ((64, 64), 64), ((1, 7), 20)])
def test_resizing_is_of_order_0(size, side):
    skimage = pytest.importorskip("skimage.transform")
    picture = colour(1, size)
    theirs = skimage.resize(picture, (3, side, side), order=0, preserve_range=True, anti_aliasing=False)
    assert np.array_equal(nearest_resize(picture, side, side), theirs)


def test_pixels_by_hand():
    """Blue meets red's constants; the range ends just below 255."""
    picture = colour(size=(16, 16))
    values = lvm_med.network_input(picture, 16)[0].double().numpy()
    low, high = float(picture.min()), float(picture.max())
    for place, channel in enumerate((2, 1, 0)):
        expected = ((picture[channel] - low) / (high - low + 0.01) * 255 - MEAN[place]) / DEVIATION[place]
        np.testing.assert_allclose(values[place], expected, atol=1e-5)
    assert (lvm_med.network_input(np.full((1, 5, 5), 9, dtype=np.uint8), 8) < 0).all()  # one grey is black


def test_loss_is_monais():
    losses = pytest.importorskip("monai.losses")
    system, samples = LvmMed.tiny(), some_samples()
    batch = system.batch(samples, np.random.default_rng(0))
    logits = system.network(batch.pixels, batch.prompts)[0][:, :1].detach()
    theirs = losses.DiceCELoss(sigmoid=True, squared_pred=True, reduction="mean")(logits, batch.masks)
    assert float(system.loss(batch).total.detach()) == pytest.approx(float(theirs), abs=1e-6)


def some_samples() -> list[Sample]:
    rng = np.random.default_rng(0)
    y, x = np.indices((48, 40))
    masks = [(y - 20) ** 2 + (x - 18) ** 2 < radius**2 for radius in (9, 13)]
    return [Sample(from_array((60 * mask + rng.normal(0, 5, mask.shape))[None]), mask[None]) for mask in masks]


def test_training_boxes_are_pushed_outward_and_random_where_nothing_is():
    mask = np.zeros((256, 256), dtype=bool)
    mask[100:120, 60:90] = True
    rng = np.random.default_rng(0)
    boxes = np.stack([lvm_med.pushed_box(mask, rng) for _ in range(300)])
    outward = np.concatenate([[60, 100] - boxes[:, 0], boxes[:, 1] - [89, 119]], axis=1)
    assert outward.min() == 0
    assert outward.max() == 19
    empty = np.stack([lvm_med.pushed_box(np.zeros((256, 200), dtype=bool), rng) for _ in range(300)])
    assert (empty[:, 0] <= empty[:, 1]).all()
    assert (empty.max((0, 1)) <= [199, 255]).all()


def test_the_decoder_learns_and_nothing_else():
    system = LvmMed.tiny()
    batch = system.batch(some_samples(), np.random.default_rng(0))
    assert batch.masks.shape[-2:] == (32, 32)
    trained = [weight for weight in system.network.parameters() if weight.requires_grad]
    assert {id(weight) for weight in trained} == {id(weight) for weight in system.network.mask_decoder.parameters()}
    optimiser = torch.optim.Adam(trained, lr=1e-2, amsgrad=True)
    losses = []
    for _ in range(15):
        loss = system.loss(batch).total
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]


def test_an_encoder_alone_embeds_and_says_why_it_does_not_draw():
    system = LvmMed.seeded(LvmMedConfig(replace(TINY, positions=False)), 0)
    answer = system.ask(from_array(colour()))
    assert isinstance(answer, Embedding)
    assert answer.vectors.shape == (1, TINY.width)
    with pytest.raises(BadInput, match=r"is an encoder and has no decoder to draw with: load lvm_med\.vit_b_sam"):
        system.ask(from_array(colour()), Box((3, 4), (20, 21)))


def test_the_vector_is_the_same_with_and_without_a_decoder():
    whole = LvmMed.tiny()
    alone = LvmMed.build(replace(whole.config, decoder=False))
    alone.image_encoder.load_state_dict(whole.network.image_encoder.state_dict())
    picture = from_array(colour())
    expected = whole.ask(picture).vectors
    np.testing.assert_array_equal(
        LvmMed(alone.eval(), replace(whole.config, decoder=False)).ask(picture).vectors, expected
    )


def test_a_plane_without_a_box_is_refused():
    system = LvmMed.tiny()
    with pytest.raises(UnsupportedPrompt, match="lvm_med takes box"):
        system.draw(system.see(from_array(colour())), PlanePrompt())
