"""Our ViT is timm's: the same weights under the same names give the same tokens, at other sizes of pictures too."""

from functools import partial

import pytest
import torch

from hilum.nn.vit import Vit, VitConfig, resampled
from hilum.values.errors import BadInput
from hilum.weights.rename import fill

SIZES = {"image_size": 56, "patch": 14, "dim": 24, "depth": 3, "heads": 3}
KINDS = {  # what published encoders are made of: our options, timm's
    "plain": ({}, {}),
    "layer scale and packed SwiGLU": (
        {"layer_scale": 0.5, "mlp": "swiglu", "mlp_ratio": 5.5},
        {"init_values": 0.5, "mlp_ratio": 5.5, "mlp_layer": "SwiGLUPacked", "act_layer": torch.nn.SiLU},
    ),
    "registers with positions": ({"registers": 4}, {"reg_tokens": 4}),
    "registers without positions": (
        {"registers": 4, "position_for_prefix": False},
        {"reg_tokens": 4, "no_embed_class": True},
    ),
    "no class token, no bias": (
        {"class_token": False, "qkv_bias": False, "position_for_prefix": False},
        {"class_token": False, "qkv_bias": False},
    ),
    "no last norm, other eps": (
        {"eps": 1e-3, "final_norm": False},
        {"norm_layer": partial(torch.nn.LayerNorm, eps=1e-3), "final_norm": False},
    ),
}


def timms(options):
    from timm.layers import SwiGLUPacked
    from timm.models.vision_transformer import VisionTransformer

    options = {**options, "mlp_layer": SwiGLUPacked} if "mlp_layer" in options else options
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = VisionTransformer(
            img_size=SIZES["image_size"],
            patch_size=SIZES["patch"],
            embed_dim=SIZES["dim"],
            depth=SIZES["depth"],
            num_heads=SIZES["heads"],
            num_classes=0,
            global_pool="",
            dynamic_img_size=True,
            **options,
        ).eval()
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(0.2 * torch.randn_like(weight))
    return model


def both(kind):
    mine, theirs = KINDS[kind]
    reference, network = timms(theirs), Vit(VitConfig(**SIZES, **mine)).eval()
    fill(network, {name: tensor.clone() for name, tensor in reference.state_dict().items()})
    return network, reference


def pixels(height=56, width=56):
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(56, 56), (70, 42), (28, 28)])
@torch.inference_mode()
def test_tokens_are_timms(kind, size):
    network, reference = both(kind)
    torch.testing.assert_close(network(pixels(*size)), reference(pixels(*size)), atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_a_perturbed_weight_shows():
    network, reference = both("plain")
    network.blocks[1].attn.qkv.weight[0, 0] += 0.5
    assert (network(pixels()) - reference(pixels())).abs().max() > 1e-4


def test_gradients_are_timms():
    network, reference = both("layer scale and packed SwiGLU")
    for model in (network, reference):
        model(pixels()).square().mean().backward()
    theirs = dict(reference.named_parameters())
    for name, weight in network.named_parameters():
        torch.testing.assert_close(weight.grad, theirs[name].grad, atol=1e-5, rtol=1e-4)


def test_paths_are_dropped_as_often_as_timm_drops_them():
    from timm.models.vision_transformer import VisionTransformer

    network = Vit(VitConfig(**SIZES, drop_path=0.3))
    reference = VisionTransformer(img_size=56, patch_size=14, embed_dim=24, depth=3, num_heads=3, drop_path_rate=0.3)
    theirs = [getattr(block.drop_path1, "drop_prob", 0.0) for block in reference.blocks]
    assert [block.drop_path.rate for block in network.blocks] == pytest.approx(theirs)


def test_dropped_paths_keep_the_mean_and_drop_nothing_when_asked():
    from hilum.nn.vit import DropPath

    path, ones = DropPath(0.25), torch.ones(4000, 1, 1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        dropped = path.train()(ones)
    assert dropped.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert dropped.mean() == pytest.approx(1, abs=0.05)
    assert torch.equal(path.eval()(ones), ones)


def test_positions_of_the_prefix_are_kept_and_an_equal_grid_changes_nothing():
    position = torch.randn(1, 1 + 16, 8, generator=torch.Generator().manual_seed(2))
    assert resampled(position, (4, 4)) is position
    for antialias in (True, False):
        other = resampled(position, (3, 5), antialias=antialias)
        assert other.shape == (1, 1 + 15, 8)
        assert torch.equal(other[:, 0], position[:, 0])
    assert not torch.equal(resampled(position, (2, 2)), resampled(position, (2, 2), antialias=False))


def test_a_picture_that_is_no_multiple_of_the_patch_is_refused():
    with pytest.raises(BadInput, match="60 x 56 pixels cannot be cut into patches of 14"):
        Vit(VitConfig(**SIZES))(pixels(60, 56))
