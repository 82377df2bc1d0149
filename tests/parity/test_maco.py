"""MaCo against the numbers of its published code: masking, reconstruction, both encoders, weights and loss."""

from functools import lru_cache

import pytest
import torch
import torch.nn.functional as F
from parity.kit import Kit, close

from hilum.nn.vit import VitConfig
from hilum.objectives.masked import Masking
from hilum.objectives.masked_weighted import masked_weighted
from hilum.parts import masked_autoencoder
from hilum.parts.bert import BertSizes
from hilum.parts.tokens import Reading, Tokens
from hilum.parts.two_tower import unit
from hilum.systems.maco import FilmsBatch, MaCo, MaCoConfig
from hilum.weights.rename import fill

KITS = ("maco",)


def vit_of(kit: Kit, which: str) -> VitConfig:
    """Encoder ("") or decoder ("dec_"), whose patches are twice as fine where the kit says SR."""
    sizes, names = kit.sizes, {"": "blocks", "dec_": "decoder_blocks"}
    dim = getattr(sizes, f"{which}dim" if which else "embed_dim")
    finer = 2 if which and sizes.SR else 1
    return VitConfig(
        image_size=finer * sizes.image_size,
        patch=finer * sizes.patch,
        dim=dim,
        depth=getattr(sizes, f"{which}depth"),
        heads=getattr(sizes, f"{which}heads"),
        mlp_ratio=len(kit.weights[f"{names[which]}.0.mlp.fc1.bias"]) / dim,
    )


def config_of(kit: Kit) -> MaCoConfig:
    sizes, text = kit.sizes, kit.sizes.bert
    return MaCoConfig(
        encoder=vit_of(kit, ""),
        decoder=vit_of(kit, "dec_"),
        text=BertSizes(
            vocabulary=text["vocab_size"],
            width=text["hidden_size"],
            layers=text["num_hidden_layers"],
            heads=text["num_attention_heads"],
            hidden=text["intermediate_size"],
            positions=text["max_position_embeddings"],
        ),
        reading=Reading("hashed", text["max_position_embeddings"], size=text["vocab_size"]),
        report=sizes.report_dim,
        mask_ratio=sizes.mask_ratio,
        temperature=sizes.T,
        norm_pixels=sizes.norm_pix,
    )


@lru_cache(maxsize=2)
def loaded(kit: Kit, perturbed: bool = False) -> MaCo:
    weights = {name: each.clone() for name, each in kit.weights.items()}
    if perturbed:
        weights["blocks.0.attn.proj.weight"][0, 0] += 0.5
    network = MaCo.build(config_of(kit))
    fill(network, MaCo.table.apply(weights))
    return MaCo(network.eval(), config_of(kit))


def batch(kit: Kit) -> FilmsBatch:
    inputs = kit.inputs
    return FilmsBatch(inputs["image"], inputs["mask_noise"], Tokens(inputs["ids"], inputs["attention_mask"].bool()))


def masking(kit: Kit) -> Masking:
    return Masking.by_noise(kit.inputs["mask_noise"], kit.sizes.mask_ratio)


@torch.inference_mode()
def latent(kit: Kit, system: MaCo) -> torch.Tensor:
    seen = system.resized(kit.inputs["image"])
    return masked_autoencoder.seen(system.network.encoder, seen, masking(kit).kept)


def needs(kit: Kit, *keys: str) -> None:
    """Trimmed kits lack some groups."""
    if absent := [key for key in keys if key not in kit.outputs]:
        pytest.skip(f"{kit.name} has no {absent[0]}")


def test_table_uses_every_weight_once_but_the_unused_and_leads_back(kit):
    ours = MaCo.table.apply(kit.weights)
    assert ours.keys() == loaded(kit).network.state_dict().keys()
    back = MaCo.table.inverse(ours)
    assert kit.weights.keys() - back.keys() == {"logit_scale"}
    assert back.keys() <= kit.weights.keys()
    assert all(torch.equal(back[name], kit.weights[name]) for name in back)


def test_masking(kit):
    needs(kit, "mask", "visible_indicator")
    close(masking(kit).removed, kit.outputs["mask"])
    close(1 - masking(kit).removed, kit.outputs["visible_indicator"])


@torch.inference_mode()
def test_guesses(kit):
    needs(kit, "prediction")
    system = loaded(kit)
    close(system.network.decoder(latent(kit, system), masking(kit).restore), kit.outputs["prediction"])


@torch.inference_mode()
def test_films_and_reports(kit):
    needs(kit, "image_embed", "report_embed", "full_encoder_tokens")
    network = loaded(kit).network
    close(network.film(latent(kit, loaded(kit))), kit.outputs["image_embed"])
    close(network.reports(batch(kit).words), kit.outputs["report_embed"])
    close(network.encoder(loaded(kit).resized(kit.inputs["image"])), kit.outputs["full_encoder_tokens"])


@torch.inference_mode()
def test_what_visible_patches_are_worth(kit):
    needs(kit, "position_score", "softplus_weight", "grounding_position_weight")
    network = loaded(kit).network
    score = network.worth(1 - masking(kit).removed)
    close(score, kit.outputs["position_score"])
    close(F.softplus(score), kit.outputs["softplus_weight"])
    close(network.weights(), kit.outputs["grounding_position_weight"])


@torch.inference_mode()
def test_logits(kit):
    needs(kit, "logits_image", "logits_text")
    network = loaded(kit).network
    film, report = unit(network.film(latent(kit, loaded(kit)))), unit(network.reports(batch(kit).words))
    logits = network.scale * film @ report.T
    close(logits, kit.outputs["logits_image"], 1e-3)
    close(logits.T, kit.outputs["logits_text"], 1e-3)


def test_losses_and_gradients(kit):
    needs(kit, "loss_reconstruction", "loss_contrastive")
    system = loaded(kit)
    terms = system.loss(batch(kit))
    close(terms.parts["masked"].detach(), kit.outputs["loss_reconstruction"], 1e-3)
    close(terms.parts["contrast"].detach(), kit.outputs["loss_contrastive"], 1e-3)
    terms.total.backward()
    learning = [weight for weight in system.network.parameters() if weight.requires_grad]
    assert all(weight.grad is not None for weight in learning)


def test_the_contrast_alone(kit):
    needs(kit, "standalone_loss")
    image, report = (kit.inputs[f"standalone_{side}_embed"] for side in ("image", "report"))
    worth = F.softplus(kit.inputs["standalone_weight"])[:, 0]
    logits = unit(image) @ unit(report).T / kit.sizes.T
    close(masked_weighted(logits, worth), kit.outputs["standalone_loss"], 1e-3)


def test_a_perturbed_weight_shows(kit):
    needs(kit, "image_embed")
    system = loaded(kit, perturbed=True)
    with pytest.raises(AssertionError, match="differs by"), torch.inference_mode():
        close(system.network.film(latent(kit, system)), kit.outputs["image_embed"])
