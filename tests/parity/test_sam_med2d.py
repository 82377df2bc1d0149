"""SAM-Med2D against the numbers of the published code: adapters, choice of mask, losses, frames, other sizes."""

from functools import lru_cache

import numpy as np
import pytest
import torch
from parity.kit import Kit, close, nearly_same_mask
from parity.sam_sizes import sam_sizes

from hilum.parts.sam import SamBatch
from hilum.parts.sam_image_encoder import resize_positions
from hilum.parts.sam_med2d_frame import Med2dFrame, enlarged
from hilum.parts.sam_other_size import KEPT, at_size_of
from hilum.parts.sam_prompt_encoder import SamPrompts
from hilum.systems.sam_med2d import SamMed2d, SamMed2dConfig, best, terms
from hilum.values.image import Image, from_array
from hilum.values.prompts import PlanePrompt
from hilum.weights.rename import fill

KITS = ("sam-med2d",)
TABLE = SamMed2d.table
ROUNDS = ("box", "point", "iter2", "maskonly")
EPS = 1e-7  # of the published metrics


def config_of(kit: Kit, **changes) -> SamMed2dConfig:
    sizes = kit.sizes
    return SamMed2dConfig(
        sam_sizes(sizes),
        ratio=sizes.adapter_ratio,
        **changes,
    )


def load(kit: Kit, weights, **changes) -> SamMed2d:
    config = config_of(kit, **changes)
    network = SamMed2d.build(config)
    fill(network, TABLE.apply(weights))
    return SamMed2d(network.eval(), config)


@lru_cache(maxsize=2)
def system_of(kit: Kit) -> SamMed2d:
    return load(kit, kit.weights)


@lru_cache(maxsize=2)
def predictor_of(kit: Kit) -> SamMed2d:
    """The published predictor stretches every picture."""
    return load(kit, kit.weights, small="stretched")


def pixels(kit: Kit) -> torch.Tensor:
    frame = Med2dFrame(kit.sizes.img_size, kit.sizes.img_size, kit.sizes.img_size, padded=False)
    return torch.cat([frame.pixels(picture.numpy()) for picture in kit.inputs["batch_images_u8"]])


@lru_cache(maxsize=2)
def embedding(kit: Kit) -> torch.Tensor:
    with torch.inference_mode():
        return system_of(kit).network.image_encoder(pixels(kit))


def points(kit: Kit, suffix: str = "") -> dict[str, torch.Tensor]:
    at, kind = kit.inputs[f"points{suffix}"], kit.inputs[f"point_labels{suffix}"]
    return {"points": at, "inside": kind == 1, "present": kind >= 0}


@lru_cache(maxsize=16)
def prompts(kit: Kit, kind: str) -> SamPrompts:
    """What a round says; the later ones repeat the best mask of an earlier one as a probability."""
    match kind:
        case "box":
            return SamPrompts(boxes=kit.inputs["boxes"].reshape(-1, 4))
        case "point":
            return SamPrompts(**points(kit))
        case "iter2":
            return SamPrompts(**points(kit, "3"), masks=answer(kit, "point", "multi")[0].sigmoid())
    return SamPrompts(masks=answer(kit, "iter2", "multi")[0].sigmoid())


@lru_cache(maxsize=16)
def answer(kit: Kit, kind: str, mode: str) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.inference_mode():
        logits, quality = system_of(kit).network.ask(embedding(kit), prompts(kit, kind))
        return best(logits, quality) if mode == "multi" else (logits[:, :1], quality[:, :1])


def expected(kit: Kit, *groups: str) -> dict[str, torch.Tensor]:
    """What the kit holds of a group, by the last part of the name."""
    start = "/".join(groups) + "/"
    return {name.removeprefix(start): value for name, value in kit.outputs.items() if name.startswith(start)}


def compare(mine: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    """All that the kit holds of these, and at least one."""
    shared = mine.keys() & theirs.keys()
    assert shared, f"nothing to compare: {sorted(mine)} against {sorted(theirs)}"
    for name in shared:
        (nearly_same_mask if name.endswith("u8") else close)(mine[name].detach(), theirs[name])


def test_table_uses_every_weight_once_and_leads_back(kit):
    ours = TABLE.apply(kit.weights)
    assert ours.keys() == system_of(kit).network.state_dict().keys()
    back = TABLE.inverse(ours)
    assert back.keys() == kit.weights.keys()
    assert all(torch.equal(back[name], kit.weights[name]) for name in back)


def test_adapter_blocks_and_neck(kit):
    encoder = system_of(kit).network.image_encoder
    heard: dict[str, torch.Tensor] = {}
    hooks = [
        block.register_forward_hook(lambda _, given, made, name=f"block{index}": heard.update({name: made[:1]}))
        for index, block in enumerate(encoder.blocks)
    ]
    hooks.append(encoder.blocks[0].register_forward_pre_hook(lambda _, given: heard.update(tokens_in=given[0][:1])))
    with torch.inference_mode():
        heard["image_embedding"] = encoder(pixels(kit))
        first = encoder.blocks[0].transform
        heard["adapter0_on_norm2_of_tokens"] = first.beside(first.norm(heard["tokens_in"]))
    for hook in hooks:
        hook.remove()
    assert len(heard) == kit.sizes.depth + 3
    compare(heard, expected(kit, "batch"))


@pytest.mark.parametrize("adapters", ["idle", "none"])
def test_without_adapters(kit, adapters):
    """Carried and not asked, or not there at all: the same numbers."""
    weights = kit.weights if adapters == "idle" else {k: v for k, v in kit.weights.items() if "Adapter" not in k}
    with torch.inference_mode():
        seen = load(kit, weights, adapters=adapters).network.image_encoder(pixels(kit))
    close(seen, kit.outputs["no_adapter/image_embedding"])


@pytest.mark.parametrize("mode", ["multi", "single"])
@pytest.mark.parametrize("kind", ROUNDS)
def test_rounds_from_prompt_to_loss(kit, kind, mode):
    (logits, quality), masks = answer(kit, kind, mode), kit.inputs["gt"].float()
    found = terms(logits, quality, masks)
    dice_loss, iou_loss = found.parts["dice"], found.parts["quality"]
    mine = {"low_res": logits, "iou": quality, "loss": found.total, "dice_loss": dice_loss, "iou_loss": iou_loss}
    mine["focal"] = found.parts["focal"] / 20
    side = kit.sizes.img_size
    mine["masks_every_2nd"] = enlarged(logits, side, side)[..., ::2, ::2]
    mine["metrics_iou_dice"] = metrics(enlarged(logits, side, side) > 0, masks > 0.5)
    compare(mine, expected(kit, kind, mode))


def metrics(guess: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Overlap and Dice of each mask, the mean of each over the batch, as the published evaluation counts them."""
    shared, guessed, there = (each.sum(dim=(1, 2, 3)).double() for each in (guess & truth, guess, truth))
    overlap = (shared + EPS) / (guessed + there - shared + EPS)
    return torch.stack([overlap.mean(), ((2 * shared + EPS) / (guessed + there + EPS)).mean()])


@pytest.mark.parametrize("kind", ROUNDS)
def test_answers_come_back_at_the_pictures_size(kit, kind):
    logits, _ = answer(kit, kind, "multi")
    frames = {"post_resize_u8": (kit.sizes.raw, False), "post_unpad_u8": (kit.sizes.small, True)}
    mine = {
        name: Med2dFrame(*size, kit.sizes.img_size, padded).restored(logits).sigmoid() > 0.5
        for name, (size, padded) in frames.items()
        if f"{kind}/{name}" in kit.outputs
    }
    if mine:  # a trimmed kit keeps them for some rounds only; the next test wants some
        compare(mine, expected(kit, kind))


def test_some_masks_at_the_pictures_size_are_there(kit):
    assert any(name.endswith("post_resize_u8") for name in kit.outputs)
    assert any(name.endswith("post_unpad_u8") for name in kit.outputs)


def picture(kit: Kit) -> Image:
    return from_array(np.moveaxis(kit.inputs["raw_image_u8"].numpy(), -1, 0))  # (h, w, c) -> (c, h, w)


def test_the_predictors_input_and_embedding(kit):
    system = predictor_of(kit)
    height, width = picture(kit).grid
    values = system.frame(height, width).pixels(picture(kit).array)
    seen = system.see(system.prepare(picture(kit)))
    mine = {"input_every_4th": values[..., ::4, ::4], "image_embedding": seen["embedding"]}
    compare(mine, expected(kit, "predictor"))


@pytest.mark.parametrize("kind", ["points", "box"])
def test_the_predictors_answers_through_the_systems_own_door(kit, kind):
    """The kit's box has an exclusive high corner; a user's box includes it."""
    system = predictor_of(kit)
    seen = system.see(system.prepare(picture(kit)))
    if kind == "box":
        said = PlanePrompt(box=kit.inputs["raw_box"].numpy().reshape(2, 2) - np.array([[0, 0], [1, 1]]))
    else:
        said = PlanePrompt(points=kit.inputs["raw_points"].numpy(), inside=kit.inputs["raw_point_labels"].numpy() == 1)
    frame = system.frame(*picture(kit).grid)
    with torch.inference_mode():
        given = frame.prompts(said, cells=4 * system.config.sam.grid)
        logits, quality = best(*system.network.ask(seen["embedding"], given))
    drawn = system.draw(seen, said)
    mine = {"low_res": logits[0], "iou": quality[0], "mask_u8": torch.from_numpy(drawn.mask)[None]}
    compare(mine, expected(kit, "predictor", kind))
    assert drawn.quality == pytest.approx(float(quality.clamp(0, 1)))


def test_gradients_of_the_adapters(kit):
    system = load(kit, kit.weights)
    batch = SamBatch(pixels(kit), prompts(kit, "box"), kit.inputs["gt"].float())
    system.loss(batch).total.backward()
    named = {name: weight.grad for name, weight in system.network.named_parameters() if weight.grad is not None}
    given = TABLE.inverse(named)
    last = kit.sizes.depth - 1
    mine = {
        "adapter0_channel0": given["image_encoder.blocks.0.Adapter.channel.0.weight"],
        "adapter_last_norm_weight": given[f"image_encoder.blocks.{last}.Adapter.norm.weight"],
    }
    compare(mine, expected(kit, "grad"))
    assert all(".Adapter." in name for name in given if name.startswith("image_encoder."))


def test_weights_of_another_size(kit):
    own = TABLE.apply(kit.weights)
    source = TABLE.apply(kit.tensors("weights_src"))
    made = at_size_of(own, source)
    grid = kit.sizes.img_size // kit.sizes.patch
    close(made["image_encoder.position"], kit.outputs["interp/pos_embed"], 1e-6)
    close(resize_positions(source["image_encoder.position"], grid, grid), kit.outputs["interp/pos_embed"], 1e-6)
    back = TABLE.inverse(made)
    for name, theirs in expected(kit, "interp").items():
        if "rel_pos" in name:
            block, table = name.removeprefix("block").split("_", 1)
            close(back[f"image_encoder.blocks.{block}.attn.{table}"], theirs, 1e-6)
    assert kit.outputs["interp/decoder_heads_kept_from_target"].all()
    heads = [name for name in source if name.startswith(KEPT)]
    assert heads
    for name in heads:
        assert not torch.equal(source[name], own[name])
    assert all(torch.equal(made[name], own[name]) for name in own if name.startswith(KEPT))


@pytest.mark.parametrize(
    "name",
    [
        "image_encoder.blocks.0.Adapter.channel.2.weight",
        "image_encoder.blocks.0.Adapter.spatial.0.weight",
        "image_encoder.blocks.0.attn.rel_pos_h",
        "prompt_encoder.mask_downscaling.6.weight",
        "mask_decoder.iou_prediction_head.layers.0.weight",
    ],
)
def test_a_perturbed_weight_is_noticed(kit, name):
    """The negative control: one weight scaled, and the numbers no longer agree."""
    weights = {key: value.clone() for key, value in kit.weights.items()}
    weights[name] *= 1.5
    system = load(kit, weights)
    with torch.inference_mode():
        logits, quality = best(*system.network(pixels(kit), prompts(kit, "iter2")))
    with pytest.raises(AssertionError, match="differs by"):
        compare({"low_res": logits, "iou": quality}, expected(kit, "iter2", "multi"))
