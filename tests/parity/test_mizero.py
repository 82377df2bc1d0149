"""MI-Zero against the numbers of its published code: the tile tower, classes, pooling over a bag, smoothing."""

import json
from functools import lru_cache

import pytest
import torch
from parity.kit import Kit, close

from hilum.nn.swin import SwinConfig
from hilum.parts.bag_scores import best_sum, nearest, smoothed
from hilum.parts.bert import BertSizes
from hilum.parts.tokens import Reading
from hilum.parts.two_tower import mean_of_units, unit
from hilum.systems.mi_zero import Head, MiZero, MiZeroConfig, TileTower
from hilum.values.prompts import Labels
from hilum.weights.recognise import Candidate, fit
from hilum.weights.rename import fill, shapes

KITS = ("mizero", "mizero-ctranspath")
TEXT = BertSizes(vocabulary=60, width=16, layers=1, heads=2, hidden=24, positions=16)


def of(kit: Kit, family: str) -> Kit:
    if kit.family != family:
        pytest.skip(f"a test of {family}")
    return kit


def tower_sizes(kit: Kit) -> MiZeroConfig:
    sizes = kit.sizes
    vision = SwinConfig(
        image_size=sizes.image_size,
        dim=sizes.embed_dim,
        depths=tuple(sizes.depths),
        heads=tuple(sizes.num_heads),
        window=sizes.window,
    )
    return MiZeroConfig(vision, TEXT, Reading("hashed", 16, whole=True, size=60), embed=sizes.proj_dim)


@lru_cache(maxsize=3)
def tower(kit: Kit, perturbed: str = "") -> TileTower:
    """As import and loading do it: what only old libraries store is left out.

    Then the kit's own masks of shifted windows are put in place: kit a was run with random numbers there (not 0 and
    -100). A published file's are left out on loading; that ours are Swin's, tests/against/test_swin.py holds to timm.
    """
    made = TileTower(tower_sizes(kit))
    found = fit(Candidate("mi_zero", "kit", "epoch_50.pt", lambda: shapes(made.state_dict())), shapes(kit.weights))
    assert not found.wrong, found.complaint()
    assert all(name.rpartition(".")[2] in ("attn_mask", "relative_position_index") for name in found.ignored)
    assert found.ignored
    weights = {new: kit.weights[old].clone() for old, new in found.names.items()}
    if perturbed:
        weights[perturbed].view(-1)[0] += 0.5
    fill(made, weights)
    with torch.no_grad():
        for name in (name for name in found.ignored if name.endswith("attn_mask")):
            made.get_submodule(name.removesuffix(".attn_mask")).mask.copy_(kit.weights[name])
    return made.eval()


@torch.no_grad()
def test_patches_features_and_vectors_of_tiles(kit):
    visual, image = tower(of(kit, "mizero-ctranspath")), kit.inputs["image"]
    close(visual.trunk.patch_embed(image), kit.outputs["patch_embed_tokens"])
    close(visual.features(image), kit.outputs["trunk_features"])
    close(visual(image), kit.outputs["image_features"])
    close(unit(visual(image)), kit.outputs["normalised"])


def test_the_published_sizes_are_the_kits_real_ones(kit):
    real = json.loads((of(kit, "mizero-ctranspath").folder / "config.json").read_text())["real_sizes"]
    for config in MiZero.configs.values():
        vision = config.vision
        assert (vision.dim, list(vision.depths), list(vision.heads), vision.window) == (
            real["embed_dim"],
            real["depths"],
            real["num_heads"],
            real["window"],
        )
        assert (vision.features, config.embed) == (real["features"], real["proj_dim"])


@pytest.mark.parametrize("name", ["trunk.patch_embed.proj.0.weight", "trunk.layers.0.downsample.reduction.weight"])
def test_a_perturbed_weight_shows(kit, name):
    visual = tower(of(kit, "mizero-ctranspath"), name)
    with torch.no_grad(), pytest.raises(AssertionError, match="differs by"):
        close(visual(kit.inputs["image"]), kit.outputs["image_features"])


@torch.no_grad()
def vectors(kit: Kit) -> torch.Tensor:
    head = Head(kit.sizes.feat_dim, kit.sizes.embed_dim)
    fill(head, {name.removeprefix("visual.head."): each for name, each in kit.weights.items()})
    return head(kit.inputs["patch_features"])


def classes(kit: Kit) -> torch.Tensor:
    return mean_of_units(list(kit.inputs["text_embeddings_per_template"]))


def scores(kit: Kit) -> torch.Tensor:
    return unit(vectors(kit)) @ classes(kit).T


def test_classes_and_scores_of_tiles(kit):
    of(kit, "mizero")
    close(classes(kit).T, kit.outputs["classifier"])
    close(scores(kit), kit.outputs["patch_logits"])
    close(smoothed(scores(kit), kit.inputs["knn_index"]), kit.outputs["patch_logits_smoothed"])


@pytest.mark.parametrize("ending", ["", "_smoothed"])
def test_pooling_over_the_bag(kit, ending):
    tiles = scores(of(kit, "mizero"))
    tiles = smoothed(tiles, kit.inputs["knn_index"]) if ending else tiles
    sums = torch.stack([best_sum(tiles, count) for count in kit.sizes.topj])
    close(sums, kit.outputs[f"topj_sums{ending}"], 1e-3)
    assert torch.equal(sums.argmax(dim=1), kit.outputs[f"topj_pred{ending}"])
    close(tiles.mean(dim=0), kit.outputs[f"mean_pool_scores{ending}"])
    if not ending:
        assert tiles.mean(dim=0).argmax() == kit.outputs["mean_pool_pred"][0]


def test_neighbours_of_irregular_places(kit):
    found = nearest(of(kit, "mizero").inputs["coords_irregular"].numpy(), kit.sizes.ss_k)
    assert torch.equal(found, kit.outputs["knn_index_irregular"])


def test_the_door_of_a_bag_gives_the_same(kit, monkeypatch):
    """The system's own pooling, with the kit's texts in place of a text tower."""
    of(kit, "mizero")
    names = tuple(f"class {number}" for number in range(kit.sizes.n_class))
    for count in kit.sizes.topj:
        config = MiZeroConfig(SwinConfig(), TEXT, Reading("hashed", 16, size=60), best=count)
        system = MiZero(None, config)
        monkeypatch.setattr(system, "encoded", lambda texts: kit.inputs["text_embeddings_per_template"].flatten(0, 1))
        for neighbours, ending in ((None, ""), (kit.inputs["knn_index"], "_smoothed")):
            labels = Labels(names, texts=[["a"] * kit.sizes.n_template] * len(names))
            found = system.slide(vectors(kit), labels, neighbours=neighbours)
            row = kit.sizes.topj.index(count)
            wanted = kit.outputs[f"topj_sums{ending}"][row] / min(count, kit.sizes.n_patches)
            close(found.similarity, wanted)
    mean = MiZero(None, MiZeroConfig(SwinConfig(), TEXT, Reading("hashed", 16, size=60), pool="mean"))
    close(mean.pooled(scores(kit)), kit.outputs["mean_pool_scores"])
