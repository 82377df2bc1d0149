"""CITE's traps: prompts of several layers, added prompts, what a checkpoint holds, random views, bags."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from hilum.capabilities.trainable import Captioned
from hilum.parts.clip_vision import ClipVisionSizes, clip_vision, entered
from hilum.parts.prompted_vision import PromptedVision
from hilum.parts.tissue_warp import jittered, turned
from hilum.systems.cite import PATCH_GASTRIC, TINY, Cite
from hilum.values.errors import BadInput
from hilum.values.image import from_array
from hilum.values.prompts import Labels

SIZES = ClipVisionSizes(image_size=48, patch=16, width=64, layers=3, embed=16)


def tower(place: str, *, layers: int, length: int) -> PromptedVision:
    torch.manual_seed(0)
    made = PromptedVision(clip_vision(SIZES), layers=layers, length=length, place=place).eval()
    torch.nn.init.normal_(made.prompt)
    return made


def picture(height: int = 60, width: int = 80) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (3, height, width)).astype(np.uint8)


@torch.no_grad()
def test_deeper_prompts_take_the_places_of_those_before():
    one = tower("prepend", layers=2, length=3)
    pixels = torch.randn(2, 3, 48, 48)
    seen = []
    for block in one.model.transformer.resblocks:
        block.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    one(pixels)
    assert [each.shape[1] for each in seen] == [13] * 3
    for number in range(2):
        torch.testing.assert_close(seen[number][:, 1:4], one.prompt[number].expand(2, -1, -1))
    assert not torch.equal(seen[2][:, 1:4], one.prompt[1].expand(2, -1, -1))


@torch.no_grad()
def test_added_prompts_are_laid_over_the_patches_again_and_again_and_the_tail_is_left():
    one = tower("add", layers=1, length=4)
    tokens = entered(one.model, torch.randn(2, 3, 48, 48))  # class token and nine patches
    change = one.prompted(tokens, 0) - tokens
    assert change.shape[1] == 10
    assert not change[:, [0, 9]].any()
    torch.testing.assert_close(change[0, 1:9], torch.cat([one.prompt[0], one.prompt[0]]), atol=1e-6, rtol=1e-5)


def test_a_checkpoint_holds_tower_prompt_and_neck_and_the_names_tower_is_its_base():
    own, words = Cite.layout("vit_b_16"), Cite.layout("biolinkbert_large")
    assert own["backbone.prompt"] == (1, 1, 768)
    assert own["backbone.model.positional_embedding"] == (197, 768)
    assert (own["neck.weight"], own["neck.bias"]) == ((1024, 512), (1024,))
    assert all(map(Cite.carries, own))
    assert words["embeddings.word_embeddings.weight"] == (28895, 1024)
    assert "pooler.dense.weight" in words
    assert not any(map(Cite.carries, words))


def test_it_begins_from_clip_and_the_names_tower_with_a_neck_near_the_identity():
    other = Cite.seeded(TINY, 5).network
    clip = {f"visual.{name}": each for name, each in other.backbone.model.state_dict().items()}
    system = Cite.begun(TINY, {**clip, "logit_scale": torch.ones(())}, other.text.state_dict())
    for name, each in other.backbone.model.state_dict().items():
        assert torch.equal(system.network.backbone.model.state_dict()[name], each)
    assert not system.network.backbone.prompt.any()
    assert (system.network.neck.weight.diagonal() - 1).abs().max() < 0.2
    trained = {name for name, each in system.network.named_parameters() if each.requires_grad}
    assert trained == {"backbone.prompt", "neck.weight", "neck.bias"}


def test_the_tower_of_names_alone_sees_nothing():
    system = Cite.seeded(replace(TINY, vision=None), 0)
    with pytest.raises(BadInput, match="tower of class names alone"):
        system.ask(from_array(picture()), Labels(("a", "b")))


def test_the_classes_of_training_are_all_told_apart_even_where_a_batch_lacks_some():
    system, rng = Cite.tiny(), np.random.default_rng(0)
    image = from_array(picture())
    batch = system.pairs([Captioned(image, PATCH_GASTRIC[2]), Captioned(image, PATCH_GASTRIC[0])], rng)
    assert batch.classes.shape[0] == 3
    assert batch.own.tolist() == [2, 0]
    assert not system.network.backbone.prompt.any()
    system.loss(batch)
    begun = system.network.backbone.prompt.clone()
    assert begun.any()
    system.loss(batch)
    assert torch.equal(system.network.backbone.prompt, begun)


def test_pixels_are_squeezed_bilinear_and_normalised_by_imagenet():
    from torchvision import transforms

    system = Cite(Cite.tiny().network, replace(TINY, saturation=1.0))
    how = [transforms.Resize((32, 32)), transforms.ToTensor()]
    how.append(transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    theirs = transforms.Compose(how)(Pillow.fromarray(np.moveaxis(picture(), 0, -1)))
    torch.testing.assert_close(system.pixels(picture())[0], theirs, atol=1e-6, rtol=0)
    faded = Cite.tiny().pixels(picture())
    deviation = torch.tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1)
    mean = torch.tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1)
    spread = (faded * deviation + mean).amax(1) - (faded * deviation + mean).amin(1)
    assert float(spread.max()) <= 0.1 + 2 / 255


def test_views_of_training_are_nearly_grey_and_square():
    rng = np.random.default_rng(2)
    opened = Pillow.fromarray(np.moveaxis(picture(40, 40), 0, -1))
    views = [np.asarray(turned(jittered(opened, rng), rng)).astype(int) for _ in range(4)]
    assert all(view.shape == (40, 40, 3) for view in views)
    assert all((view.max(-1) - view.min(-1)).max() < 90 for view in views)
    assert any((views[0] != view).any() for view in views[1:])


def test_a_bag_is_judged_as_a_whole():
    system = Cite.tiny()
    labels = Labels(("tubular", "solid", "signet ring"))
    one, two = (from_array(picture(height)) for height in (50, 70))
    alone = np.mean([system.ask(each, labels).softmax for each in (one, two)], axis=0)
    np.testing.assert_allclose(system.ask(one, two, labels).softmax, alone, atol=1e-6)


def test_a_checkpoint_is_opened_over_the_names_tower(tmp_path, monkeypatch):
    from safetensors.torch import save_file

    from hilum.weights.store import Weights

    monkeypatch.setattr(Cite, "configs", {"vit_b_16": TINY, "biolinkbert_large": replace(TINY, vision=None)})
    system = Cite.tiny(seed=3)
    upstream = Cite.table.inverse(system.network.state_dict())
    for tag, mine in (("vit_b_16", True), ("biolinkbert_large", False)):
        part = {name: each.contiguous() for name, each in upstream.items() if Cite.carries(name) == mine}
        save_file(part, tmp_path / f"{tag}.safetensors")
    base = Weights("cite", "biolinkbert_large", tmp_path / "biolinkbert_large.safetensors", "b")
    opened = Cite.open(
        Weights("cite", "vit_b_16", tmp_path / "vit_b_16.safetensors", "a+b", base=base), backend="torch"
    )
    image, labels = from_array(picture()), Labels(("tubular", "solid"))
    np.testing.assert_allclose(opened.ask(image, labels).softmax, system.ask(image, labels).softmax, atol=1e-6)
