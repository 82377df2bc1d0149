"""PTUnifier against the numbers of its published code: an image, a text, and both; pools, heads, losses."""

import json
from functools import lru_cache

import numpy as np
import pytest
import torch
from parity.kit import Kit, close

from hilum.objectives.contrastive import info_nce
from hilum.objectives.masked_words import HiddenWords, word_error
from hilum.parts.clip_vision import ClipVisionSizes
from hilum.parts.co_attention import FusionSizes
from hilum.parts.masked_patch_head import PatchHeadSizes
from hilum.parts.soft_prompts import PoolSizes, RobertaSizes, best, text_query
from hilum.parts.tokens import Reading, Tokens
from hilum.systems.ptunifier import TEMPERATURE, WEIGHTS, PromptedBatch, PTUnifier, PTUnifierConfig
from hilum.weights.rename import fill

KITS = ("ptunifier",)
EPS = 1e-12  # of transformers' configurations; the published RoBERTa's own file says 1e-5


def text_of(kit: Kit, told: dict) -> RobertaSizes:
    """The MLP's width is not in config.json, so it is the tensor's; eps is the library's where no file says another."""
    sizes, special = kit.sizes, told["special_ids"]
    return RobertaSizes(
        vocabulary=sizes.vocab,
        layers=sizes.text_layers,
        heads=sizes.text_heads,
        inner=len(kit.weights["language_encoder.encoder.layer.0.intermediate.dense.bias"]),
        positions=sizes.max_text_len + special["pad"] + 1,
        start=special["cls"],
        pad=special["pad"],
        end=special["sep"],
        cover=special["mask"],
        dropout=0.0,
        eps=EPS,
    )


def config_of(kit: Kit) -> PTUnifierConfig:
    told, sizes = json.loads((kit.folder / "config.json").read_text()), kit.sizes
    decoder, dim = told["fixed"]["mim_decoder"], sizes.fusion_dim
    assert told["fixed"]["itc_temperature"] == TEMPERATURE
    assert {name: told["loss_weights_upstream"][name] for name in ("mlm", "itm", "itc")} == {
        "mlm": WEIGHTS["words"],
        "itm": WEIGHTS["match"],
        "itc": WEIGHTS["contrast"],
    }
    return PTUnifierConfig(
        vision=ClipVisionSizes(
            image_size=sizes.image_size, patch=sizes.patch, width=sizes.width, layers=sizes.vit_layers - 1, embed=None
        ),
        text=text_of(kit, told),
        fusion=FusionSizes(
            dim=dim,
            layers=sizes.fusion_layers,
            heads=sizes.fusion_heads,
            inner=dim * told["fixed"]["fusion_mlp_ratio"],
            dropout=0.0,
            eps=EPS,
        ),
        pools=PoolSizes(
            vision=sizes.pool_v,
            language=sizes.pool_l,
            vision_picked=sizes.n_pseudo_v,
            language_picked=sizes.n_pseudo_l,
        ),
        patches=PatchHeadSizes(
            width=decoder["hidden"], layers=decoder["blocks"], heads=decoder["heads"], before=sizes.mim_layer
        ),
        reading=Reading("hashed", sizes.max_text_len, size=sizes.vocab),
    )


@lru_cache(maxsize=2)
def loaded(kit: Kit, perturbed: bool = False) -> PTUnifier:
    weights = {name: each.clone() for name, each in kit.weights.items() if not name.endswith("position_ids")}
    if perturbed:
        weights["multi_modal_vision_proj.bias"][0] += 1.0
    system = PTUnifier.seeded(config_of(kit), 0)
    fill(system.network, PTUnifier.table.apply(weights))
    return system


def words(kit: Kit, key: str = "text_ids") -> Tokens:
    return Tokens(kit.inputs[key], kit.inputs["text_masks"].bool())


def batch(kit: Kit, **changed) -> PromptedBatch:
    """The kit's inputs, every text beside its own image."""
    asked = kit.inputs["text_labels_mlm"] >= 0
    own = torch.arange(len(asked))
    given = {
        "pixels": kit.inputs["image"],
        "words": Tokens(torch.where(asked, kit.inputs["text_labels_mlm"], kit.inputs["text_ids"]), words(kit).mask),
        "hidden": HiddenWords(kit.inputs["text_ids_mlm"], asked),
        "shown": own,
        "true": torch.ones_like(own),
        "noise": kit.inputs["mim_noise"],
    }
    return PromptedBatch(**given | changed)


def test_every_weight_has_its_place_but_those_that_nothing_asks(kit):
    ours = PTUnifier.table.inverse(loaded(kit).network.state_dict())
    left = kit.weights.keys() - ours.keys()
    assert not ours.keys() - kit.weights.keys()
    assert all(name.startswith(("vision_encoder.", "language_encoder.pooler.")) for name in left)
    assert not any(".visual." in name for name in left)


@torch.no_grad()
def test_image_beside_text(kit):
    network = loaded(kit).network
    fused = network.paired(network(kit.inputs["image"]), words(kit))
    close(fused.pooled, kit.outputs["paired_cls"])
    close(fused.text, kit.outputs["paired_text_feats"])
    close(fused.image, kit.outputs["paired_image_feats"])


@torch.no_grad()
def test_queries_and_what_they_pick(kit):
    network, read = loaded(kit).network, words(kit)
    query = text_query(network.embedded(read.ids), read.mask)
    close(query, kit.outputs["query_from_text"])
    index = best(query, network.vision_pool, network.pools.vision_picked)
    assert torch.equal(index, kit.outputs["pseudo_vision_index"])
    close(network.vision_pool[index], kit.outputs["pseudo_vision_tokens"])
    query = network.image_query(kit.inputs["image"])
    close(query, kit.outputs["query_from_image"])
    index = best(query, network.text_pool, network.pools.language_picked)
    assert torch.equal(index, kit.outputs["pseudo_language_index"])


@torch.no_grad()
def test_text_alone_and_image_alone(kit):
    network, image = loaded(kit).network, kit.inputs["image"]
    fused = network.text_alone(words(kit))
    close(fused.pooled, kit.outputs["text_only_cls"])
    close(fused.image, kit.outputs["text_only_image_feats"])
    fused = network.image_alone(network(image), network.image_query(image))
    close(fused.pooled, kit.outputs["image_only_cls"])
    close(fused.text, kit.outputs["image_only_text_feats"])


@torch.no_grad()
def test_true_pairs_and_contrast(kit):
    system, given = loaded(kit), batch(kit, words=words(kit))
    image = system.network(given.pixels)
    close(system.told(given, image), kit.outputs["itm_logits"])
    logits = system.contrast(given, image)
    close(logits, kit.outputs["itc_logits_image"], 1e-3)
    close(info_nce(logits), kit.outputs["itc_loss"], 1e-3)


@torch.no_grad()
def test_hidden_words(kit):
    network, given = loaded(kit).network, batch(kit)
    read = network.paired(network(given.pixels), Tokens(given.hidden.ids, given.words.mask))
    scores = network.guessed_words(read.text)
    close(scores, kit.outputs["mlm_logits"])
    close(word_error(scores, given.words.ids, given.hidden.asked), kit.outputs["mlm_loss"], 1e-3)


@torch.no_grad()
def test_hidden_patches(kit):
    guess, error = loaded(kit).patches(batch(kit, words=words(kit)))
    close(guess, kit.outputs["mim_logits"])
    close(error, kit.outputs["mim_loss"], 1e-3)


def test_loss_is_the_weighted_sum_and_teaches_everything(kit):
    system, wanted = loaded(kit), kit.outputs
    terms = system.loss(batch(kit))
    close(terms.parts["words"].detach(), WEIGHTS["words"] * wanted["mlm_loss"], 1e-3)
    terms = system.loss(batch(kit, words=words(kit)))
    true = torch.nn.functional.cross_entropy(
        wanted["itm_logits"], torch.ones(len(wanted["itm_logits"]), dtype=torch.long)
    )
    close(terms.parts["match"].detach(), WEIGHTS["match"] * true, 1e-3)
    close(terms.parts["contrast"].detach(), WEIGHTS["contrast"] * wanted["itc_loss"], 1e-3)
    close(terms.parts["patches"].detach(), WEIGHTS["patches"] * wanted["mim_loss"], 1e-3)
    terms.total.backward()
    untaught = {
        name for name, weight in system.network.named_parameters() if weight.requires_grad and weight.grad is None
    }
    assert not untaught
    assert system.network.vision_pool.grad.any()
    assert system.network.text_pool.grad.any()


def test_the_door_gives_the_same_as_the_parts(kit):
    from hilum.parts.imagenet_frame import OPENAI, evaluated
    from hilum.values.image import from_array
    from hilum.values.prompts import Labels

    system = loaded(kit)
    picture = np.random.default_rng(0).integers(0, 256, (3, 70, 90)).astype(np.uint8)
    answer = system.ask(from_array(picture), Labels(("pleural effusion", "a fracture")))
    with torch.no_grad():
        pixels = evaluated(picture, kit.sizes.image_size, share=1.0, statistics=OPENAI)
        image = system.network(pixels)
        fused = [system.network.paired(image, system.words([each])) for each in ("pleural effusion", "a fracture")]
        truth = torch.stack([system.network.match_head(each.pooled)[0, 1] for each in fused])
        alone = system.network.image_alone(image, system.network.image_query(pixels)).pooled
    close(answer.similarity, truth)
    close(answer.softmax, truth.softmax(dim=-1))
    close(system.ask(from_array(picture)).vectors, alone)


@torch.no_grad()
def test_a_perturbed_weight_shows(kit):
    network = loaded(kit, perturbed=True).network
    with pytest.raises(AssertionError, match="differs by"):
        close(network.paired(network(kit.inputs["image"]), words(kit)).pooled, kit.outputs["paired_cls"])
