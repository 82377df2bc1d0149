"""Virchow's layout beside timm's at its published size, and its preparation to the pixel."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from hilum.systems import virchow
from hilum.systems.virchow import TINY, Virchow
from hilum.values.image import from_array


def timms(registers: int):
    """What the model card says to build."""
    timm = pytest.importorskip("timm")
    from timm.layers import SwiGLUPacked

    options = {"init_values": 1e-5, "num_classes": 0, "mlp_ratio": 5.3375, "global_pool": "", "dynamic_img_size": True}
    with torch.device("meta"):
        return timm.create_model(
            "vit_huge_patch14_224",
            img_size=224,
            mlp_layer=SwiGLUPacked,
            act_layer=torch.nn.SiLU,
            reg_tokens=registers,
            **options,
        )


@pytest.mark.parametrize(("tag", "registers"), [("virchow", 0), ("virchow2", 4)])
def test_published_layout_is_that_of_timms_options(tag, registers):
    layout = Virchow.layout(tag)
    assert layout == {name: tuple(tensor.shape) for name, tensor in timms(registers).state_dict().items()}
    assert layout["pos_embed"] == (1, 257 + registers, 1280)
    assert layout["blocks.31.mlp.fc1.weight"] == (6832, 1280)
    assert layout["blocks.31.mlp.fc2.weight"] == (1280, 3416)
    assert round(sum(map(math.prod, layout.values())) / 1e6) in (631, 632)


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (3, height, width)).astype(np.uint8)


@pytest.mark.parametrize("size", [(224, 224), (300, 300), (180, 180), (256, 320)])
def test_pixels_are_those_of_the_published_transform(size):
    """Resize to 224 bicubic, cut the middle, to tensor, normalise: by torchvision on Pillow's picture."""
    from PIL import Image as Pillow
    from torchvision import transforms

    published = transforms.Compose(
        [
            transforms.Resize(224, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    array = picture(*size)
    expected = published(Pillow.fromarray(np.moveaxis(array, 0, -1)))
    np.testing.assert_allclose(virchow.evaluated(array, 224, share=1.0)[0], expected, atol=1e-6)


def test_registers_are_left_out_of_the_mean():
    tokens = torch.randn(2, 1 + 4 + 9, 6)
    vector = virchow.embedding(tokens, 5)
    torch.testing.assert_close(vector[:, :6], tokens[:, 0])
    torch.testing.assert_close(vector[:, 6:], tokens[:, 5:].mean(1))


def test_a_variant_with_registers_embeds():
    system = Virchow.seeded(replace(TINY, registers=4), 0)
    assert system.ask(from_array(picture(56, 56), modality="SM")).vectors.shape == (1, 2 * TINY.dim)


def test_what_is_no_tile_is_seen_and_said_so():
    system = Virchow.tiny()
    large = system.ask(from_array(picture(300, 400), modality="SM"))
    assert any("400 x 300 pixels at 56; it knows tiles" in note for note in large.provenance.notes)
    tile = system.ask(from_array(picture(60, 56), modality="SM"))
    assert not any("it knows tiles" in note for note in tile.provenance.notes)


def test_sixteen_bits_are_seen_through_their_window():
    array = (picture(56, 56).astype(np.uint16)) * 256
    answer = Virchow.tiny().ask(from_array(array, modality="SM"))
    assert any("in 8 bit" in note for note in answer.provenance.notes)
