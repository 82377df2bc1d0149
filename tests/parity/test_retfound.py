"""RETFound against the numbers of both published codes, 2023 and 2025: encoder, both heads, masking, preparation."""

from functools import lru_cache

import numpy as np
import pytest
import torch
from parity.kit import Kit, close

from hilum.nn.vit import VitConfig, resampled
from hilum.objectives.masked import Masking, by_own_range, masked_error, patchified, unpatchified
from hilum.parts.imagenet_frame import DEVIATION, MEAN
from hilum.parts.masked_autoencoder import seen, sines
from hilum.systems.retfound import MaskedBatch, RetFound, RetFoundConfig
from hilum.weights.rename import fill

KITS = ("retfound",)
HEADS = {"v2023": "once", "v2025": "twice"}


def encoder_of(kit: Kit) -> VitConfig:
    sizes = kit.sizes
    return VitConfig(
        image_size=sizes.img_size,
        patch=sizes.patch,
        dim=sizes.dim,
        depth=sizes.depth,
        heads=sizes.heads,
        mlp_ratio=sizes.mlp_ratio,
        qkv_bias=sizes.qkv_bias,
        eps=sizes.layer_norm_eps,
        channels=sizes.in_chans,
    )


@lru_cache(maxsize=8)
def tuned(kit: Kit, version: str = "v2023", pool: str = "patches") -> RetFound:
    """The fine-tuned model; with the class token the kit uses the numbers of fc_norm as the last norm."""
    config = RetFoundConfig(
        encoder=encoder_of(kit), pool=pool, head_norm=HEADS[version], classes=kit.sizes.num_classes, disc=False
    )
    weights = dict(kit.weights)
    if pool == "class":
        weights = {name.replace("fc_norm", "norm"): tensor for name, tensor in weights.items()}
    return loaded(config, weights)


@lru_cache(maxsize=2)
def pretrained(kit: Kit) -> RetFound:
    sizes = kit.sizes
    encoder = encoder_of(kit)
    decoder = VitConfig(
        image_size=sizes.img_size,
        patch=sizes.patch,
        dim=sizes.dec_dim,
        depth=sizes.dec_depth,
        heads=sizes.dec_heads,
        mlp_ratio=sizes.mlp_ratio,
        eps=sizes.layer_norm_eps,
        channels=sizes.in_chans,
    )
    config = RetFoundConfig(
        encoder=encoder, decoder=decoder, mask_ratio=sizes.mask_ratio, norm_pixels=sizes.norm_pix, disc=False
    )
    return loaded(config, kit.tensors("weights_mae"))


def loaded(config: RetFoundConfig, weights: dict[str, torch.Tensor]) -> RetFound:
    network = RetFound.build(config)
    fill(network, RetFound.table.apply({name: tensor.clone() for name, tensor in weights.items()}))
    return RetFound(network.eval(), config)


def pixels(kit: Kit) -> torch.Tensor:
    mean, deviation = (torch.tensor(each).reshape(1, 3, 1, 1) for each in (MEAN, DEVIATION))
    return (kit.inputs["images_u8"].float() / 255 - mean) / deviation


def needs(kit: Kit, *keys: str) -> None:
    """Trimmed kits lack some groups."""
    if absent := [key for key in keys if key not in kit.outputs]:
        pytest.skip(f"{kit.name} has no {absent[0]}")


@pytest.mark.parametrize("stem", ["weights", "weights_mae"])
def test_table_uses_every_weight_once_and_leads_back(kit, stem):
    system = tuned(kit) if stem == "weights" else pretrained(kit)
    upstream = kit.tensors(stem)
    ours = RetFound.table.apply(upstream)
    assert ours.keys() == system.network.state_dict().keys()
    back = RetFound.table.inverse(ours)
    assert back.keys() == upstream.keys()
    assert all(torch.equal(back[name], upstream[name]) for name in back)


def test_tokens_and_blocks(kit):
    encoder = tuned(kit).network.encoder
    heard: dict[str, torch.Tensor] = {}
    hooks = [
        block.register_forward_hook(lambda _, given, made, name=f"block{index}": heard.update({name: made}))
        for index, block in enumerate(encoder.blocks)
    ]
    hooks.append(encoder.blocks[0].register_forward_pre_hook(lambda _, given: heard.update({"tokens_in": given[0]})))
    with torch.inference_mode():
        encoder.tokens(pixels(kit))
    for hook in hooks:
        hook.remove()
    there = heard.keys() & kit.outputs.keys()
    if not there:
        pytest.skip(f"{kit.name} has no tokens")
    for name in there:
        close(heard[name], kit.outputs[name])


@pytest.mark.parametrize("version", HEADS)
@torch.inference_mode()
def test_mean_of_patches_and_both_heads(kit, version):
    needs(kit, f"{version}/forward_features", f"{version}/logits")
    network = tuned(kit, version).network
    features = network(pixels(kit))
    close(features[:, None] if version == "v2025" else features, kit.outputs[f"{version}/forward_features"])
    close(network.logits(pixels(kit)), kit.outputs[f"{version}/logits"])


@pytest.mark.parametrize("version", HEADS)
@torch.inference_mode()
def test_class_token(kit, version):
    needs(kit, f"{version}/cls_mode/forward_features")
    network = tuned(kit, version, "class").network
    close(network(pixels(kit)), kit.outputs[f"{version}/cls_mode/forward_features"])
    if f"{version}/cls_mode/logits" in kit.outputs:
        close(network.logits(pixels(kit)), kit.outputs[f"{version}/cls_mode/logits"])


@torch.inference_mode()
def test_the_two_heads_differ(kit):
    once, twice = (tuned(kit, version).network.logits(pixels(kit)) for version in HEADS)
    assert (once - twice).abs().max() > 1e-3


def test_masking_by_the_given_noise(kit):
    needs(kit, "mae/ids_restore", "mae/mask")
    masking = Masking.by_noise(kit.inputs["mae_noise"], kit.sizes.mask_ratio)
    assert torch.equal(masking.restore, kit.outputs["mae/ids_restore"])
    assert torch.equal(masking.removed, kit.outputs["mae/mask"])


@torch.inference_mode()
def test_guess_and_loss_of_pre_training(kit):
    needs(kit, "mae/pred", "mae/loss")
    system = pretrained(kit)
    masking = Masking.by_noise(kit.inputs["mae_noise"], kit.sizes.mask_ratio)
    if "mae/latent" in kit.outputs:
        close(seen(system.network.encoder, pixels(kit), masking.kept), kit.outputs["mae/latent"])
    guess = system.network.guess(pixels(kit), masking)
    close(guess, kit.outputs["mae/pred"])
    terms = system.loss(MaskedBatch(pixels(kit), kit.inputs["mae_noise"]))
    close(terms.total, kit.outputs["mae/loss"])
    if "mae/unpatchify_pred_every_4th" in kit.outputs:
        laid = unpatchified(guess, kit.sizes.patch)
        close(laid[..., ::4, ::4], kit.outputs["mae/unpatchify_pred_every_4th"])


def test_the_loss_is_that_of_hidden_pixels_alone(kit):
    """From the kit's own guess, mask and pictures: what our parts make of them is the kit's loss."""
    needs(kit, "mae/pred", "mae/loss")
    target = patchified(pixels(kit), kit.sizes.patch)
    target = by_own_range(target) if kit.sizes.norm_pix else target
    close(masked_error(kit.outputs["mae/pred"], target, kit.outputs["mae/mask"]), kit.outputs["mae/loss"])


def test_gradients_of_pre_training_are_those_of_the_numbers(kit):
    """The kit has no gradients: along a random direction ours agree with differences of the loss, in float64."""
    system = pretrained(kit)
    network = RetFound.build(system.config)
    fill(network, {name: tensor.clone() for name, tensor in system.network.state_dict().items()})
    double = RetFound(network.double(), system.config)
    batch = MaskedBatch(pixels(kit).double(), kit.inputs["mae_noise"])
    double.loss(batch).total.backward()
    learned = [weight for weight in network.parameters() if weight.requires_grad]
    assert all(weight.grad is not None for weight in learned)
    generator = torch.Generator().manual_seed(0)
    directions = [torch.randn(weight.shape, generator=generator, dtype=torch.float64) for weight in learned]
    slope = sum(float((weight.grad * along).sum()) for weight, along in zip(learned, directions, strict=True))
    ends = []
    with torch.no_grad():
        for step in (1e-6, -2e-6):
            for weight, along in zip(learned, directions, strict=True):
                weight.add_(step * along)
            ends.append(float(double.loss(batch).total))
    assert slope == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-4)
    fixed = {name for name, weight in network.named_parameters() if not weight.requires_grad}
    assert fixed == {"encoder.pos_embed", "decoder.pos_embed"}


def test_positions_of_sines_and_of_another_grid(kit):
    grid = kit.sizes.img_size // kit.sizes.patch
    if "mae/sincos_pos_embed" in kit.outputs:
        close(sines(kit.sizes.dim, grid), kit.outputs["mae/sincos_pos_embed"])
    needs(kit, "interp/pos_embed")
    brought = resampled(kit.inputs["src_pos_embed"], (grid, grid), antialias=False)
    close(brought, kit.outputs["interp/pos_embed"])


def test_preparation_to_the_pixel(kit):
    needs(kit, "preprocess/eval_transform")
    picture = np.moveaxis(kit.inputs["raw_image_u8"].numpy(), -1, 0)  # (h, w, c) -> (c, h, w)
    close(tuned(kit).pixels(picture)[0], kit.outputs["preprocess/eval_transform"], 1e-6)


def test_the_vector_of_a_picture_is_the_published_mean(kit):
    """All the way from an image, through the frame, to the vector that is handed out."""
    from hilum.values.image import from_array

    needs(kit, "preprocess/eval_transform")
    picture = np.moveaxis(kit.inputs["raw_image_u8"].numpy(), -1, 0)
    system = tuned(kit)
    with torch.inference_mode():
        wanted = system.network(kit.outputs["preprocess/eval_transform"][None])
    close(system.ask(from_array(picture)).vectors, wanted)


@torch.inference_mode()
def test_a_perturbed_weight_shows(kit):
    needs(kit, "v2023/logits", "mae/pred")
    for stem, name in (("weights", "blocks.0.mlp.fc1.weight"), ("weights_mae", "decoder_blocks.0.attn.qkv.weight")):
        weights = {key: tensor.clone() for key, tensor in kit.tensors(stem).items()}
        weights[name][0, 0] += 0.5
        if stem == "weights":
            mine = loaded(tuned(kit).config, weights).network.logits(pixels(kit))
            wanted = kit.outputs["v2023/logits"]
        else:
            masking = Masking.by_noise(kit.inputs["mae_noise"], kit.sizes.mask_ratio)
            mine = loaded(pretrained(kit).config, weights).network.guess(pixels(kit), masking)
            wanted = kit.outputs["mae/pred"]
        with pytest.raises(AssertionError, match="differs by"):
            close(mine, wanted)
