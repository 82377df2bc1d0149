"""BioViL-T: two files make one system, a prior counts, words of change, texts as published, phrases point to places."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from conftest_contract import picture
from hilum import registry
from hilum.app.weights_commands import candidates
from hilum.capabilities.trainable import Captioned
from hilum.parts.cxr_bert import spelt
from hilum.parts.two_tower import unit
from hilum.systems.biovil_t import TINY, BioVilT, eight_bit
from hilum.values.errors import BadInput, WeightsUnavailable
from hilum.values.image import Display, from_array
from hilum.values.prompts import Labels
from hilum.weights.importer import Wish, import_file

SMALL = replace(TINY, guide_heads=0)
CONFIGS = {
    "biovil_t": SMALL,
    "biovil": replace(SMALL, pooler=None),
    "biovil_t_image": replace(SMALL, text=None),
    "biovil_image": replace(SMALL, text=None, pooler=None),
}
CHANGES = Labels(("improving", "stable", "worsening"))


def film(seed: int, shape=(90, 70)):
    values = np.random.default_rng(seed).integers(0, 4000, size=(1, *shape))
    return from_array(values.astype(np.int32), modality="DX")


@pytest.fixture(scope="module")
def tiny():
    return BioVilT.tiny()


def test_two_published_files_make_one_system(tmp_path, monkeypatch):
    monkeypatch.setenv("HILUM_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(BioVilT, "configs", CONFIGS)
    pool = [each for each in candidates() if each.system == "biovil_t"]
    whole = BioVilT.seeded(SMALL, 4)
    state = BioVilT.table.inverse(whole.network.state_dict())
    text = {name: tensor for name, tensor in state.items() if BioVilT.carries(name)}
    image_file = tmp_path / "biovil_t_image_model_proj_size_128.pt"
    torch.save({name: state[name] for name in state.keys() - text.keys()}, image_file)
    tied = {"cls.predictions.decoder.weight": text["bert.embeddings.word_embeddings.weight"]}  # saved once more
    torch.save({**text, **tied}, tmp_path / "pytorch_model.bin")

    with pytest.raises(BadInput, match=r"biovil_t\.biovil_t and of biovil_t\.biovil"):
        import_file(tmp_path / "pytorch_model.bin", pool)
    import_file(tmp_path / "pytorch_model.bin", pool, Wish("biovil_t.biovil_t"))
    with pytest.raises(WeightsUnavailable, match=r"biovil_t builds on biovil_t\.biovil_t_image: .*pull"):
        registry.load("biovil_t")
    (imported,) = import_file(image_file, pool)
    assert imported.record.name == "biovil_t.biovil_t_image"
    loaded = registry.load("biovil_t", device="cpu", backend="torch")
    assert loaded.tag == "biovil_t.biovil_t"
    assert all(
        torch.equal(tensor, loaded.network.state_dict()[name]) for name, tensor in whole.network.state_dict().items()
    )

    alone = registry.load("biovil_t.biovil_t_image", device="cpu", backend="torch")
    np.testing.assert_array_equal(alone.ask(film(0)).vectors, loaded.ask(film(0)).vectors)
    with pytest.raises(BadInput, match=r"image file alone .*pull biovil_t\.biovil_t`"):
        alone.ask(film(0), Labels(("pneumonia",)))


def test_a_prior_counts_and_so_does_the_order(tiny):
    labels = Labels(("pneumonia", "edema"))
    now, before = film(1), film(2)
    alone, there, back = (tiny.ask(*films, labels).similarity for films in ((now,), (now, before), (before, now)))
    assert np.abs(alone - there).max() > 1e-5
    assert np.abs(there - back).max() > 1e-5


def test_words_of_change_are_compared_with_each_other_and_want_a_prior(tiny):
    answer = tiny.ask(film(1), film(2), CHANGES)
    assert answer.softmax.sum() == pytest.approx(1)
    with pytest.raises(BadInput, match="'improving' says how a film has changed: give the earlier film"):
        tiny.ask(film(1), CHANGES)
    mixed = tiny.ask(film(1), film(2), Labels(("pneumonia", "effusion is worse", "effusion is stable")))
    assert mixed.softmax[1:].sum() == pytest.approx(1)
    assert mixed.softmax[0] == pytest.approx(tiny.ask(film(1), film(2), Labels(("pneumonia",))).softmax[0])


def test_own_texts_against_a_label_make_it_a_finding(tiny):
    labels = Labels(("stable",), opposites=(("the fracture is unstable",),))
    assert 0 < tiny.ask(film(1), labels).softmax[0] < 1


def test_the_predecessor_knows_one_film():
    old = BioVilT.seeded(CONFIGS["biovil"], 0)
    assert len(old.ask(film(1), Labels(("pneumonia",))).similarity) == 1
    with pytest.raises(BadInput, match="biovil knows no earlier film"):
        old.ask(film(1), film(2), Labels(("pneumonia",)))


@torch.inference_mode()
def test_several_texts_are_averaged_before_they_are_normalised(tiny):
    texts = ("a large opacity", "pneumonia")
    answer = tiny.ask(film(3), Labels(("pneumonia",), texts=(texts,)))
    mean = unit(tiny.encoded(texts).mean(0))
    look = tiny.look(film(3))
    vector = unit(torch.from_numpy(look.ask().vectors[0]))
    assert answer.similarity[0] == pytest.approx(float(mean @ vector), abs=1e-5)


def test_texts_are_read_as_published(tiny):
    assert spelt("Findings suggest edema!?.") == "Findings suggest edema"
    np.testing.assert_array_equal(tiny.worded(["there is edema."]), tiny.worded(["there is edema"]))
    assert spelt("there is [MASK].") == "there is [MASK]"
    with pytest.raises(BadInput, match=r"holds no \[SEP\]"):
        tiny.worded(["edema [SEP] no edema"])


def test_films_are_stretched_by_their_own_range_and_inverted_where_they_say_so(tiny):
    image = film(5)
    louder = image.with_array(image.array * 3 + 7)
    np.testing.assert_array_equal(eight_bit(image), eight_bit(louder))
    assert eight_bit(image).min() == 0
    assert eight_bit(image).max() == 255
    assert not eight_bit(image.with_array(np.full_like(image.array, 9))).any()
    turned = replace(image, display=Display(0, 4000, inverted=True))
    torch.testing.assert_close(tiny.pixels(turned), 1 - tiny.pixels(image), atol=1.01 / 255, rtol=0)
    assert any("inverted" in note for note in tiny.ask(turned).provenance.notes)


def test_a_phrase_points_to_places_on_the_films_own_grid(tiny):
    image = picture("DX")
    found = tiny.pointed("a small nodule", image)
    assert found.shape == image.grid
    assert np.isnan(found[0]).all()  # nobody saw the margin
    assert np.ptp(found[~np.isnan(found)]) > 0
    assert np.abs(found[~np.isnan(found)]).max() <= 1
    np.testing.assert_allclose(tiny.pointed("a small nodule", image.flipped(1))[::-1], found, atol=1e-6)
    assert np.nanmax(np.abs(tiny.pointed("a small nodule", image, picture("DX").flipped(0)) - found)) > 1e-6


def batch(system, *, earlier: bool = True):
    rng = np.random.default_rng(0)
    samples = [
        Captioned(film(1), "the effusion is larger", earlier=film(2) if earlier else None),
        Captioned(film(3), "the lungs are clear"),
    ]
    return system.pairs(samples, rng)


def test_with_an_earlier_film_every_weight_learns():
    system = BioVilT.tiny()
    system.network.train()
    terms = system.loss(batch(system))
    terms.total.backward()
    assert set(terms.parts) == {"global", "local", "words"}
    assert torch.isfinite(terms.total)
    without = [
        name for name, weight in system.network.named_parameters() if weight.requires_grad and weight.grad is None
    ]
    assert without == []


def test_the_film_guides_the_hidden_words_only_with_the_guide():
    system = BioVilT.tiny()
    given = batch(system)
    other = replace(given, films=given.films.flip(-1))
    assert system.loss(given).parts["words"] != system.loss(other).parts["words"]
    plain = BioVilT.seeded(SMALL, 0)
    assert plain.loss(given).parts["words"] == plain.loss(other).parts["words"]
    guided = plain.guided(heads=2)
    assert guided.network.guide is not None
    kept = guided.network.state_dict()
    assert all(torch.equal(tensor, kept[name]) for name, tensor in plain.network.state_dict().items())


def test_a_batch_without_earlier_films_and_a_text_without_words(tiny):
    given = tiny.pairs([Captioned(film(1), "effusion"), Captioned(film(2), "")], np.random.default_rng(0))
    assert given.earlier.shape[0] == 0
    assert torch.isfinite(tiny.loss(given).total)
