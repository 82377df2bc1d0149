"""SAM and MedSAM against the numbers of the published code: encoder, prompts, decoder, both ways in and out."""

from functools import lru_cache

import numpy as np
import pytest
import torch
from parity.kit import Kit, close, nearly_same_mask
from parity.sam_sizes import sam_sizes

from hilum.parts.sam import SamBatch, SamConfig
from hilum.parts.sam_frame import SamFrame
from hilum.parts.sam_predictor import ambiguous
from hilum.parts.sam_prompt_encoder import SamPrompts
from hilum.systems import medsam
from hilum.systems.medsam import MedSam
from hilum.systems.sam_study import SamStudy
from hilum.values.image import Image, from_array
from hilum.values.prompts import PlanePrompt
from hilum.weights.rename import fill
from hilum.weights.tables.sam import UPSTREAM

KITS = ("medsam",)
BOXES = {"one": "raw_box_xyxy", "three": "raw_boxes_xyxy"}
SAM_PROMPTS = ("none", "points", "box", "points_box", "mask_points")


def config_of(kit: Kit) -> SamConfig:
    sizes = kit.sizes
    return sam_sizes(sizes)


def load(system_class, kit: Kit, weights):
    config = config_of(kit)
    network = system_class.build(config)
    fill(network, UPSTREAM.apply(weights))
    return system_class(network.eval(), config)


@lru_cache(maxsize=2)
def systems(kit: Kit) -> tuple[MedSam, SamStudy]:
    return load(MedSam, kit, kit.weights), load(SamStudy, kit, kit.weights)


@lru_cache(maxsize=2)
def medsam_embedding(kit: Kit) -> torch.Tensor:
    with torch.inference_mode():
        return systems(kit)[0].network.image_encoder(kit.outputs["medsam/input_tensor"])


@lru_cache(maxsize=2)
def seen_by_sam(kit: Kit):
    return systems(kit)[1].see(picture(kit))


def picture(kit: Kit) -> Image:
    return from_array(np.moveaxis(kit.inputs["raw_image_u8"].numpy(), -1, 0))  # (h, w, c) -> (c, h, w)


def boxes_of(kit: Kit, group: str) -> np.ndarray:
    return kit.inputs[BOXES[group]].numpy().astype(float).reshape(-1, 2, 2)


def test_table_uses_every_weight_once_and_leads_back(kit):
    system, _ = systems(kit)
    ours = UPSTREAM.apply(kit.weights)
    assert ours.keys() == system.network.state_dict().keys()
    back = UPSTREAM.inverse(ours)
    assert back.keys() == kit.weights.keys()
    assert all(torch.equal(back[name], kit.weights[name]) for name in back)


def test_medsam_resizes_and_normalises_as_published(kit):
    side = kit.sizes.img_size
    values = medsam.network_input(picture(kit).array, side)
    close(values, kit.outputs["medsam/input_tensor"], 1e-6)
    resized = medsam.spline_resize(picture(kit).array, side, side).astype(np.uint8)
    assert np.array_equal(np.moveaxis(resized, 0, -1), kit.outputs["medsam/resized_u8"].numpy())


def test_blocks_and_neck(kit):
    system, _ = systems(kit)
    encoder = system.network.image_encoder
    heard: dict[str, torch.Tensor] = {}
    hooks = [
        block.register_forward_hook(lambda _, given, made, name=name: heard.update({name: made}))
        for name, block in ((f"medsam/block{index}", block) for index, block in enumerate(encoder.blocks))
    ]
    hooks.append(
        encoder.blocks[0].register_forward_pre_hook(lambda _, given: heard.update({"medsam/tokens_in": given[0]}))
    )
    with torch.inference_mode():
        heard["medsam/image_embedding"] = encoder(kit.outputs["medsam/input_tensor"])
    for hook in hooks:
        hook.remove()
    assert len(heard) == kit.sizes.depth + 2
    for name, mine in heard.items():
        close(mine, kit.outputs[name])


def test_positions_of_the_grid(kit):
    system, _ = systems(kit)
    grid = system.config.grid
    close(system.network.prompt_encoder.fourier.grid(grid, grid), kit.outputs["dense_pe"])


@pytest.mark.parametrize("group", BOXES)
def test_medsam_from_box_to_logits(kit, group):
    system, _ = systems(kit)
    expected = {name.removeprefix(f"medsam/{group}/"): value for name, value in kit.outputs.items()}
    side, grid = kit.sizes.img_size, system.config.grid
    scaled = torch.cat([medsam.scaled(box, tuple(kit.sizes.raw), side) for box in boxes_of(kit, group)])
    close(scaled, expected["box_scaled"])
    with torch.inference_mode():
        encoder = system.network.prompt_encoder
        sparse, dense = encoder(SamPrompts(boxes=scaled), size=(side, side), grid=(grid, grid))
        logits, quality = system.network.ask(medsam_embedding(kit), SamPrompts(boxes=scaled))
    close(sparse, expected["sparse"])
    close(dense[:, :, 0, 0], expected["dense_first_pixel"])
    close(logits[:, :1], expected["low_res_logits"])
    close(quality[:, :1], expected["iou"])


@pytest.mark.parametrize("group", BOXES)
def test_medsam_from_picture_to_mask(kit, group):
    system, _ = systems(kit)
    seen = system.see(system.prepare(picture(kit)))
    masks = np.stack([system.draw(seen, PlanePrompt(box=box)).mask for box in boxes_of(kit, group)])
    nearly_same_mask(masks, kit.outputs[f"medsam/{group}/seg_u8"].reshape(masks.shape))


def test_medsam_loss_and_gradients(kit):
    system = load(MedSam, kit, kit.weights)
    batch = SamBatch(
        kit.inputs["train_images_u8"].float() / 255,
        SamPrompts(boxes=kit.inputs["train_boxes"]),
        kit.inputs["train_gt"].float(),
    )
    logits, _ = system.network(batch.pixels, batch.prompts)
    enlarged = medsam.enlarged(logits[:, :1], *batch.masks.shape[-2:])
    close(enlarged[..., ::2, ::2].detach(), kit.outputs["train/logits"])
    terms = system.loss(batch)
    close(terms.parts["dice"].detach(), kit.outputs["train/loss_dice"])
    close(terms.parts["cross_entropy"].detach(), kit.outputs["train/loss_bce"])
    close(terms.total.detach(), kit.outputs["train/loss"])
    terms.total.backward()
    gradient = UPSTREAM.inverse({name: weight.grad for name, weight in system.network.named_parameters()})
    first_global = min(kit.sizes.glob)
    close(gradient["image_encoder.blocks.0.attn.qkv.weight"], kit.outputs["train/grad/block0_qkv_weight"])
    close(
        gradient[f"image_encoder.blocks.{first_global}.attn.rel_pos_h"],
        kit.outputs["train/grad/block_global_rel_pos_h"],
    )
    close(gradient["mask_decoder.mask_tokens.weight"], kit.outputs["train/grad/mask_tokens"])
    assert all(weight.grad is None for weight in system.network.prompt_encoder.parameters())


def test_sam_resizes_normalises_and_pads_as_published(kit):
    frame = SamFrame(*kit.sizes.raw, kit.sizes.img_size)
    resized = np.moveaxis(frame.resized(picture(kit).array), 0, -1)
    assert np.array_equal(resized, kit.outputs["sam/resized_longest_side_u8"].numpy())
    close(frame.pixels(picture(kit).array)[..., ::4, ::4], kit.outputs["sam/preprocessed_every_4th"])
    close(seen_by_sam(kit)["embedding"], kit.outputs["sam/image_embedding"])


def predictors_box(kit: Kit) -> np.ndarray:
    """The box that the kit's predictor asks with: it scales integer corners in place, so they are cut to integers."""
    if kit.inputs["raw_box_xyxy"].is_floating_point():
        return boxes_of(kit, "one")[0]
    frame = SamFrame(*kit.sizes.raw, kit.sizes.img_size)
    cut = np.floor(frame.scaled(boxes_of(kit, "one")[0]).double().numpy())
    height, width = frame.inner
    return cut * np.array([frame.width / width, frame.height / height])


def plane_prompt(kit: Kit, kind: str) -> PlanePrompt:
    """What the kit's `kind` gives besides the mask prompt, which comes as logits and with the first point alone."""
    some = {"points": slice(None), "points_box": slice(None), "mask_points": slice(1)}.get(kind, slice(0))
    return PlanePrompt(
        points=kit.inputs["raw_points_xy"].numpy()[some],
        inside=kit.inputs["raw_point_labels"].numpy()[some] == 1,
        box=predictors_box(kit) if "box" in kind else None,
    )


@pytest.mark.parametrize("kind", SAM_PROMPTS)
def test_sam_from_prompt_to_mask(kit, kind):
    _, system = systems(kit)
    frame = SamFrame(*kit.sizes.raw, kit.sizes.img_size)
    given = frame.prompts(plane_prompt(kit, kind), cells=4 * system.config.grid)
    masks = kit.inputs["mask_prompt"] if kind == "mask_points" else None
    prompts = SamPrompts(given.points, given.inside, given.boxes, masks)
    with torch.inference_mode():
        logits, quality = system.network.ask(seen_by_sam(kit)["embedding"], prompts)
        mine = {"low_res": logits[0], "iou": quality[0], "mask": frame.restored(logits)[0] > 0}
    for mode, chosen in (("single", slice(0, 1)), ("multi", slice(1, None))):
        compared = 0
        for name, value in mine.items():
            expected = kit.outputs.get(f"sam/{kind}/{mode}/{name}")
            if expected is not None:
                compared += 1
                (nearly_same_mask if name == "mask" else close)(value[chosen], expected)
        assert compared


def test_sam_study_draws_what_the_predictor_draws(kit):
    """From the user's prompt to the mask through the system's own door."""
    _, system = systems(kit)
    for kind in ("points", "box"):
        drawn = system.draw(seen_by_sam(kit), plane_prompt(kit, kind))
        nearly_same_mask(drawn.mask[None], kit.outputs[f"sam/{kind}/single/mask"])


@pytest.mark.parametrize("image", [0, 1])
def test_sam_batches_of_prompts(kit, image):
    """Three boxes on one image; three single points on its mirror image: three prompts in one call each."""
    _, system = systems(kit)
    frame = SamFrame(*kit.sizes.raw, kit.sizes.img_size)
    array = picture(kit).array[..., ::-1] if image else picture(kit).array
    points = frame.scaled(kit.inputs["raw_points_xy"].numpy())[:, None]
    inside = kit.inputs["raw_point_labels"][:, None] == 1
    boxes = frame.scaled(boxes_of(kit, "three")).reshape(-1, 4)
    prompts = SamPrompts(points, inside) if image else SamPrompts(boxes=boxes)
    with torch.inference_mode():
        logits, quality = system.network(frame.pixels(np.ascontiguousarray(array)), prompts)
        masks = frame.restored(logits[:, 1:2])[:, 0] > 0
    close(quality[:, 1:], kit.outputs[f"sam/forward{image}/iou"])
    close(logits[:, 1:2], kit.outputs[f"sam/forward{image}/low_res"])
    nearly_same_mask(masks, kit.outputs[f"sam/forward{image}/masks_first"])


@pytest.mark.parametrize(
    "name",
    [
        "image_encoder.blocks.0.attn.rel_pos_w",
        "image_encoder.neck.2.weight",
        "prompt_encoder.point_embeddings.3.weight",
        "mask_decoder.transformer.layers.1.norm2.bias",
        "mask_decoder.mask_tokens.weight",
    ],
)
def test_a_perturbed_weight_is_noticed(kit, name):
    """The negative control: one element of one weight changed, and the numbers no longer agree."""
    weights = {key: value.clone() for key, value in kit.weights.items()}
    weights[name].view(-1)[0] += 0.5
    system = load(MedSam, kit, weights)
    box = torch.cat([medsam.scaled(each, tuple(kit.sizes.raw), kit.sizes.img_size) for each in boxes_of(kit, "one")])
    with torch.inference_mode():
        logits, _ = system.network(kit.outputs["medsam/input_tensor"], SamPrompts(boxes=box))
    with pytest.raises(AssertionError, match="differs by"):
        close(logits[:, :1], kit.outputs["medsam/one/low_res_logits"])


def test_single_click_is_answered_by_the_best_of_three(kit):
    _, system = systems(kit)
    prompt = PlanePrompt(points=np.array([[40.0, 30.0]]), inside=np.array([True]))
    assert ambiguous(prompt)
    frame = SamFrame(*kit.sizes.raw, kit.sizes.img_size)
    with torch.inference_mode():
        logits, quality = system.network.ask(seen_by_sam(kit)["embedding"], frame.prompts(prompt, cells=4))
        best = 1 + int(quality[0, 1:].argmax())
        expected = frame.restored(logits[:, best, None])[0, 0] > 0
    assert np.array_equal(system.draw(seen_by_sam(kit), prompt).mask, expected.numpy())
