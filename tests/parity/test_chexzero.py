"""CheXzero against the numbers of its published code: both towers, classes from texts, scores, loss, preparation."""

from functools import lru_cache

import numpy as np
import pytest
import torch
from parity.kit import Kit, close

from hilum.parts.clip import ClipConfig
from hilum.parts.tokens import Reading
from hilum.parts.two_tower import mean_of_units, pair_softmax, unit
from hilum.systems.chexzero import CheXzero, CheXzeroConfig, FilmBatch, normalised, standardised
from hilum.weights.rename import fill

KITS = ("chexzero",)


def config_of(kit: Kit) -> CheXzeroConfig:
    sizes = kit.sizes
    towers = ClipConfig(
        embed=sizes.embed_dim,
        image_size=sizes.image_resolution,
        patch=sizes.vision_patch_size,
        vision_width=sizes.vision_width,
        vision_layers=sizes.vision_layers,
        context=sizes.context_length,
        vocabulary=sizes.vocab_size,
        text_width=sizes.transformer_width,
        text_heads=sizes.transformer_heads,
        text_layers=sizes.transformer_layers,
    )
    return CheXzeroConfig(towers, Reading("hashed", sizes.context_length, whole=True, size=sizes.vocab_size))


@lru_cache(maxsize=2)
def loaded(kit: Kit, perturbed: bool = False) -> CheXzero:
    weights = {name: each.clone() for name, each in kit.weights.items()}
    if perturbed:
        weights["visual.proj"][0, 0] += 0.5
    network = CheXzero.build(config_of(kit))
    fill(network, CheXzero.table.apply(weights))
    return CheXzero(network.eval(), config_of(kit))


@torch.inference_mode()
def films(kit: Kit, system: CheXzero) -> torch.Tensor:
    return system.network.visual(normalised(kit.inputs["image_raw_0_255"]))


@torch.inference_mode()
def classes(kit: Kit, system: CheXzero, key: str) -> torch.Tensor:
    """One row for each class; the kit has them as columns."""
    ids = kit.inputs[key]
    ids = ids[:, None] if ids.ndim == 2 else ids
    return mean_of_units([system.network.encode_text(each) for each in ids])


def test_table_uses_every_weight_once(kit):
    assert loaded(kit).network.state_dict().keys() == CheXzero.table.apply(kit.weights).keys() == kit.weights.keys()


def test_preparation_and_features(kit):
    system = loaded(kit)
    close(normalised(kit.inputs["image_raw_0_255"]), kit.outputs["image_preprocessed"])
    close(system.resized(normalised(kit.inputs["image_raw_0_255"])), kit.outputs["image_preprocessed"])
    close(films(kit, system), kit.outputs["image_features"])
    with torch.inference_mode():
        close(system.network.encode_text(kit.inputs["tokens_positive"]), kit.outputs["text_features_positive"])


@pytest.mark.parametrize("key", ["positive", "negative", "templates"])
def test_classes_from_texts(kit, key):
    wanted = kit.outputs[f"class_weights_{key}" if key != "templates" else "class_weights_template_ensemble"]
    close(classes(kit, loaded(kit), f"tokens_{key}").T, wanted)


def test_probabilities_by_pair_and_by_one_template(kit):
    system = loaded(kit)
    image = unit(films(kit, system))
    positive, negative = (image @ classes(kit, system, f"tokens_{sign}").T for sign in ("positive", "negative"))
    close(pair_softmax(positive, negative), kit.outputs["probabilities"])
    close(standardised(positive), kit.outputs["sigmoid_of_standardised_logits"], 1e-3)


def test_logits_and_loss(kit):
    system = loaded(kit)
    batch = FilmBatch(normalised(kit.inputs["image_raw_0_255"]), kit.inputs["tokens_caption"])
    logits = system.logits(batch)
    close(logits.detach(), kit.outputs["logits_per_image"], 1e-3)
    close(logits.detach().T, kit.outputs["logits_per_text"], 1e-3)
    terms = system.loss(batch)
    close(terms.total.detach(), kit.outputs["train_loss"], 1e-3)
    terms.total.backward()
    assert all(weight.grad is not None for weight in system.network.parameters())


def test_the_door_gives_the_same_as_the_parts(kit):
    """From a film to scores by the whole path: cosines with a finding and its denial, and the share of the first."""
    from hilum.values.image import from_array
    from hilum.values.prompts import Labels

    system = loaded(kit)
    film = kit.inputs["image_raw_0_255"][0, 0].round().clamp(0, 255).numpy().astype(np.uint8)
    answer = system.ask(from_array(film[None]), Labels(("edema", "no finding")))
    with torch.inference_mode():
        image = unit(system.network.visual(system.pixels(film)))[0]
        texts = unit(system.encoded(["edema", "no edema", "no finding", "finding"])) @ image
    close(answer.similarity, texts[[0, 2]])
    close(answer.softmax, pair_softmax(texts[[0, 2]], texts[[1, 3]]))


def test_a_perturbed_weight_shows(kit):
    with pytest.raises(AssertionError, match="differs by"):
        close(films(kit, loaded(kit, perturbed=True)), kit.outputs["image_features"])
