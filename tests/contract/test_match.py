"""What every system that compares pictures with labels promises, held against its tiny instance."""

import numpy as np
import pytest

from conftest_contract import MATCHERS, excused, modality_of, picture, volume
from hilum import registry
from hilum.capabilities.match import Worded
from hilum.values.answers import Scores
from hilum.values.errors import BadInput
from hilum.values.prompts import Labels

NAMES = ("pneumonia", "pleural effusion", "fracture")


@pytest.mark.parametrize("name", MATCHERS)
def test_a_score_for_each_label_in_the_order_asked(name, tiny):
    system, image = tiny(name), picture(modality_of(name))
    answer = system.ask(image, Labels(NAMES))
    assert isinstance(answer, Scores)
    assert answer.names == NAMES
    assert answer.similarity.shape == answer.softmax.shape == (3,)
    assert np.isfinite(answer.similarity).all()
    assert ((answer.softmax >= 0) & (answer.softmax <= 1)).all()
    assert answer.probability is None  # nobody has calibrated it
    assert np.ptp(answer.similarity) > 1e-6
    other = system.ask(image, Labels(NAMES[::-1]))
    np.testing.assert_allclose(other.similarity[::-1], answer.similarity, atol=1e-5)


@pytest.mark.parametrize("name", MATCHERS)
def test_the_texts_that_were_compared_are_told_and_own_texts_count(name, tiny):
    excused(name, "texts")
    system, image = tiny(name), picture(modality_of(name))
    plain = system.ask(image, Labels(NAMES))
    assert all(any(label in note for note in plain.provenance.notes) for label in NAMES)
    said = system.ask(image, Labels(NAMES, texts=(("a patchy opacity", "an infiltrate"), (), ())))
    assert any("a patchy opacity" in note for note in said.provenance.notes)
    assert abs(said.similarity[0] - plain.similarity[0]) > 1e-7


@pytest.mark.parametrize("name", MATCHERS)
def test_same_seed_same_scores(name, tiny):
    image = picture(modality_of(name))
    one, two = (system.ask(image, Labels(NAMES)) for system in (tiny(name), registry.find(name).tiny(seed=0)))
    np.testing.assert_array_equal(one.similarity, two.similarity)


@pytest.mark.parametrize("name", MATCHERS)
@pytest.mark.parametrize("axis", [0, 1])
def test_scores_follow_the_patient_not_the_array(name, axis, tiny):
    """A picture in patient space, flipped together with its affine, is shown the same way."""
    image = picture(modality_of(name))
    if image.space != "patient":
        pytest.skip("the phantom's plane is not in patient space")
    one, two = (tiny(name).ask(each, Labels(NAMES)).similarity for each in (image, image.flipped(axis)))
    np.testing.assert_allclose(one, two, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in MATCHERS if "embed" in registry.card(name).capabilities])
def test_texts_have_vectors_beside_the_pictures_vectors(name, tiny):
    system = tiny(name)
    if not isinstance(system, Worded):
        pytest.skip(f"{name} has no vector for a text alone")
    vectors = system.worded(["a chest film", "a head"])
    pictures = system.ask(picture(modality_of(name))).vectors
    assert vectors.shape == (2, pictures.shape[1])
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-6
    alone = system.worded(["a head"])
    if not registry.card(name).excuses or "padding" not in registry.card(name).excuses:
        np.testing.assert_allclose(alone[0], vectors[1], atol=1e-5)


@pytest.mark.parametrize("name", MATCHERS)
def test_what_cannot_be_compared_is_refused_with_a_sentence(name, tiny):
    system, image = tiny(name), picture(modality_of(name))
    with pytest.raises(BadInput, match="of a volume give one plane"):
        system.ask(volume(modality_of(name)), Labels(NAMES))
    if system.together:
        with pytest.raises(BadInput, match="at a time"):
            system.ask(*[image] * (system.together + 1), Labels(NAMES))
