"""AutoSAM against the numbers of the published code: three heads on SAM's encoder, their losses, what is trained.

The decoder of a kit's sizes rounds badly: channel norms over a handful of channels. Where it is compared, the tolerance
is 1e-4 and the rounding of the published form of its attention, measured here against double precision.
"""

import copy
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from parity.kit import Kit, close, nearly_same_mask
from parity.sam_sizes import sam_sizes

from hilum.parts.sam_heads import class_masks
from hilum.parts.sam_mask_decoder import CrossAttention
from hilum.systems import autosam
from hilum.systems.autosam import AutoSam, AutoSamBatch, AutoSamConfig, CnnHead, DecoderHead, LinearHead
from hilum.values.image import from_array
from hilum.weights.rename import fill

KITS = ("autosam",)
HEADS = ("autosam", "cnn", "linear")
PERTURBED = {
    "autosam": (
        "image_encoder.neck.2.weight",
        "mask_decoder.iou_token.weight",
        "mask_decoder.transformer.layers.1.norm2.bias",
        "pe_layer.positional_encoding_gaussian_matrix",
    ),
    "cnn": ("image_encoder.neck.2.weight", "mask_decoder.input_block.2.weight", "mask_decoder.final.1.bias"),
    "linear": ("mask_decoder.output_upscaling.1.weight", "mask_decoder.final.0.weight"),
}


def config_of(kit: Kit, head: str) -> AutoSamConfig:
    """The kit's sizes; the two heads on features have an encoder of their own."""
    sizes = kit.sizes
    sam = sam_sizes(sizes, masks=4)
    classes = tuple(f"class {number}" for number in range(1, sizes.num_classes))
    if head == "autosam":
        chosen = DecoderHead(masks=sizes.num_multimask_outputs + 1, places=sizes.pe_grid)
        return AutoSamConfig(sam, chosen, classes, sizes.input_size)
    feat = sizes.feat
    own = {"image_size": feat["img_size"], "patch": feat["patch"], "window": feat["window"]}
    chosen = CnnHead(feat["cnn_depth"], feat["cnn_top"]) if head == "cnn" else LinearHead()
    return AutoSamConfig(replace(sam, **own), chosen, classes, sizes.input_size)


def weights_of(kit: Kit, head: str) -> dict[str, torch.Tensor]:
    """A whole network under the upstream's names; the linear head shares the encoder of the other one."""
    if head == "autosam":
        return dict(kit.weights)
    encoder = {name: each for name, each in kit.tensors("weights_cnn").items() if name.startswith("image_encoder.")}
    return {**encoder, **kit.tensors(f"weights_{head}")}


def load(kit: Kit, head: str, weights) -> AutoSam:
    network = AutoSam.build(config_of(kit, head))
    fill(network, AutoSam.table.apply(weights))
    return AutoSam(network.eval(), config_of(kit, head))


@lru_cache(maxsize=4)
def system(kit: Kit, head: str) -> AutoSam:
    return load(kit, head, weights_of(kit, head))


def pictures(kit: Kit) -> torch.Tensor:
    return torch.cat([autosam.ranged(each.numpy()) for each in kit.inputs["images_u8"]])


@torch.no_grad()
def embedded(asked: AutoSam, given: torch.Tensor) -> torch.Tensor:
    return asked.network.image_encoder(autosam.resized(given, asked.config.sam.image_size))


def expected(kit: Kit, head: str) -> torch.Tensor:
    """(n, classes, s, s); the decoder's classes are folded into the batch in the kit."""
    if head == "autosam":
        return kit.outputs["autosam/mask"].reshape(len(kit.inputs["images_u8"]), -1, *[kit.sizes.input_size] * 2)
    return kit.outputs[f"{head}/logits"]


@lru_cache(maxsize=2)
def rounding(kit: Kit) -> float:
    """How far float32 is from double precision in the decoder's logits, if nothing is rearranged."""
    network = system(kit, "autosam").network
    exact = copy.deepcopy(network).double()
    seen = autosam.resized(pictures(kit), kit.sizes.img_size)
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(CrossAttention, "plain", lambda self: False)
        logits = network.head(network.image_encoder(seen))
        worst = float((logits - exact.head(exact.image_encoder(seen.double()))).abs().max())
    assert worst < 1e-3
    return worst


def tolerance(kit: Kit, head: str) -> float:
    return 1e-4 + rounding(kit) if head == "autosam" else 1e-4


@pytest.mark.parametrize("head", HEADS)
def test_table_uses_every_weight_once_and_leads_back(kit, head):
    weights = weights_of(kit, head)
    ours = AutoSam.table.apply(weights)
    assert ours.keys() == system(kit, head).network.state_dict().keys()
    back = AutoSam.table.inverse(ours)
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], weights[name]) for name in back)


def test_pictures_and_embeddings(kit):
    close(pictures(kit)[:1, :, ::2, ::2], kit.outputs["input_first_every_2nd"], 1e-6)
    whole = embedded(system(kit, "autosam"), pictures(kit))
    close(whole[:1, :, ::2, ::2], kit.outputs["autosam/image_embedding_first_every_2nd"])
    close(whole.mean(dim=(-2, -1)), kit.outputs["autosam/get_embedding"])
    close(embedded(system(kit, "cnn"), pictures(kit)), kit.outputs["feat/image_embedding"])


def test_the_decoders_own_places(kit):
    network, side = system(kit, "autosam").network, kit.sizes.pe_grid
    close(network.fourier.grid(side, side)[..., ::4, ::4], kit.outputs["autosam/image_pe_every_4th"])


def test_first_mask_and_predicted_overlap_of_each_class(kit):
    network = system(kit, "autosam").network
    with torch.no_grad():
        masks, quality = class_masks(
            network.mask_decoder, network.fourier, embedded(system(kit, "autosam"), pictures(kit))
        )
    close(masks.flatten(0, 1)[:, None, ::8, ::8], kit.outputs["autosam/low_res_every_8th"], tolerance(kit, "autosam"))
    close(quality.flatten()[:, None], kit.outputs["autosam/iou"])


@pytest.mark.parametrize("head", HEADS)
def test_logits_of_the_classes(kit, head):
    with torch.no_grad():
        close(system(kit, head).logits(pictures(kit)), expected(kit, head), tolerance(kit, head))


@pytest.mark.parametrize("head", HEADS)
def test_losses(kit, head):
    batch = AutoSamBatch(pictures(kit), kit.inputs["labels"][:, 0])
    with torch.no_grad():
        terms = system(kit, head).loss(batch)
    close(terms.parts["cross_entropy"], kit.outputs[f"{head}/loss_ce"])
    close(terms.parts["dice"], kit.outputs[f"{head}/loss_dice"])


def test_what_is_trained(kit):
    trained = [each for each in system(kit, "autosam").network.parameters() if each.requires_grad]
    assert sum(each.numel() for each in trained) == int(kit.outputs["autosam/trainable_parameter_count"])


@pytest.mark.parametrize("head", HEADS)
def test_from_picture_to_classes_through_the_systems_own_door(kit, head):
    asked = system(kit, head)
    for number, array in enumerate(kit.inputs["images_u8"].numpy()):
        image = from_array(array)
        found = asked.parse(asked.see(asked.prepare(image)))
        labels = np.zeros(image.grid, dtype=int)
        for place, mask in enumerate(found, 1):
            labels[mask.mask] = place
        upstream = expected(kit, head)[number]
        best, second = upstream.topk(2, dim=0).values
        clear = (best - second > 1e-4).numpy()  # the linear head's zeros tie
        nearly_same_mask((labels == upstream.argmax(dim=0).numpy()) | ~clear, torch.ones(image.grid))
        if head == "autosam":
            nearly_same_mask(labels == kit.outputs["autosam/prediction_u1"][number].numpy(), torch.ones(image.grid))


@pytest.mark.parametrize(("head", "name"), [(head, name) for head, names in PERTURBED.items() for name in names])
def test_a_perturbed_weight_is_noticed(kit, head, name):
    """The negative control: one element changed (of a head with ReLU one whole weight), and the numbers differ."""
    weights = {key: value.clone() for key, value in weights_of(kit, head).items()}
    weights[name].view(-1)[: 1 if head == "autosam" or name.startswith("image_encoder") else None] += 0.5
    with torch.no_grad(), pytest.raises(AssertionError, match="differs by"):
        close(load(kit, head, weights).logits(pictures(kit)), expected(kit, head), tolerance(kit, head))
