"""BiomedCLIP against the numbers of open_clip's code: both towers, classes, scores, loss, preparation."""

from functools import lru_cache

import numpy as np
import pytest
import torch
from parity.kit import Kit, close

from hilum.nn.vit import VitConfig
from hilum.parts.bert import BertSizes
from hilum.parts.imagenet_frame import OPENAI, evaluated
from hilum.parts.tokens import Reading
from hilum.parts.two_tower import mean_of_units, unit
from hilum.systems.biomedclip import BiomedClip, BiomedClipConfig, FigureBatch
from hilum.weights.rename import fill

KITS = ("biomedclip",)


def config_of(kit: Kit) -> BiomedClipConfig:
    sizes, text = kit.sizes, kit.sizes.bert
    return BiomedClipConfig(
        VitConfig(
            image_size=sizes.image_size,
            patch=sizes.patch,
            dim=sizes.vit_dim,
            depth=sizes.vit_depth,
            heads=sizes.vit_heads,
        ),
        BertSizes(
            vocabulary=text["vocab_size"],
            width=text["hidden_size"],
            layers=text["num_hidden_layers"],
            heads=text["num_attention_heads"],
            hidden=text["intermediate_size"],
            positions=text["max_position_embeddings"],
            pad=text["pad_token_id"],
        ),
        Reading("hashed", sizes.context, whole=True, size=text["vocab_size"]),
        embed=sizes.embed_dim,
    )


@lru_cache(maxsize=3)
def loaded(kit: Kit, perturbed: str = "") -> BiomedClip:
    weights = {name: each.clone() for name, each in kit.weights.items()}
    if perturbed:
        weights[perturbed].view(-1)[0] += 0.5
    network = BiomedClip.build(config_of(kit))
    fill(network, BiomedClip.table.apply(weights))
    return BiomedClip(network.eval(), config_of(kit))


@torch.no_grad()
def classes(kit: Kit, system: BiomedClip) -> torch.Tensor:
    return mean_of_units([system.network.text(each[None]) for each in kit.inputs["class_prompts"]])


def test_table_uses_every_weight_once(kit):
    assert loaded(kit).network.state_dict().keys() == BiomedClip.table.apply(kit.weights).keys() == kit.weights.keys()


@torch.no_grad()
def test_tokens_and_features_of_pictures(kit):
    visual = loaded(kit).network.visual
    close(visual.trunk(kit.inputs["image"]), kit.outputs["vit_tokens"])
    close(visual(kit.inputs["image"]), kit.outputs["image_features"])
    close(unit(visual(kit.inputs["image"])), kit.outputs["image_features_normalised"])


@torch.no_grad()
def test_features_of_texts(kit):
    text = loaded(kit).network.text
    close(text(kit.inputs["text"]), kit.outputs["text_features"])
    close(unit(text(kit.inputs["text"])), kit.outputs["text_features_normalised"])


@torch.no_grad()
def test_padding_may_be_cut_off_or_not(kit):
    text, pad = loaded(kit).network.text, kit.sizes.bert["pad_token_id"]
    for row, wanted in zip(kit.inputs["text"], kit.outputs["text_features"], strict=True):
        close(text(row[row != pad][None])[0], wanted)
        padded = torch.cat([row[row != pad], torch.full_like(row, pad)])[: len(row)]
        close(text(padded[None])[0], wanted)


def test_zero_shot_scores(kit):
    system = loaded(kit)
    with torch.no_grad():
        image = unit(system.network.visual(kit.inputs["image"]))
        logits = system.network.logit_scale.exp() * image @ classes(kit, system).T
    close(logits, kit.outputs["zero_shot_logits"], 1e-3)
    close(logits.softmax(-1), kit.outputs["zero_shot_probabilities"])


def test_loss_and_its_gradient(kit):
    system = loaded(kit)
    terms = system.loss(FigureBatch(kit.inputs["image"], kit.inputs["text"]))
    close(terms.total.detach(), kit.outputs["clip_loss"], 1e-3)
    terms.total.backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in system.network.parameters())
    system.network.zero_grad()


def test_preparation_to_the_pixel(kit):
    picture = np.moveaxis(kit.inputs["raw_rgb_uint8"].numpy(), -1, 0)
    close(evaluated(picture, kit.sizes.pre_size, share=1.0, statistics=OPENAI)[0], kit.outputs["preprocessed_image"])


def test_the_door_gives_the_same_as_the_parts(kit):
    from hilum.values.image import from_array
    from hilum.values.prompts import Labels

    system = loaded(kit)
    picture = from_array(np.moveaxis(kit.inputs["raw_rgb_uint8"].numpy(), -1, 0))
    answer = system.ask(picture, Labels(("brain MRI", "chest X-ray", "a leaf")))
    with torch.no_grad():
        texts = [f"this is a photo of {name}" for name in answer.names]
        cosines = unit(system.encoded(texts)) @ unit(system.network.visual(system.pixels(system.prepare(picture))))[0]
        share = (system.network.logit_scale.exp() * cosines).softmax(0)
    close(answer.similarity, cosines)
    close(answer.softmax, share)


@pytest.mark.parametrize(
    ("weight", "key"), [("visual.head.proj.weight", "image_features"), ("text.proj.0.weight", "text_features")]
)
def test_a_perturbed_weight_shows(kit, weight, key):
    system = loaded(kit, weight)
    tower, given = (system.network.visual, "image") if key == "image_features" else (system.network.text, "text")
    with torch.no_grad(), pytest.raises(AssertionError, match="differs by"):
        close(tower(kit.inputs[given]), kit.outputs[key])
