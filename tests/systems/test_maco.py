"""MaCo: the pooler of its weights, twice the resolution, dot products, what a file carries beside, sentences."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from conftest_contract import picture
from hilum import registry
from hilum.app.weights_commands import candidates
from hilum.capabilities.trainable import Captioned
from hilum.parts import tokens
from hilum.parts.tokens import Reading
from hilum.systems.maco import AGAINST, PAPER, TINY, VOCABULARY, MaCo, sentences, told
from hilum.values.image import from_array
from hilum.values.prompts import Labels
from hilum.weights.importer import import_file


def film(seed: int, shape=(80, 70)):
    return from_array(np.random.default_rng(seed).integers(0, 255, size=(1, *shape)).astype(np.uint8), modality="DX")


@pytest.fixture(scope="module")
def tiny():
    return MaCo.tiny()


def test_the_layout_is_that_of_the_released_weights_not_of_the_released_code():
    layout = MaCo.layout("vit_b")
    assert layout["bert_encoder.model.bert.pooler.dense.weight"] == (768, 384)
    assert layout["img_mlp.weight"] == (768, 768)
    assert layout["pos_weight_img.weight"] == (1, 196)
    assert layout["decoder_pred.weight"] == (32 * 32 * 3, 768)
    assert PAPER.decoder.grid == PAPER.encoder.grid == 14


def test_what_a_file_carries_beside_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setenv("HILUM_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(MaCo, "configs", {"vit_b": TINY})
    system = MaCo.seeded(TINY, 3)
    own = {name: each.contiguous() for name, each in MaCo.table.inverse(system.network.state_dict()).items()}
    beside = (
        "logit_scale",
        "pos_cat.weight",
        "pos_weight_text.bias",
        "WCE.weight",
        "bert_encoder.model.cls.predictions.bias",
    )
    torch.save({"model": {**own, **{name: torch.zeros(2) for name in beside}}, "epoch": 30}, tmp_path / "MaCo.pth")
    (tmp_path / VOCABULARY).write_text("{}")
    (imported,) = import_file(tmp_path / "MaCo.pth", [each for each in candidates() if each.system == "maco"])
    assert set(beside) <= set(imported.record.ignored)
    assert imported.brought == (VOCABULARY,)
    loaded = registry.load("maco", device="cpu", backend="torch")
    np.testing.assert_array_equal(loaded.ask(film(0)).vectors, system.ask(film(0)).vectors)


def test_all_visible_patches_are_worth_the_same_at_the_start(tiny):
    worth = F.softplus(tiny.network.worth(torch.eye(TINY.encoder.grid**2)))
    torch.testing.assert_close(worth, torch.full_like(worth, math.log(2)))
    assert float(tiny.network.scale.detach()) == pytest.approx(1 / 0.03)


def test_scores_are_dot_products_with_means_of_raw_texts(tiny):
    answer, vector = tiny.ask(film(1), Labels(("edema",))), tiny.ask(film(1)).vectors[0]
    positive = tiny.worded(["There is edema. "]).mean(0) @ vector
    negative = tiny.worded([each.format("edema") for each in AGAINST]).mean(0) @ vector
    assert answer.similarity[0] == pytest.approx(positive, abs=1e-5)
    assert answer.softmax[0] == pytest.approx(1 / (1 + math.exp(negative - positive)), abs=1e-5)
    assert any("the lung is clear." in note for note in answer.provenance.notes)


def test_the_encoder_sees_half_the_resolution_of_what_is_guessed(tiny):
    batch = tiny.pairs([Captioned(film(1), "edema. no effusion."), Captioned(film(2), "")], np.random.default_rng(0))
    assert batch.films.shape[-1] == 2 * tiny.side
    assert tiny.resized(batch.films).shape[-1] == tiny.side
    terms = tiny.loss(batch)
    assert set(terms.parts) == {"masked", "contrast"}
    assert torch.isfinite(terms.total)


def test_some_sentences_in_any_order_and_nothing_that_says_nothing():
    report = "Lungs are clear. None. No effusion.  Heart is large."
    seen = {sentences(report, np.random.default_rng(seed)) for seed in range(40)}
    assert "lungs are clear. " in seen
    assert any(each.startswith("heart is large. ") and "no effusion. " in each for each in seen)
    assert not any("none" in each and len(each) > 6 for each in seen)
    assert told(["A nodule", "none", ""]) == "a nodule. "
    assert told([""]) == ". "


def test_a_phrase_points_to_places_on_the_whole_film(tiny):
    image = picture("DX")
    found = tiny.pointed("a small nodule", image)
    assert found.shape == image.grid
    assert np.isfinite(found).all()
    assert np.ptp(found) > 0
    np.testing.assert_allclose(tiny.pointed("a small nodule", image.flipped(0))[:, ::-1], found, atol=1e-6)


def test_a_written_tokenizer_adds_no_end(tmp_path):
    from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

    words = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[MASK]": 3, "no": 4, "ede": 5, "##ma": 6, ".": 7}
    made = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    made.add_special_tokens([AddedToken(each, normalized=False) for each in ("[PAD]", "[UNK]", "[CLS]", "[MASK]")])
    made.save(str(tmp_path / VOCABULARY))
    read = tokens.tokenizer(Reading("written", 5), lambda: tmp_path / VOCABULARY)
    assert read(["[CLS] No edema. ", "[CLS] No no no no no"]).ids.tolist() == [[2, 4, 5, 6, 7], [2, 4, 4, 4, 4]]
    short = read(["[CLS] no", "[CLS] edema"])
    assert short.ids.tolist() == [[2, 4, 0], [2, 5, 6]]
    assert short.mask.tolist() == [[True, True, False], [True, True, True]]
