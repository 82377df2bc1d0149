"""The CLIP-Driven Universal Model against the numbers of its published code: text-driven heads, losses, HU window.

The kit gives the backbone's features; the Swin encoder has a kit of its own (test_universal_swin).
"""

import json
from functools import lru_cache

import pytest
import torch
from parity.kit import Kit, close, nearly_same_mask
from torch import nn

from hilum.objectives.partial_label import partial_label_bce_dice
from hilum.parts.text_driven import TextDriven, TextDrivenConfig
from hilum.systems.clip_driven_universal import scaled
from hilum.weights.rename import fill

KITS = ("universal",)
LATER_BTCV = 60  # its labels of this number and above are of another template


@lru_cache(maxsize=2)
def head(kit: Kit, perturbed: bool = False) -> TextDriven:
    """The network around given features."""
    sizes = kit.sizes
    config = TextDrivenConfig(
        deep=sizes.deep,
        fine=sizes.feature_size,
        classes=sizes.num_class,
        text=sizes.text_dim,
        width=sizes.ctrl_dim,
        groups=sizes.groups,
    )
    network = TextDriven(nn.Identity(), config)
    weights = {name: each.clone() for name, each in kit.weights.items()}
    if perturbed:
        weights["organ_embedding"][0, 0] += 0.5
    fill(network, weights)
    return network.eval()


def template(kit: Kit) -> torch.Tensor:
    """Which organs each image labels: by the data set in its name, and for some by its number."""
    table = json.loads((kit.folder / "config.json").read_text())["template"]
    labelled = torch.zeros(len(kit.sizes.names), kit.sizes.num_class, dtype=torch.bool)
    for row, name in zip(labelled, kit.sizes.names, strict=True):
        key = name[:2]
        if key == "10":
            key = f"10_{name.split('Task')[1][:2]}"
        if key == "01" and int(name[-2:]) >= LATER_BTCV:
            key = "01_2"
        row[torch.tensor(table[key]) - 1] = True
    return labelled


@torch.no_grad()
def logits(kit: Kit, network: TextDriven) -> torch.Tensor:
    given = kit.inputs
    return network.drawn(given["head_decoder_out"], network.layers(given["head_bottleneck"]))


def test_table_uses_every_weight_once(kit):
    assert head(kit).state_dict().keys() == kit.weights.keys()


@torch.no_grad()
def test_image_and_text_choose_the_layers(kit):
    network, deepest = head(kit), kit.inputs["head_bottleneck"]
    close(network.seen(deepest), kit.outputs["gap_feature"])
    close(network.said(), kit.outputs["text_feature"])
    close(network.numbers(deepest)[0], kit.outputs["controller_params_first_image"])
    layers = network.layers(deepest)
    for number in (0, 2):
        close(layers.weights[number][0].flatten(0, 1)[..., None, None, None], kit.outputs[f"dyn_weight{number}"])
        close(layers.biases[number][0].flatten(), kit.outputs[f"dyn_bias{number}"])


def test_logits_and_masks(kit):
    found = logits(kit, head(kit))
    close(found, kit.outputs["logits"], 2e-4)
    close(found.sigmoid(), kit.outputs["probabilities"])
    nearly_same_mask(found.sigmoid() > 0.5, kit.outputs["mask_at_0p5"])


def test_losses_of_the_organs_that_each_data_set_labels(kit):
    found = kit.outputs["logits"].clone().requires_grad_()
    terms = partial_label_bce_dice(found, kit.inputs["target"], template(kit))
    close(terms.parts["entropy"].detach(), kit.outputs["bce_loss"])
    close(terms.parts["dice"].detach(), kit.outputs["dice_loss_rowwise"])
    terms.total.backward()
    taught = found.grad.abs().flatten(2).sum(-1) > 0
    assert torch.equal(taught, template(kit))  # an organ that a data set does not label learns nothing from it


def test_every_weight_of_the_heads_gets_a_gradient(kit):
    network, given = head(kit), kit.inputs
    found = network.drawn(given["head_decoder_out"], network.layers(given["head_bottleneck"]))
    partial_label_bce_dice(found, given["target"], template(kit)).total.backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in network.parameters())


def test_the_window_of_hounsfield_units(kit):
    close(scaled(kit.inputs["ct_hu"].numpy()), kit.outputs["ct_scaled"], 1e-6)


def test_a_perturbed_weight_shows(kit):
    with pytest.raises(AssertionError, match="differs by"):
        close(logits(kit, head(kit, perturbed=True)), kit.outputs["logits"], 2e-4)
