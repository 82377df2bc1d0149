"""What every segmenter promises, held against its tiny instance."""

import numpy as np
import pytest

from conftest_contract import (
    PROMPTED,
    SEGMENTERS,
    SPATIAL,
    UNPROMPTED,
    a_prompt,
    excused,
    fitting,
    mirrored,
    modality_of,
    picture,
    prompt,
    volume,
)
from hilum import registry
from hilum.values.answers import Segmentation
from hilum.values.errors import BadInput, UnsupportedPrompt
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


@pytest.mark.parametrize("name", PROMPTED)
def test_a_look_can_be_asked_twice(name, tiny):
    image = picture(modality_of(name))
    look = tiny(name).look(image)
    assert np.array_equal(look.ask(a_prompt(name, image)).masks, look.ask(a_prompt(name, image)).masks)


@pytest.mark.parametrize("name", PROMPTED)
def test_a_kept_look_gives_the_same_answer(name, tiny, tmp_path):
    image = picture(modality_of(name))
    first = tiny(name).look(image, keep=tmp_path).ask(a_prompt(name, image))
    assert list(tmp_path.iterdir()), "nothing was kept"
    second = tiny(name).look(image, keep=tmp_path).ask(a_prompt(name, image))
    assert np.array_equal(first.masks, second.masks)


@pytest.mark.parametrize("name", SEGMENTERS)
def test_an_undeclared_prompt_is_refused_with_a_sentence(name, tiny):
    image = picture(modality_of(name))
    undeclared = Points([[1, 1]]) if "points" not in registry.card(name).accepts else Labels(("liver",))
    if type(undeclared).__name__.lower() in registry.card(name).accepts:
        pytest.skip("takes both")
    with pytest.raises(UnsupportedPrompt, match=f"{name} takes .*, got {type(undeclared).__name__}"):
        tiny(name).ask(image, undeclared)


@pytest.mark.parametrize("name", UNPROMPTED)
@pytest.mark.parametrize("make", [picture, volume])
def test_named_classes_lie_on_the_images_own_grid_and_follow_the_patient(name, make, tiny):
    """Without a prompt a semantic system names what it finds; flipped with its affine, the same is found."""
    if make is picture:
        excused(name, "picture")
    system, image = tiny(name), make(modality_of(name))
    answer = system.ask(image)
    assert answer.masks.shape[1:] == image.grid
    assert set(answer.names) <= set(system.targets())
    assert answer.masks.any(axis=tuple(range(1, answer.masks.ndim))).all()
    assert all(0.0 <= score <= 1.0 for score in answer.scores)
    for axis in (0, 1):
        turned = system.ask(image.flipped(axis))
        assert turned.names == answer.names
        assert np.array_equal(np.flip(turned.masks, -1 - axis), answer.masks)


@pytest.mark.parametrize("name", [name for name in UNPROMPTED if "labels" in registry.card(name).accepts])
def test_labels_choose_among_the_named_classes(name, tiny):
    system, image = tiny(name), fitting(name)
    everything = system.ask(image)
    one = system.ask(image, Labels((everything.names[-1].upper(),)))
    assert one.names == everything.names[-1:]
    assert np.array_equal(one.masks[0], everything.masks[-1])
    with pytest.raises(BadInput, match=f"{name} does not know unicorn; it knows "):
        system.ask(image, Labels(("unicorn",)))
