"""CITE against the numbers of its published code: prompts, put between or added; neck, scores, loss."""

from functools import lru_cache

import numpy as np
import pytest
import torch
from parity.kit import Kit, close

from hilum.parts.bert import BertSizes
from hilum.parts.clip_vision import ClipVisionSizes
from hilum.parts.tokens import Reading
from hilum.systems.cite import Cite, CiteConfig, ClassBatch
from hilum.weights.rename import fill

KITS = ("cite", "cite-add")


def config_of(kit: Kit) -> CiteConfig:
    sizes = kit.sizes
    assert sizes.prompt_layers == list(range(len(sizes.prompt_layers)))
    return CiteConfig(
        vision=ClipVisionSizes(
            image_size=sizes.image_size,
            patch=sizes.patch,
            width=sizes.width,
            layers=sizes.layers,
            embed=sizes.proj_dim,
        ),
        text=BertSizes(vocabulary=50, width=sizes.text_dim, layers=1, heads=1, hidden=8, positions=12, dropout=0.0),
        reading=Reading("hashed", 12, size=50),
        place=sizes.prompt_pos,
        prompted=len(sizes.prompt_layers),
        length=sizes.prompt_length,
    )


@lru_cache(maxsize=4)
def loaded(kit: Kit, perturbed: bool = False) -> Cite:
    """The kit's own tensors beside a text tower that it does not have."""
    system = Cite.seeded(config_of(kit), 0)
    weights = {name: each.clone() for name, each in kit.weights.items()}
    if perturbed:
        weights["backbone.prompt"][0, 0, 0] += 1.0
    words = {
        name: each for name, each in Cite.table.inverse(system.network.state_dict()).items() if not Cite.carries(name)
    }
    assert all(map(Cite.carries, weights))
    fill(system.network, Cite.table.apply(Cite.completed(system.config, weights, words)))
    return system


def batch(kit: Kit) -> ClassBatch:
    return ClassBatch(kit.inputs["image"], kit.inputs["text_embeddings"], kit.inputs["labels"])


@torch.no_grad()
def test_features_and_their_projection(kit):
    network = loaded(kit).network
    close(network.backbone(kit.inputs["image"]), kit.outputs["image_features"])
    close(network(kit.inputs["image"]), kit.outputs["projected"])


@torch.no_grad()
def test_without_prompts_it_is_clips_tower(kit):
    close(loaded(kit).network.backbone.model(kit.inputs["image"]), kit.outputs["image_features_without_prompt"])


@torch.no_grad()
def test_scores_and_probabilities(kit):
    logits = loaded(kit).logits(batch(kit))
    close(logits, kit.outputs["class_scores"], 1e-3)
    close(logits.softmax(dim=-1), kit.outputs["probabilities"])


@torch.no_grad()
def test_a_prompt_of_zeros_begins_as_the_mean_token(kit):
    backbone = Cite.seeded(config_of(kit), 0).network.backbone
    own = {name.removeprefix("backbone."): each for name, each in kit.weights.items() if name.startswith("backbone.")}
    fill(backbone, {**own, "prompt": torch.zeros_like(own["prompt"])})
    backbone.begin(kit.inputs["image"])
    close(backbone.prompt, kit.outputs["token_initialised_prompt"])
    close(backbone(kit.inputs["image"]), kit.outputs["image_features_token_init"])


def test_loss_teaches_prompt_and_neck_alone(kit):
    system = loaded(kit)
    terms = system.loss(batch(kit))
    close(terms.total.detach(), kit.outputs["loss"], 1e-3)
    terms.total.backward()
    taught = {name for name, weight in system.network.named_parameters() if weight.grad is not None}
    assert taught == {"backbone.prompt", "neck.weight", "neck.bias"}


def test_the_door_votes_softly_over_a_bag(kit):
    from hilum.values.image import from_array
    from hilum.values.prompts import Labels

    system = loaded(kit)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 3, 60, 50)).astype(np.uint8)
    answer = system.ask(*map(from_array, pictures), Labels(("tubular", "solid")))
    with torch.no_grad():
        pixels = torch.cat([system.pixels(each) for each in pictures])
        classes = torch.cat([system.encoded([name]) for name in ("tubular", "solid")])
        logits = system.logits(ClassBatch(pixels, classes, torch.zeros(2, dtype=torch.long)))
    close(answer.softmax, logits.softmax(dim=-1).mean(dim=0))
    close(answer.similarity, logits.mean(dim=0) / system.scale())


@torch.no_grad()
def test_a_perturbed_weight_shows(kit):
    with pytest.raises(AssertionError, match="differs by"):
        close(loaded(kit, perturbed=True).network(kit.inputs["image"]), kit.outputs["projected"])
