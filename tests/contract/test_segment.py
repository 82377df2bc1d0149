"""What every segmenter promises, held against its tiny instance."""

import numpy as np
import pytest
import torch

from conftest_contract import SEGMENTERS, SPATIAL, excused, mirrored, modality_of, picture, prompt, volume
from hilum import registry
from hilum.values.answers import Segmentation
from hilum.values.errors import UnsupportedPrompt
from hilum.values.prompts import Labels, Points


@pytest.mark.parametrize(("name", "kind"), SPATIAL)
@pytest.mark.parametrize("make", [picture, volume])
def test_answer_lies_on_the_images_own_grid(name, kind, make, tiny):
    image = make(modality_of(name))
    answer = tiny(name).ask(image, prompt(kind, image))
    assert isinstance(answer, Segmentation)
    assert answer.masks.shape == (1, *image.grid)
    assert answer.image.affine is image.affine or np.array_equal(answer.image.affine, image.affine)
    assert all(0.0 <= score <= 1.0 for score in answer.scores)
    assert answer.provenance.system == name
    assert answer.provenance.prompts[0]["kind"] == kind


@pytest.mark.parametrize(("name", "kind"), SPATIAL)
@pytest.mark.parametrize("make", [picture, volume])
@pytest.mark.parametrize("axis", [0, 1])
def test_mask_follows_the_patient_not_the_array(name, kind, make, axis, tiny):
    """Flip the array and its affine together: the mask in patient space must not move."""
    image = make(modality_of(name))
    said = prompt(kind, image)
    straight = tiny(name).ask(image, said)
    turned = tiny(name).ask(image.flipped(axis), mirrored(said, image, axis))
    assert np.array_equal(np.flip(turned.masks, -1 - axis), straight.masks)


@pytest.mark.parametrize(("name", "kind"), SPATIAL)
def test_same_seed_same_answer(name, kind, tiny):
    image = picture(modality_of(name))
    again = registry.find(name).tiny(seed=0)
    assert np.array_equal(tiny(name).ask(image, prompt(kind, image)).masks, again.ask(image, prompt(kind, image)).masks)


@pytest.mark.parametrize("name", SEGMENTERS)
def test_other_seed_other_weights(name):
    first, second = (registry.find(name).tiny(seed=seed).network.state_dict() for seed in (0, 1))
    assert any(not torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize(("name", "kind"), SPATIAL)
def test_two_objects_at_once_are_two_asked_singly(name, kind, tiny):
    from dataclasses import replace

    image = picture(modality_of(name))
    said = prompt(kind, image)
    other = replace(mirrored(said, image, 0), name="other")
    look = tiny(name).look(image)
    both = look.ask(replace(said, name="one"), other)
    assert both.names == ("one", "other")
    for place, single in enumerate((said, other)):
        assert np.array_equal(both.masks[place], look.ask(single).masks[0])


@pytest.mark.parametrize("name", SEGMENTERS)
def test_a_look_can_be_asked_twice(name, tiny):
    image = picture(modality_of(name))
    kind = next(kind for kind in registry.card(name).accepts if kind in ("points", "box"))
    look = tiny(name).look(image)
    assert np.array_equal(look.ask(prompt(kind, image)).masks, look.ask(prompt(kind, image)).masks)


@pytest.mark.parametrize("name", SEGMENTERS)
def test_a_kept_look_gives_the_same_answer(name, tiny, tmp_path):
    image = picture(modality_of(name))
    kind = next(kind for kind in registry.card(name).accepts if kind in ("points", "box"))
    first = tiny(name).look(image, keep=tmp_path).ask(prompt(kind, image))
    assert list(tmp_path.iterdir()), "nothing was kept"
    second = tiny(name).look(image, keep=tmp_path).ask(prompt(kind, image))
    assert np.array_equal(first.masks, second.masks)


@pytest.mark.parametrize("name", SEGMENTERS)
def test_an_undeclared_prompt_is_refused_with_a_sentence(name, tiny):
    image = picture(modality_of(name))
    undeclared = Points([[1, 1]]) if "points" not in registry.card(name).accepts else Labels(("liver",))
    if type(undeclared).__name__.lower() in registry.card(name).accepts:
        pytest.skip("takes both")
    with pytest.raises(UnsupportedPrompt, match=f"{name} takes .*, got {type(undeclared).__name__}"):
        tiny(name).ask(image, undeclared)


@pytest.mark.parametrize("name", SEGMENTERS)
def test_save_and_load_is_identity(name, tiny, tmp_path):
    """Written under the upstream's names and read back through the table, nothing changes."""
    from safetensors.torch import load_file, save_file

    system = tiny(name)
    upstream = {
        key: value.contiguous() for key, value in type(system).table.inverse(system.network.state_dict()).items()
    }
    save_file(upstream, tmp_path / "w.safetensors")
    back = type(system).table.apply(load_file(tmp_path / "w.safetensors"))
    state = system.network.state_dict()
    assert back.keys() == state.keys()
    assert all(torch.equal(back[key], state[key]) for key in state)


@pytest.mark.parametrize("name", SEGMENTERS)
def test_every_published_size_builds_on_the_meta_device(name):
    system_class = registry.find(name).system_class()
    for tag in system_class.configs:
        layout = system_class.layout(tag)
        assert layout
        assert all(len(key) for key in layout)


@pytest.mark.parametrize("name", SEGMENTERS)
def test_every_trainable_weight_gets_a_gradient(name):
    from conftest_contract import ellipsoid
    from hilum.capabilities.trainable import Sample, Trainable

    excused(name, "gradient")
    system = registry.find(name).tiny()
    if not isinstance(system, Trainable):
        pytest.skip(f"{name} is not trainable")
    system.network.train()
    samples = [Sample(picture(modality_of(name)), ellipsoid()[2:3]) for _ in range(2)]
    terms = system.loss(system.batch(samples, np.random.default_rng(0)))
    terms.total.backward()
    without = [key for key, weight in system.network.named_parameters() if weight.requires_grad and weight.grad is None]
    assert not without
    assert torch.isfinite(terms.total)
