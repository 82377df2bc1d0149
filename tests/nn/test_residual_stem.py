"""A hybrid's patches: as many as a plain ViT's, each seeing its surroundings; a plain ViT keeps its names."""

import torch

from hilum.nn.vit import Vit, VitConfig

SIZES = {"image_size": 64, "patch": 16, "dim": 32, "depth": 1, "heads": 2}


def test_a_hybrid_has_as_many_patches_and_takes_other_sizes():
    torch.manual_seed(0)
    vit = Vit(VitConfig(**SIZES, stem=(8, 16, 24))).eval()
    assert vit(torch.randn(2, 3, 64, 64)).shape == (2, 1 + 16, 32)
    assert vit(torch.randn(2, 3, 96, 64)).shape == (2, 1 + 24, 32)
    names = {name for name, _ in vit.named_parameters()}
    assert "patch_embed.proj.weight" in names
    assert any(name.startswith("patch_embed.backbone.") for name in names)


def test_pixels_of_a_neighbour_reach_a_patch_only_through_the_stem():
    torch.manual_seed(0)
    for stem, reached in (((), False), ((8, 16, 24), True)):
        vit = Vit(VitConfig(**SIZES, stem=stem)).eval()
        pixels = torch.randn(1, 3, 64, 64, requires_grad=True)
        vit.patch_embed(pixels)[0, :, 0, 0].sum().backward()
        assert bool(pixels.grad[..., :16, 16:20].any()) == reached


def test_a_plain_vit_has_no_stem():
    assert not any("backbone" in name for name in Vit(VitConfig(**SIZES)).state_dict())
