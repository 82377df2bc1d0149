"""What every encoder promises, held against its tiny instance."""

import numpy as np
import pytest

from conftest_contract import EMBEDDERS, modality_of, picture, volume
from hilum import registry
from hilum.values.answers import Embedding
from hilum.values.errors import BadInput, UnsupportedPrompt
from hilum.values.prompts import Points

ONCE = [name for name in EMBEDDERS if registry.card(name).default == "embed"]


@pytest.mark.parametrize("name", ONCE)
def test_a_vector_for_each_picture_and_each_plane(name, tiny):
    system, one, whole = tiny(name), picture(modality_of(name)), volume(modality_of(name))
    answer = system.ask(one, one)
    assert isinstance(answer, Embedding)
    assert answer.axes == ("image", "dim")
    planes = system.ask(whole)
    assert planes.axes == ("plane", "dim")
    assert planes.vectors.shape == (whole.grid[0], answer.vectors.shape[1])
    assert np.isfinite(planes.vectors).all()
    assert answer.provenance.system == name


@pytest.mark.parametrize("name", ONCE)
def test_two_at_once_are_two_singly_and_differ(name, tiny):
    one = picture(modality_of(name))
    other = one.with_array(np.ascontiguousarray(one.array[..., ::-1, :]))
    both = tiny(name).ask(one, other).vectors
    for place, single in enumerate((one, other)):
        np.testing.assert_allclose(both[place], tiny(name).ask(single).vectors[0], atol=1e-6)
    assert np.abs(both[0] - both[1]).max() > 1e-6


@pytest.mark.parametrize("name", ONCE)
@pytest.mark.parametrize("axis", [0, 1])
def test_vectors_follow_the_patient_not_the_array(name, axis, tiny):
    """Flip the array and its affine together: the same planes are seen."""
    image = volume(modality_of(name))
    assert np.array_equal(tiny(name).ask(image).vectors, tiny(name).ask(image.flipped(axis)).vectors)


@pytest.mark.parametrize("name", ONCE)
def test_same_seed_same_vector(name, tiny):
    image = picture(modality_of(name))
    assert np.array_equal(tiny(name).ask(image).vectors, registry.find(name).tiny(seed=0).ask(image).vectors)


@pytest.mark.parametrize("name", ONCE)
def test_what_cannot_be_embedded_is_refused_with_a_sentence(name, tiny):
    one, whole = picture(modality_of(name)), volume(modality_of(name))
    with pytest.raises(BadInput, match="several pictures or one volume"):
        tiny(name).ask(one, whole)
    if "points" not in registry.card(name).accepts:
        with pytest.raises(UnsupportedPrompt, match=f"{name} takes"):
            tiny(name).ask(one, Points([[1, 1]]))
