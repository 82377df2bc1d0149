"""BioViL-T against the numbers of its published code: both towers, with and without a prior, grounding, preparation."""

import re
from functools import lru_cache

import numpy as np
import pytest
import torch
from parity.kit import Kit, close

from hilum.parts.bert import BertSizes, last
from hilum.parts.phrase_map import laid_over, smoothed
from hilum.parts.resnet import ResNetSizes
from hilum.parts.temporal_pooler import PoolerSizes
from hilum.parts.tokens import Reading, Tokens
from hilum.parts.two_tower import unit, unit_of_mean
from hilum.systems.biovil_t import BioVilT, BioVilTConfig, eight_bit
from hilum.values.image import from_array
from hilum.weights.rename import fill

KITS = ("biovilt",)


def upstream(kit: Kit) -> dict[str, torch.Tensor]:
    """The kit puts both files into one, each under a prefix of its own."""
    return {re.sub(r"^(image|text)\.", "", name): tensor for name, tensor in kit.weights.items()}


def config_of(kit: Kit) -> BioVilTConfig:
    sizes, weights = kit.sizes, upstream(kit)
    blocks = [{name.split(".")[3] for name in weights if f"encoder.encoder.layer{n}." in name} for n in (1, 2, 3, 4)]
    text = sizes.bert
    return BioVilTConfig(
        resnet=ResNetSizes(
            layers=tuple(map(len, blocks)), width=sizes.resnet_base, classes=len(weights["encoder.encoder.fc.bias"])
        ),
        pooler=PoolerSizes(dim=sizes.vit_dim, grid=sizes.grid[0], heads=sizes.vit_heads, blocks=sizes.vit_blocks),
        joint=sizes.joint_dim,
        text=BertSizes(
            vocabulary=text["vocab_size"],
            width=text["hidden_size"],
            layers=text["num_hidden_layers"],
            heads=text["num_attention_heads"],
            hidden=text["intermediate_size"],
            positions=text["max_position_embeddings"],
        ),
        reading=Reading("hashed", text["max_position_embeddings"], size=text["vocab_size"]),
        short=sizes.resize,
        side=sizes.crop,
    )


@lru_cache(maxsize=2)
def loaded(kit: Kit, perturbed: bool = False) -> BioVilT:
    weights = {name: each.clone() for name, each in upstream(kit).items()}
    if perturbed:
        weights["encoder.vit_pooler.type_embed"][0, 0, 0] += 0.5
        weights["encoder.missing_previous_emb"][0, 0] += 0.5
    network = BioVilT.build(config_of(kit))
    fill(network, BioVilT.table.apply(weights))
    return BioVilT(network.eval(), config_of(kit))


@torch.inference_mode()
def fused(kit: Kit, system: BioVilT, prior: bool) -> torch.Tensor:
    film = system.network.film
    earlier = (film(kit.inputs["previous_image"]),) if prior else ()
    return film.fused(film(kit.inputs["current_image"]), *earlier)


def words(kit: Kit) -> Tokens:
    return Tokens(kit.inputs["input_ids"], kit.inputs["attention_mask"].bool())


@torch.inference_mode()
def texts(kit: Kit, system: BioVilT) -> torch.Tensor:
    return system.tower(words(kit))


@torch.inference_mode()
def patches(kit: Kit, system: BioVilT, prior: bool) -> torch.Tensor:
    return system.network.projected(fused(kit, system, prior))


def needs(kit: Kit, *keys: str) -> None:
    """Trimmed kits lack some groups."""
    if absent := [key for key in keys if key not in kit.outputs]:
        pytest.skip(f"{kit.name} has no {absent[0]}")


def test_table_uses_every_weight_once_and_leads_back(kit):
    ours, theirs = BioVilT.table.apply(upstream(kit)), upstream(kit)
    assert ours.keys() == loaded(kit).network.state_dict().keys()
    back = BioVilT.table.inverse(ours)
    assert back.keys() == theirs.keys()
    assert all(torch.equal(back[name], theirs[name]) for name in back)


def test_what_is_in_which_file(kit):
    carried = {name for name in upstream(kit) if BioVilT.carries(name)}
    assert carried == {name.removeprefix("text.") for name in kit.weights if name.startswith("text.")}


@pytest.mark.parametrize(("prior", "group"), [(False, "no_prior"), (True, "with_prior")])
@torch.inference_mode()
def test_films_with_and_without_a_prior(kit, prior, group):
    needs(kit, f"{group}_patch_embeddings")
    system = loaded(kit)
    maps = fused(kit, system, prior)
    close(maps, kit.outputs[f"{group}_patch_embeddings"])
    close(maps.mean((2, 3)), kit.outputs[f"{group}_img_embedding"])
    places = patches(kit, system, prior)
    close(places.permute(0, 3, 1, 2), kit.outputs[f"{group}_projected_patch"])
    close(places.mean((1, 2)), kit.outputs[f"{group}_projected_global"])


def test_positions(kit):
    needs(kit, "pos_embed")
    close(loaded(kit).network.film.pooler.pos_embed, kit.outputs["pos_embed"])


def test_patches_of_length_one(kit):
    needs(kit, "patchwise_normalised_BHWD")
    close(unit(patches(kit, loaded(kit), prior=False)), kit.outputs["patchwise_normalised_BHWD"])


@torch.inference_mode()
def test_texts_and_masked_words(kit):
    needs(kit, "text_projected")
    system, read = loaded(kit), words(kit)
    states = last(system.tower.bert, read.ids, read.mask)
    there = read.mask[..., None]
    close(states * there, kit.outputs["text_last_hidden"] * there)
    close(texts(kit, system), kit.outputs["text_projected"])
    close(unit(texts(kit, system)), kit.outputs["text_projected_normalised"])
    close(system.tower.guesses(states)[0], kit.outputs["mlm_logits_first_row"])


def test_a_set_of_texts_beside_films(kit):
    needs(kit, "cosine_image_vs_prompt_set")
    system = loaded(kit)
    film = unit(patches(kit, system, prior=False).mean((1, 2)))
    close(film @ unit_of_mean([texts(kit, system)])[0], kit.outputs["cosine_image_vs_prompt_set"])


def test_where_a_text_points_to(kit):
    """The first text on the first film, alone."""
    needs(kit, "similarity_map_smoothed")
    system, sizes = loaded(kit), kit.sizes
    found = smoothed(unit(patches(kit, system, prior=False)[0]) @ unit(texts(kit, system)[0]))
    close(found, kit.outputs["similarity_map_smoothed"])
    for key, mode in (("similarity_map_square_bilinear", "bilinear"), ("similarity_map_native_nearest", "nearest")):
        theirs = kit.outputs[key].numpy()
        mine = laid_over(found, theirs.shape, cut=(sizes.crop, sizes.resize), mode=mode)
        np.testing.assert_array_equal(np.isnan(mine), np.isnan(theirs))
        close(np.nan_to_num(mine), torch.from_numpy(np.nan_to_num(theirs)))


def test_preparation_to_the_pixel(kit):
    needs(kit, "preprocessed_image")
    film = from_array(kit.inputs["raw_pixels"].numpy()[None])
    np.testing.assert_array_equal(eight_bit(film), kit.outputs["remapped_uint8"].numpy())
    close(loaded(kit).pixels(film)[0], kit.outputs["preprocessed_image"], 1e-6)


@pytest.mark.parametrize(("prior", "group"), [(False, "no_prior"), (True, "with_prior")])
def test_a_perturbed_weight_shows(kit, prior, group):
    needs(kit, f"{group}_patch_embeddings")
    with pytest.raises(AssertionError, match="differs by"):
        close(fused(kit, loaded(kit, perturbed=True), prior), kit.outputs[f"{group}_patch_embeddings"])
