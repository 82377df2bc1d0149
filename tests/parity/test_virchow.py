"""Virchow against timm's own numbers under the published options and names: tokens, vectors, other sizes."""

from functools import lru_cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from parity.kit import Kit, close

from hilum.nn.vit import VitConfig
from hilum.parts.imagenet_frame import DEVIATION, MEAN
from hilum.systems.virchow import Virchow, embedding
from hilum.values.image import from_array
from hilum.weights.rename import fill

KITS = ("virchow",)


def config_of(kit: Kit) -> VitConfig:
    sizes = kit.sizes
    return VitConfig(
        image_size=sizes.img_size,
        patch=sizes.patch,
        dim=sizes.dim,
        depth=sizes.depth,
        heads=sizes.heads,
        mlp="swiglu",
        mlp_ratio=sizes.mlp_ratio,
        registers=sizes.reg_tokens,
        layer_scale=1e-5,
    )


def load(kit: Kit, weights: dict[str, torch.Tensor]) -> Virchow:
    network = Virchow.build(config_of(kit))
    fill(network, Virchow.table.apply(weights))
    return Virchow(network.eval(), config_of(kit))


@lru_cache(maxsize=2)
def system(kit: Kit) -> Virchow:
    return load(kit, kit.weights)


def pixels(kit: Kit) -> torch.Tensor:
    mean, deviation = (torch.tensor(constants)[:, None, None] for constants in (MEAN, DEVIATION))
    return (kit.inputs["images_u8"].float() / 255 - mean) / deviation


def tokens(kit: Kit, of: Virchow, shown: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return of.network(shown)


def test_names_are_the_published_ones(kit):
    assert system(kit).network.state_dict().keys() == kit.weights.keys()


def test_tokens(kit):
    found = tokens(kit, system(kit), pixels(kit))
    close(found, kit.outputs["tokens"])
    close(found[:, 0], kit.outputs["class_token"])


def test_the_packed_mlp(kit):
    """Of the first block, on the last tokens."""
    with torch.no_grad():
        close(system(kit).network.blocks[0].mlp(kit.outputs["tokens"]), kit.outputs["block0_mlp_on_tokens"])


def test_the_embedding(kit):
    config = config_of(kit)
    close(embedding(tokens(kit, system(kit), pixels(kit)), config.prefix), kit.outputs["embedding"])


def test_the_embedding_of_a_larger_picture(kit):
    """The picture enlarged by a patch on each side: positions are resampled."""
    config = config_of(kit)
    side = config.image_size + config.patch
    larger = F.interpolate(pixels(kit), size=(side, side), mode="bilinear", align_corners=False)
    close(embedding(tokens(kit, system(kit), larger), config.prefix), kit.outputs["embedding_dynamic_size"])


def test_from_the_users_pictures_to_their_vectors(kit):
    """Through the system's own door: a tile of the network's size is seen as it is."""
    given = [from_array(each.numpy(), modality="SM") for each in kit.inputs["images_u8"]]
    answer = system(kit).ask(*given)
    close(np.asarray(answer.vectors), kit.outputs["embedding"])


@pytest.mark.parametrize(
    "name", ["cls_token", "blocks.0.ls1.gamma", "blocks.1.mlp.fc1.weight", "pos_embed", "patch_embed.proj.bias"]
)
def test_a_perturbed_weight_is_noticed(kit, name):
    """The negative control: one element of one weight changed, and the tokens no longer agree."""
    weights = {key: value.clone() for key, value in kit.weights.items()}
    weights[name].view(-1)[0] += 0.5
    with pytest.raises(AssertionError, match="differs by"):
        close(tokens(kit, load(kit, weights), pixels(kit)), kit.outputs["tokens"])
