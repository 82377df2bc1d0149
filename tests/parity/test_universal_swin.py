"""The Universal Model's Swin encoder against the numbers of its published code, with the patch merging of its time."""

from functools import lru_cache

import pytest
import torch
from parity.kit import Kit, close
from torch import nn

from hilum.parts.swin_unetr import EarlyMerging, SwinUnetrConfig, swin_unetr
from hilum.weights.rename import fill

KITS = ("universal-swin",)
LAST = ".layers4."  # the repository's copy of the kit is trimmed: it lacks this stage, hidden4 and hidden0


@lru_cache(maxsize=2)
def network(kit: Kit, perturbed: bool = False) -> nn.Module:
    """A module whose `backbone.swinViT` is the kit's; a last stage that the kit lacks stays fresh."""
    sizes = kit.sizes
    (window,) = set(sizes.window)
    config = SwinUnetrConfig(sizes.embed_dim, tuple(sizes.depths), tuple(sizes.num_heads), window)
    whole, backbone = nn.Module(), nn.Module()
    backbone.swinViT = swin_unetr(config).get_submodule("swinViT")
    whole.backbone = backbone
    weights = {name: each.clone() for name, each in kit.weights.items()}
    if not any(LAST in name for name in weights):
        weights |= {name: each for name, each in whole.state_dict().items() if LAST in name}
    if perturbed:
        weights["backbone.swinViT.layers1.0.blocks.0.attn.qkv.weight"][:, 0] += 0.5
    fill(whole, weights)
    return whole.eval()


@torch.no_grad()
def hidden(kit: Kit, perturbed: bool = False) -> list[torch.Tensor]:
    return network(kit, perturbed).backbone.swinViT(kit.inputs["image"], True)


def test_names_and_indices_are_the_published_ones(kit):
    state = network(kit).state_dict()
    assert {name for name in state if LAST not in name} == {name for name in kit.weights if LAST not in name}
    fresh = swin_unetr(SwinUnetrConfig(12, (1, 1, 1, 1), (1, 1, 1, 1), kit.sizes.window[0])).state_dict()
    name = "swinViT.layers1.0.blocks.0.attn.relative_position_index"
    assert torch.equal(fresh[name], kit.weights[f"backbone.{name}"])


@pytest.mark.parametrize("number", range(5))
def test_hidden_states(kit, number):
    if f"hidden{number}" not in kit.outputs:
        pytest.skip(f"{kit.name} is trimmed: it has no hidden{number}")
    close(hidden(kit)[number], kit.outputs[f"hidden{number}"], 2e-4)


@torch.no_grad()
def test_merging_of_neighbours_with_odd_sides(kit):
    merging = network(kit).backbone.swinViT.layers1[0].downsample
    assert isinstance(merging, EarlyMerging)
    close(merging(kit.inputs["merge_input"]), kit.outputs["merge_output_stage1"], 2e-4)


@torch.no_grad()
@pytest.mark.parametrize("order", ["merging", "mergingv2"])
def test_the_merging_of_later_versions_takes_the_weights_and_is_wrong(kit, order):
    """The trap: same names, same shapes, other numbers."""
    from monai.networks.nets.swin_unetr import MERGING_MODE

    later = MERGING_MODE[order](kit.sizes.embed_dim)
    fill(later, network(kit).backbone.swinViT.layers1[0].downsample.state_dict())
    with pytest.raises(AssertionError, match="differs by"):
        close(later(kit.inputs["merge_input"]), kit.outputs["merge_output_stage1"], 0.1)


def test_a_perturbed_weight_shows(kit):
    with pytest.raises(AssertionError, match="differs by"):
        close(hidden(kit, perturbed=True)[2], kit.outputs["hidden2"], 2e-4)
