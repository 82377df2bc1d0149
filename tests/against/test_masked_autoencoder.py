"""Our masked autoencoder is transformers' ViTMAE: equal weights, pictures and noise give equal guesses and losses."""

from dataclasses import replace

import pytest
import torch

from hilum.objectives.masked import Masking
from hilum.systems.retfound import TINY, MaskedBatch, RetFound
from hilum.weights.rename import fill


def reference(norm_pixels: bool):
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    encoder, decoder = TINY.encoder, TINY.decoder
    config = ViTMAEConfig(
        image_size=encoder.image_size,
        patch_size=encoder.patch,
        hidden_size=encoder.dim,
        num_hidden_layers=encoder.depth,
        num_attention_heads=encoder.heads,
        intermediate_size=4 * encoder.dim,
        decoder_hidden_size=decoder.dim,
        decoder_num_hidden_layers=decoder.depth,
        decoder_num_attention_heads=decoder.heads,
        decoder_intermediate_size=4 * decoder.dim,
        layer_norm_eps=encoder.eps,
        mask_ratio=TINY.mask_ratio,
        norm_pix_loss=norm_pixels,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ViTMAEForPreTraining(config).eval()
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "position" not in name and "pos_embed" not in name:
                    weight.add_(0.1 * torch.randn_like(weight))
    return model


def ours(model, norm_pixels: bool) -> RetFound:
    """The reference's tensors under our names: query, key and value in one matrix."""
    theirs = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = {
        "encoder.cls_token": theirs["vit.embeddings.cls_token"],
        "encoder.pos_embed": theirs["vit.embeddings.position_embeddings"],
        "decoder.mask_token": theirs["decoder.mask_token"],
        "decoder.pos_embed": theirs["decoder.decoder_pos_embed"],
    }
    pairs = {
        "encoder.patch_embed.proj": "vit.embeddings.patch_embeddings.projection",
        "encoder.norm": "vit.layernorm",
        "decoder.embed": "decoder.decoder_embed",
        "decoder.norm": "decoder.decoder_norm",
        "decoder.pred": "decoder.decoder_pred",
    }
    stems = {"encoder": "vit.layers", "decoder": "decoder.decoder_layers"}
    if not any(name.startswith(stems["encoder"]) for name in theirs):
        stems["encoder"] = "vit.encoder.layer"
    parts = {
        "norm1": ("layernorm_before",),
        "norm2": ("layernorm_after",),
        "attn.proj": ("attention.o_proj", "attention.output.dense"),
        "mlp.fc1": ("mlp.fc1", "intermediate.dense"),
        "mlp.fc2": ("mlp.fc2", "output.dense"),
    }
    queries = ("attention.{}_proj", "attention.attention.{}")
    for side, config in (("encoder", TINY.encoder), ("decoder", TINY.decoder)):
        for number in range(config.depth):
            stem, block = f"{stems[side]}.{number}", f"{side}.blocks.{number}"
            for mine, names in parts.items():
                pairs[f"{block}.{mine}"] = next(f"{stem}.{n}" for n in names if f"{stem}.{n}.weight" in theirs)
            for end in ("weight", "bias"):
                three = [
                    next(
                        theirs[f"{stem}.{name}.{end}"]
                        for form in queries
                        for name in (form.format(word), form.format(word[0]))
                        if f"{stem}.{name}.{end}" in theirs
                    )
                    for word in ("query", "key", "value")
                ]
                state[f"{block}.attn.qkv.{end}"] = torch.cat(three)
    for mine, name in pairs.items():
        for end in ("weight", "bias"):
            state[f"{mine}.{end}"] = theirs[f"{name}.{end}"]
    config = replace(TINY, norm_pixels=norm_pixels)
    network = RetFound.build(config)
    fill(network, state)
    return RetFound(network.eval(), config)


@pytest.mark.parametrize("norm_pixels", [False, True])
def test_guesses_and_losses_are_those_of_transformers(norm_pixels):
    model = reference(norm_pixels)
    system = ours(model, norm_pixels)
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(2, 3, 32, 32, generator=generator)
    noise = torch.rand(2, TINY.encoder.grid**2, generator=generator)
    theirs = model(pixel_values=pixels, noise=noise)
    masking = Masking.by_noise(noise, TINY.mask_ratio)
    torch.testing.assert_close(masking.removed, theirs.mask)
    torch.testing.assert_close(system.network.guess(pixels, masking), theirs.logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(system.loss(MaskedBatch(pixels, noise)).total, theirs.loss, atol=1e-5, rtol=1e-5)


def test_gradients_are_those_of_transformers():
    model = reference(False)
    system = ours(model, False)
    generator = torch.Generator().manual_seed(2)
    pixels = torch.randn(2, 3, 32, 32, generator=generator)
    noise = torch.rand(2, TINY.encoder.grid**2, generator=generator)
    model(pixel_values=pixels, noise=noise).loss.backward()
    system.loss(MaskedBatch(pixels, noise)).total.backward()
    theirs, mine = dict(model.named_parameters()), dict(system.network.named_parameters())
    for ours_name, name in {
        "encoder.patch_embed.proj.weight": "vit.embeddings.patch_embeddings.projection.weight",
        "encoder.cls_token": "vit.embeddings.cls_token",
        "encoder.norm.weight": "vit.layernorm.weight",
        "decoder.mask_token": "decoder.mask_token",
        "decoder.embed.weight": "decoder.decoder_embed.weight",
        "decoder.pred.bias": "decoder.decoder_pred.bias",
    }.items():
        torch.testing.assert_close(mine[ours_name].grad, theirs[name].grad, atol=1e-5, rtol=1e-4)
