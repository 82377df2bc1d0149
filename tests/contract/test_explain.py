"""What an explanation promises of every matcher and every prompted segmenter, held against its tiny instance."""

import numpy as np
import pytest

from conftest_contract import MATCHERS, PROMPTED, a_prompt, fitting, modality_of, picture
from hilum import registry
from hilum.capabilities.explain import explain
from hilum.values.prompts import Labels

LABELS = Labels(("pneumonia", "fracture"))


def explained(system, image, *prompts):
    look = system.look(image)
    return explain(look, prompts, look.ask(*prompts))


def height(found) -> np.ndarray:
    """The first map between 0 and 1."""
    low, high = found.maps[0].min(), found.maps[0].max()
    return (found.maps[0] - low) / (high - low)


@pytest.mark.parametrize("name", MATCHERS)
def test_a_map_for_each_label_on_the_images_grid(name, tiny):
    image = picture(modality_of(name))
    found = explained(tiny(name), image, LABELS)
    assert found.names == LABELS.names
    assert found.maps.shape == (2, *image.grid)
    assert np.isfinite(found.maps).all()
    assert (np.ptp(found.maps, axis=(1, 2)) > 0).all()
    assert found.method
    assert found.unit


@pytest.mark.parametrize("name", MATCHERS)
def test_maps_follow_the_patient_not_the_array(name, tiny):
    image = picture(modality_of(name))
    straight, turned = (explained(tiny(name), each, LABELS).maps for each in (image, image.flipped(0)))
    np.testing.assert_allclose(turned[..., ::-1], straight, atol=1e-4 * np.abs(straight).max())


@pytest.mark.parametrize("name", MATCHERS)
def test_random_weights_have_another_map(name, tiny):
    image = picture(modality_of(name))
    one, two = (height(explained(each, image, LABELS)) for each in (tiny(name), registry.find(name).tiny(seed=1)))
    assert np.abs(one - two).max() > 0.01


@pytest.mark.parametrize("name", PROMPTED)
def test_an_only_prompt_is_varied_and_flips_are_shares(name, tiny):
    image = fitting(name)
    found = explained(tiny(name), image, a_prompt(name, image))
    assert found.maps.shape == (1, *image.grid)
    assert found.maps.min() >= 0
    assert found.maps.max() <= 1
    assert len(found.ablations) >= 2
    assert all(each.dice is None or 0 <= each.dice <= 1 for each in found.ablations)
    flips = any(each.dice is not None and each.dice < 1 for each in found.ablations)
    assert flips == bool(found.maps.any())
