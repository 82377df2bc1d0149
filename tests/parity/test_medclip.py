"""MedCLIP against the numbers of its published code: towers, logits, classes from phrases, losses, preparation."""

from dataclasses import replace
from functools import lru_cache

import pytest
import torch
from parity.kit import Kit, close

from hilum.objectives.contrastive import info_nce, soft_semantic
from hilum.parts.bert import BertSizes
from hilum.parts.hub_swin import SwinSizes
from hilum.parts.resnet import ResNetSizes
from hilum.parts.tokens import Reading, Tokens
from hilum.parts.two_tower import unit
from hilum.systems.medclip import MOST, FilmBatch, MedClip, MedClipConfig
from hilum.weights.recognise import Candidate, fit
from hilum.weights.rename import fill, shapes

KITS = ("medclip", "medclip-resnet")


def vision_of(kit: Kit) -> SwinSizes | ResNetSizes:
    sizes = vars(kit.sizes)
    if "swin" not in sizes:
        blocks = tuple(
            len({name.split(".")[3] for name in kit.weights if name.startswith(f"vision_model.model.layer{number}.")})
            for number in range(1, 5)
        )
        return ResNetSizes(layers=blocks, width=sizes["resnet_base"])
    swin = sizes["swin"]
    return SwinSizes(
        image_size=swin["image_size"],
        patch=swin["patch_size"],
        dim=swin["embed_dim"],
        depths=tuple(swin["depths"]),
        heads=tuple(swin["num_heads"]),
        window=swin["window_size"],
    )


def config_of(kit: Kit) -> MedClipConfig:
    text = kit.sizes.bert
    sizes = BertSizes(
        vocabulary=text["vocab_size"],
        width=text["hidden_size"],
        layers=text["num_hidden_layers"],
        heads=text["num_attention_heads"],
        hidden=text["intermediate_size"],
        positions=text["max_position_embeddings"],
    )
    reading = Reading("hashed", text["max_position_embeddings"], size=text["vocab_size"])
    return MedClipConfig(vision_of(kit), sizes, reading, embed=kit.sizes.proj_dim, side=kit.sizes.image_size)


@lru_cache(maxsize=6)
def loaded(kit: Kit, perturbed: str = "") -> MedClip:
    """As import and loading do it: what only old libraries store is left out, then the table."""
    mine = kit_candidate(kit)
    found = fit(mine, shapes(kit.weights))
    assert not found.wrong, found.complaint()
    weights = {new: kit.weights[old].clone() for old, new in found.names.items()}
    if perturbed:
        weights[perturbed].view(-1)[0] += 0.5
    network = MedClip.build(config_of(kit))
    fill(network, MedClip.table.apply(weights))
    return MedClip(network.eval(), config_of(kit))


def kit_candidate(kit: Kit) -> Candidate:
    def layout():
        with torch.device("meta"):
            return shapes(MedClip.table.inverse(MedClip.build(config_of(kit)).state_dict()))

    return Candidate("medclip", "kit", "pytorch_model.bin", layout)


def texts(kit: Kit, prefix: str = "") -> Tokens:
    return Tokens(kit.inputs[f"{prefix}input_ids"], kit.inputs[f"{prefix}attention_mask"].bool())


def batch_of(kit: Kit, *, otherwise: bool) -> FilmBatch:
    given = kit.inputs
    again = texts(kit, "aug_") if otherwise else None
    return FilmBatch(given["pixel_values"], texts(kit), again, given["img_labels"], given["text_labels"])


def test_every_weight_is_used_but_the_table_of_indices(kit):
    ignored = set(kit.weights) - set(fit(kit_candidate(kit), shapes(kit.weights)).names)
    assert all(name.endswith("relative_position_index") for name in ignored)
    assert bool(ignored) == ("swin" in vars(kit.sizes))
    assert len(loaded(kit).network.state_dict()) == len(kit.weights) - len(ignored)


@torch.no_grad()
def test_towers(kit):
    network = loaded(kit).network
    image, text = network.vision_model(kit.inputs["pixel_values"]), network.text_model(texts(kit))
    close(image, kit.outputs["image_projected_before_norm"])
    close(text, kit.outputs["text_projected_before_norm"])
    close(unit(image), kit.outputs["img_embeds"])
    close(unit(text), kit.outputs["text_embeds"])


def test_padding_counts_as_published(kit):
    """Read without the padding, a padded text has another vector."""
    given = texts(kit)
    lengths = given.mask.sum(dim=1)
    row = int(lengths.argmin())
    if lengths[row] == given.ids.shape[1]:
        pytest.skip("no text of this kit is padded")
    alone = Tokens(given.ids[row : row + 1, : lengths[row]], given.mask[row : row + 1, : lengths[row]])
    with torch.no_grad():
        apart = loaded(kit).network.text_model(alone)[0] - kit.outputs["text_projected_before_norm"][row]
    assert apart.abs().max() > 1e-3


def test_logits_and_the_loss_of_pairs(kit):
    system = loaded(kit)
    with torch.no_grad():
        logits = system.logits(kit.inputs["pixel_values"], texts(kit))
    close(logits, kit.outputs["logits"], 1e-3)
    close(info_nce(logits), kit.outputs["clip_loss"], 1e-3)
    close(system.network.logit_scale.detach(), kit.outputs["logit_scale_after_forward"])


@torch.no_grad()
def test_the_scale_is_brought_back_in_place(kit):
    network = MedClip.build(config_of(kit))
    for given, wanted in ((9.0, MOST), (-1.0, 0.0), (2.5, 2.5)):
        network.logit_scale.fill_(given)
        close(network.scale(), torch.tensor(wanted).exp(), 1e-3)
        close(network.logit_scale, torch.tensor(wanted))


def test_the_semantic_loss_and_its_gradient(kit):
    system = loaded(kit)
    close(system.loss(batch_of(kit, otherwise=False)).total.detach(), kit.outputs["semantic_loss"], 1e-3)
    terms = system.loss(batch_of(kit, otherwise=True))
    close(terms.total.detach(), kit.outputs["semantic_loss_with_augmented_text"], 1e-3)
    terms.total.backward()
    learned = [each for each in system.network.parameters() if each.requires_grad]
    assert all(each.grad is not None and each.grad.isfinite().all() for each in learned)
    resting = {name for name, each in system.network.named_parameters() if not each.requires_grad}
    assert resting == {"text_model.model.pooler.dense.weight", "text_model.model.pooler.dense.bias"}
    system.network.zero_grad()
    logits, given = kit.outputs["logits"], kit.inputs
    close(soft_semantic(logits, given["img_labels"], given["text_labels"]), kit.outputs["semantic_loss"], 1e-3)


@pytest.mark.parametrize("phrase", ["max", "mean"])
@torch.no_grad()
def test_classes_from_phrases(kit, phrase):
    system = loaded(kit)
    asked = MedClip(system.network, replace(system.config, phrase=phrase))
    films = kit.inputs["pixel_values"]
    by_class = [asked.of_class(system.logits(films, texts(kit, f"class{n}."))) for n in range(kit.sizes.n_class)]
    close(torch.stack(by_class, dim=1), kit.outputs[f"prompt_logits_{phrase}"], 1e-3)


def test_preparation_to_the_pixel(kit):
    wanted = kit.outputs["preprocessed_image"]
    system = MedClip(None, replace(config_of(kit), side=wanted.shape[-1]))
    close(system.pixels(kit.inputs["raw_gray_uint8"].numpy())[0], wanted, 1e-5)


def test_the_door_gives_the_same_as_the_parts(kit):
    from hilum.values.image import from_array
    from hilum.values.prompts import Labels

    system = loaded(kit)
    film = from_array(kit.inputs["raw_gray_uint8"].numpy()[None])
    answer = system.ask(film, Labels(("edema", "fracture")))
    with torch.no_grad():
        image = unit(system.network.vision_model(system.pixels(film.array[0])))
        said = system.phrases(Labels(("edema", "fracture")))
        cosines = torch.stack([(unit(system.encoded(each)) @ image[0]).max() for each in said])
        share = (system.network.scale() * cosines).softmax(0)
    close(answer.similarity, cosines)
    close(answer.softmax, share)


@pytest.mark.parametrize("tower", ["vision_model", "text_model"])
def test_a_perturbed_weight_shows(kit, tower):
    first = next(
        name for name in kit.weights if name.startswith(tower) and ("query.weight" in name or "layer1.0.conv1" in name)
    )
    network = loaded(kit, first).network
    given = kit.inputs["pixel_values"] if tower == "vision_model" else texts(kit)
    key = "image" if tower == "vision_model" else "text"
    with torch.no_grad(), pytest.raises(AssertionError, match="differs by"):
        close(getattr(network, tower)(given), kit.outputs[f"{key}_projected_before_norm"], 1e-5)
