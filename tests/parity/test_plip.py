"""PLIP against the numbers of its published code: both towers, the softmax, the habits of its interface, the loss."""

from functools import lru_cache

import numpy as np
import pytest
import torch
from parity.kit import Kit, close

from hilum.objectives.contrastive import info_nce
from hilum.parts.hub_clip import HubClipConfig, TowerConfig, VisionVector, text_vector
from hilum.parts.tokens import Reading
from hilum.parts.two_tower import mean_of_units, unit
from hilum.systems.plip import Plip, PlipConfig, TissueBatch, nearest, scores_by_interface
from hilum.weights.rename import fill

KITS = ("plip",)


def tower_of(sizes: dict) -> TowerConfig:
    assert sizes["hidden_act"] == "quick_gelu"
    return TowerConfig(
        width=sizes["hidden_size"],
        layers=sizes["num_hidden_layers"],
        heads=sizes["num_attention_heads"],
        inner=sizes["intermediate_size"],
    )


def config_of(kit: Kit) -> PlipConfig:
    text, vision = kit.sizes.text, kit.sizes.vision
    towers = HubClipConfig(
        embed=kit.sizes.proj,
        vision=tower_of(vision),
        text=tower_of(text),
        image_size=vision["image_size"],
        patch=vision["patch_size"],
        context=text["max_position_embeddings"],
        vocabulary=text["vocab_size"],
        end=text["eos_token_id"],
    )
    return PlipConfig(towers, Reading("hashed", towers.context, whole=True, size=towers.vocabulary))


@lru_cache(maxsize=2)
def loaded(kit: Kit, perturbed: bool = False) -> Plip:
    weights = {name: each.clone() for name, each in kit.weights.items() if not name.endswith("position_ids")}
    if perturbed:
        weights["visual_projection.weight"][0, 0] += 0.5
    network = Plip.build(config_of(kit))
    fill(network, Plip.table.apply(weights))
    return Plip(network.eval(), config_of(kit))


@torch.no_grad()
def vectors(kit: Kit, system: Plip) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the pictures and of the texts, as long as they are."""
    pictures = VisionVector(system.network)(kit.inputs["pixel_values"])
    return pictures, text_vector(system.network, kit.inputs["input_ids"])


def test_features_and_unit_vectors(kit):
    pictures, texts = vectors(kit, loaded(kit))
    close(pictures, kit.outputs["image_features"])
    close(texts, kit.outputs["text_features"])
    close(unit(pictures), kit.outputs["image_embeds"])
    close(unit(texts), kit.outputs["text_embeds"])


def test_the_causal_mask_makes_the_mask_of_padding_needless(kit):
    network = loaded(kit).network
    with torch.no_grad():
        masked = network.text_model(input_ids=kit.inputs["input_ids"], attention_mask=kit.inputs["attention_mask"])
        close(network.text_projection(masked.pooler_output), kit.outputs["text_features"])


@torch.no_grad()
def test_logits_and_their_softmax(kit):
    system = loaded(kit)
    pictures, texts = vectors(kit, system)
    logits = system.scale() * unit(pictures) @ mean_of_units(list(texts[:, None])).T
    close(logits, kit.outputs["logits_per_image"], 1e-3)
    close(logits.softmax(dim=-1), kit.outputs["probabilities"])


def test_habits_of_the_interface(kit):
    pictures, texts = vectors(kit, loaded(kit))
    scores = scores_by_interface(pictures, texts)
    close(scores, kit.outputs["class_scores_internal_api"])
    assert torch.equal(scores.argmax(dim=-1), kit.outputs["class_pred_internal_api"])
    assert torch.equal((unit(pictures) @ unit(texts).T).argmax(dim=-1), kit.outputs["class_pred_cosine"])
    wanted = kit.outputs["retrieval_top3_images_per_text"]
    assert torch.equal(nearest(pictures, texts, wanted.shape[1]), wanted)


def test_loss_is_infonce_of_the_published_logits(kit):
    """The kit has logits and no loss: the first pictures belong to the texts in order."""
    system, wanted = loaded(kit), kit.outputs["logits_per_image"]
    own = min(wanted.shape)
    terms = system.loss(TissueBatch(kit.inputs["pixel_values"][:own], kit.inputs["input_ids"][:own]))
    close(terms.total.detach(), info_nce(wanted[:own, :own]), 1e-3)
    terms.total.backward()
    assert all(weight.grad is not None for weight in system.network.parameters())


def test_the_door_gives_the_same_as_the_parts(kit):
    from hilum.values.image import from_array
    from hilum.values.prompts import Labels

    system = loaded(kit)
    picture = np.random.default_rng(0).integers(0, 256, (3, 70, 90)).astype(np.uint8)
    answer = system.ask(from_array(picture), Labels(("tumor", "normal stroma")))
    with torch.no_grad():
        image = unit(VisionVector(system.network)(system.pixels(picture)))[0]
        texts = unit(system.encoded(["An H&E image of tumor.", "An H&E image of normal stroma."]))
        cosine = texts @ image
        close(answer.similarity, cosine)
        close(answer.softmax, (system.scale() * cosine).softmax(dim=-1))


def test_a_perturbed_weight_shows(kit):
    with pytest.raises(AssertionError, match="differs by"):
        close(vectors(kit, loaded(kit, perturbed=True))[0], kit.outputs["image_features"])
