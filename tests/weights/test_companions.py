"""A tokenizer's words travel with the weights: beside the file that is imported, from the hub, or named as missing."""

from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import save_file
from torch_files import candidate, card, saved, state

from hilum import registry
from hilum.values.card import WeightsEntry
from hilum.values.errors import WeightsUnavailable
from hilum.weights import companions, hub, store
from hilum.weights.importer import import_file

WORDS = {"vocab.txt": "hf:someone/words/vocab.txt"}
TWIN = candidate(beside=("vocab.txt",))
ENTRY = WeightsEntry("big", "twin_big.pth", "hf:someone/twin/deep/twin_big.pth", "Apache-2.0", beside=WORDS)


@pytest.fixture(autouse=True)
def _own(tmp_path, monkeypatch):
    monkeypatch.setenv("HILUM_WEIGHTS", str(tmp_path / "weights"))


@pytest.fixture
def file(tmp_path) -> Path:
    folder = tmp_path / "downloads"
    folder.mkdir()
    return saved(state(), folder / "twin_big.pth")


def place() -> Path:
    return store.place("twin", "big")


def test_what_lies_beside_the_file_comes_with_it(file):
    (file.parent / "vocab.txt").write_text("[PAD]\n")
    (imported,) = import_file(file, [TWIN])
    assert (place() / "vocab.txt").read_text() == "[PAD]\n"
    assert "vocab.txt came with it." in imported.sentences()
    found = companions.there(replace(card(), weights=(ENTRY,)), imported.weights)
    assert found == {"vocab.txt": place() / "vocab.txt"}


def test_what_is_missing_is_said_and_comes_by_importing_again(file):
    (first,) = import_file(file, [TWIN])
    assert first.lacking == ("vocab.txt",)
    assert any("vocab.txt is not here" in sentence for sentence in first.sentences())
    assert companions.there(replace(card(), weights=(ENTRY,)), first.weights) == {}
    (file.parent / "vocab.txt").write_text("[PAD]\n")
    (again,) = import_file(file, [TWIN])
    assert again.already
    assert again.brought == ("vocab.txt",)
    assert not again.lacking


def test_pull_fetches_both_and_later_only_what_is_missing(file, monkeypatch):
    asked = []

    def fetched(where, entry, folder):
        asked.append(where.file)
        path = folder / where.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.read_bytes() if where.file.endswith(".pth") else b"[PAD]\n")
        return path

    monkeypatch.setattr(hub, "_from_hub", fetched)
    (imported,) = hub.pull(TWIN, ENTRY)
    assert sorted(asked) == ["deep/twin_big.pth", "vocab.txt"]
    assert not imported.lacking
    (place() / "vocab.txt").unlink()
    asked.clear()
    hub.pull(TWIN, ENTRY)
    assert asked == ["vocab.txt"]
    assert (place() / "vocab.txt").read_text() == "[PAD]\n"
    asked.clear()
    hub.pull(TWIN, ENTRY)
    assert asked == []


def test_a_system_without_its_words_answers_pictures_and_says_what_labels_want(tmp_path):
    """The tiny network as a file that is used where it lies, first alone, then beside its words."""
    from hilum.systems.biomedclip import BiomedClip

    assert "vocab.txt" in registry.card("biomedclip").entry("vit_b_16").beside
    system = BiomedClip.tiny()
    system.tag = "biomedclip.vit_b_16"
    with pytest.raises(WeightsUnavailable, match=r"biomedclip.vit_b_16 is here without vocab.txt.*hilum weights"):
        system.file("vocab.txt")
    path = tmp_path / "open.safetensors"
    save_file(state(), path)
    weights = store.Weights("biomedclip", "vit_b_16", path, "")
    assert companions.there(system.card, weights) == {}
    (tmp_path / "vocab.txt").write_text("[PAD]\n")
    assert companions.there(system.card, weights) == {"vocab.txt": tmp_path / "vocab.txt"}
