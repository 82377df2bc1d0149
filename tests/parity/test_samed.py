"""SAMed against the numbers of the published code: updates, encoder, all classes, loss, slices, other image sizes."""

import json
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from parity.kit import Kit, close
from parity.sam_sizes import sam_sizes

from hilum.parts.unprompted import Unprompted
from hilum.systems import samed
from hilum.systems.samed import Samed, SamedBatch, SamedConfig
from hilum.values.image import from_array
from hilum.weights.rename import fill
from hilum.weights.tables.samed import SAMED, SAMS, WRAPPED

KITS = ("samed",)
EDGE = 1e-3  # share of pixels on which two argmaxes may differ


def config_of(kit: Kit) -> SamedConfig:
    sizes = kit.sizes
    told = json.loads((kit.folder / "config.json").read_text())
    network = sam_sizes(sizes, masks=4)
    classes = tuple(f"class {number}" for number in range(1, sizes.num_classes + 1))
    return SamedConfig(network, classes, rank=sizes.rank, taught_size=sizes.input_size, dice_weight=told["dice_weight"])


def load(kit: Kit, weights: dict[str, torch.Tensor]) -> Samed:
    config = config_of(kit)
    network = Samed.build(config)
    fill(network, WRAPPED.apply(weights))
    return Samed(network.eval(), config)


@lru_cache(maxsize=2)
def system(kit: Kit) -> Samed:
    return load(kit, kit.weights)


def pixels(kit: Kit) -> torch.Tensor:
    return kit.inputs["image_one_channel"].expand(-1, 3, -1, -1)


@lru_cache(maxsize=2)
def answered(kit: Kit) -> tuple[torch.Tensor, torch.Tensor]:
    given = pixels(kit)
    with torch.inference_mode():
        return Unprompted(system(kit).network).answer(given)


def same_classes(mine: np.ndarray | torch.Tensor, theirs: torch.Tensor) -> None:
    mine = torch.as_tensor(mine)
    assert mine.shape == theirs.shape
    assert float((mine.long() != theirs.long()).float().mean()) <= EDGE


def near(mine: torch.Tensor, theirs: torch.Tensor) -> None:
    """Gradients are held to 1e-4 of their size: in float64 ours are as far from the kit's, so that is its rounding."""
    close(mine, theirs, 1e-4 * max(1.0, float(theirs.abs().max())))


def test_the_wrapped_names_lead_there_and_back(kit):
    ours = WRAPPED.apply(kit.weights)
    assert ours.keys() == system(kit).network.state_dict().keys()
    back = WRAPPED.inverse(ours)
    assert back.keys() == kit.weights.keys()
    assert all(torch.equal(back[name], kit.weights[name]) for name in back)


def test_the_published_file_has_our_names_shapes_and_numbers(kit):
    own = kit.tensors("lora_checkpoint")
    ours = SAMED.inverse(system(kit).network.state_dict())
    assert {name for name in ours if Samed.carries(name)} == own.keys()
    assert all(torch.equal(ours[name], own[name]) for name in own)


def test_the_file_and_sams_make_the_whole(kit):
    config = config_of(kit)
    base = {
        name.removeprefix(SAMS).replace("qkv.qkv", "qkv"): tensor
        for name, tensor in kit.weights.items()
        if "image_encoder" in name and "linear_" not in name
    }
    whole = Samed.completed(config, kit.tensors("lora_checkpoint"), base)
    network = Samed.build(config)
    fill(network, SAMED.apply(whole))
    state = system(kit).network.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


def test_updates_blocks_and_embedding(kit):
    encoder, given = system(kit).network.image_encoder, pixels(kit)
    heard: dict[str, torch.Tensor] = {}
    hooks = [
        block.register_forward_hook(lambda _, got, made, name=name: heard.update({name: made}))
        for name, block in ((f"block{number}", block) for number, block in enumerate(encoder.blocks))
    ]
    tokens: list[torch.Tensor] = []
    hooks.append(encoder.blocks[0].register_forward_pre_hook(lambda _, got: tokens.append(got[0])))
    with torch.inference_mode():
        embedding = encoder(given)
        first = encoder.blocks[0].attend
        heard["block0/qkv_on_norm1_of_tokens"] = first.attention.qkv(first.norm(tokens[0]))
    for hook in hooks:
        hook.remove()
    known = {name: kit.outputs[name] for name in heard if name in kit.outputs}
    assert known
    for name, theirs in known.items():
        close(heard[name][: len(theirs)], theirs)
    close(embedding, kit.outputs["image_embedding"])


def test_all_classes_come_back(kit):
    logits, quality = answered(kit)
    close(logits, kit.outputs["low_res_logits"])
    close(quality, kit.outputs["iou_predictions"])
    masks = samed.enlarged(logits, kit.sizes.img_size)
    close(masks[..., ::4, ::4], kit.outputs["masks_every_4th"])
    same_classes(masks.softmax(dim=1).argmax(dim=1), kit.outputs["argmax_u1"])


def test_slices_from_values_to_classes(kit):
    """The published loop over a volume's slices: two cubic zooms, the network, the strongest class, nearest back."""
    mine = [system(kit).see(from_array(plane[None]))["labels"] for plane in kit.inputs["volume"].numpy()]
    same_classes(torch.stack(mine), kit.outputs["volume/prediction_u1"])


def test_a_volume_through_the_door_has_the_same_classes(kit):
    """From HU, which the window turns into the kit's values, to named masks on the volume's grid."""
    low, high = samed.WINDOW
    values = kit.inputs["volume"].numpy()
    hounsfield = (values * (high - low) + low).astype(np.float32)
    if values.min() < 0 or values.max() > 1:
        pytest.skip("this kit's volume is not in 0..1, so no HU lead to it")
    image = from_array(hounsfield[None], spacing=(1.0, 1.0, 5.0), modality="CT")
    answer = system(kit).ask(image)
    number = {name: place for place, name in enumerate(system(kit).targets(), 1)}
    labels = np.zeros(values.shape, dtype=np.uint8)
    for name, mask in zip(answer.names, answer.masks, strict=True):
        labels[mask] = number[name]
    same_classes(labels, kit.outputs["volume/prediction_u1"])


def test_loss_gradients_and_what_is_trained(kit):
    learner = load(kit, kit.weights)
    batch = SamedBatch(pixels(kit), kit.inputs["low_res_label"])
    terms, weight = learner.loss(batch), learner.config.dice_weight
    close(terms.parts["cross_entropy"].detach() / (1 - weight), kit.outputs["loss_ce"])
    close(terms.parts["dice"].detach() / weight, kit.outputs["loss_dice"])
    close(terms.total.detach(), kit.outputs["loss"])
    terms.total.backward()
    named = dict(learner.network.named_parameters())
    gradient = SAMED.inverse({name: each.grad for name, each in named.items() if each.grad is not None})
    near(gradient["w_a_000"], kit.outputs["grad/w_a_000_q"])
    near(gradient["w_b_001"], kit.outputs["grad/w_b_001_v"])
    near(gradient["mask_decoder.mask_tokens.weight"], kit.outputs["grad/mask_tokens"])
    resting = [name for name, each in named.items() if not each.requires_grad]
    assert bool(kit.outputs["grad/frozen_has_no_grad"]) == all(named[name].grad is None for name in resting)
    trained = sum(each.numel() for each in named.values() if each.requires_grad)
    assert trained == int(kit.outputs["trainable_parameters"])


def test_sams_tables_at_another_image_size(kit):
    if not any(name.startswith("interp/") for name in kit.outputs):
        pytest.skip("this kit has no tables at another size")
    config = config_of(kit)
    sized = Samed.completed(config, {}, kit.tensors("weights_src"))
    compared = 0
    for name, theirs in kit.outputs.items():
        kind, _, what = name.partition("/")
        if kind != "interp":
            continue
        block, _, table = what.partition("_")
        where = f"blocks.{block.removeprefix('block')}.attn.{table}" if block.startswith("block") else what
        close(sized[f"{SAMS}image_encoder.{where}"], theirs, 1e-6)
        compared += 1
    assert compared


def test_training_begins_from_sam_but_for_the_heads(kit):
    """As the published loader: what depends on the number of masks stays as it was born."""
    config = config_of(kit)
    other = replace(config, classes=(*config.classes, "one more"))
    base = {name.removeprefix(SAMS): tensor for name, tensor in kit.weights.items() if "linear_" not in name}
    base = {name.replace("qkv.qkv", "qkv"): tensor for name, tensor in base.items()}
    ours = SAMED.inverse(Samed.begun(other, base).network.state_dict())
    fresh = ("mask_decoder.mask_tokens", "mask_decoder.output_hypernetworks_mlps", "mask_decoder.iou_prediction_head")
    plain = {name.removeprefix(SAMS): tensor for name, tensor in ours.items()}
    taken = [name for name in base if not name.startswith(fresh)]
    assert all(torch.equal(plain[name], base[name]) for name in taken)
    assert not any(plain[name].any() for name in plain if name.startswith("w_b_"))
    assert not torch.equal(plain["mask_decoder.mask_tokens.weight"][:1], base["mask_decoder.mask_tokens.weight"][:1])


@pytest.mark.parametrize(
    "name",
    [
        "sam.image_encoder.blocks.0.attn.qkv.linear_b_q.weight",
        "sam.image_encoder.blocks.0.attn.qkv.linear_a_v.weight",
        "sam.prompt_encoder.no_mask_embed.weight",
        "sam.mask_decoder.mask_tokens.weight",
    ],
)
def test_a_perturbed_weight_is_noticed(kit, name):
    """The negative control: one element of one weight changed, and the numbers no longer agree."""
    weights = {key: value.clone() for key, value in kit.weights.items()}
    weights[name].view(-1)[0] += 0.5
    given = pixels(kit)
    with torch.inference_mode():
        logits = Unprompted(load(kit, weights).network)(given)
    with pytest.raises(AssertionError, match="differs by"):
        close(logits, kit.outputs["low_res_logits"])
