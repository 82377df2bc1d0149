"""`hilum probe`: folders of pictures in, a head out that answers with classes; a tiny RETFound is the encoder."""

import json

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from safetensors.torch import save_file

from hilum import registry
from hilum.systems.retfound import RetFound
from hilum.weights import adapter, store


@pytest.fixture
def encoder(tmp_path, monkeypatch):
    """The first tag of RETFound at its tiny size, with random weights that are there."""
    tiny = RetFound.tiny()
    tag = registry.card("retfound").weights[0].tag
    pocket = tmp_path / "pocket"
    pocket.mkdir()
    state = RetFound.table.inverse(tiny.network.state_dict())
    save_file({name: each.contiguous() for name, each in state.items()}, pocket / f"retfound.{tag}.safetensors")
    monkeypatch.setattr(store, "POCKET", pocket)
    monkeypatch.setattr(RetFound, "configs", {**RetFound.configs, tag: tiny.config})
    return f"retfound.{tag}"


@pytest.fixture
def album(tmp_path):
    """Reddish and bluish pictures of six patients."""
    rng = np.random.default_rng(0)
    for number, (name, colour) in enumerate((("blue", (40, 60, 200)), ("red", (200, 60, 40)))):
        folder = tmp_path / "album" / name
        folder.mkdir(parents=True)
        for patient in range(6):
            noise = rng.integers(-30, 30, (40, 48, 3))
            picture = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            Pillow.fromarray(picture).save(folder / f"p{number}{patient}__1.png")
    return tmp_path / "album"


def test_a_probe_is_fitted_measured_written_and_asked(hilum, encoder, album, tmp_path):
    out = tmp_path / "head"
    ended = hilum("probe", encoder, "--data", album, "-o", out, "--json", "--modality", "OP", "--backend", "torch")
    assert ended.code == 0, ended.err
    facts = json.loads(ended.out)
    assert facts["classes"] == ["blue", "red"]
    assert facts["patients"] == 12
    assert facts["held_out"]["linear probe"]["auroc"] > 0.9
    told = adapter.read(out)
    assert (told.method, tuple(told.names)) == ("probe", ("blue", "red"))
    for name in ("red", "blue"):
        picture = album / name / f"p{int(name == 'red')}0__1.png"
        asked = hilum("ask", f"{out}/", picture, "--json", "--modality", "OP", "--backend", "torch")
        assert asked.code == 0, asked.err
        answer = json.loads(asked.out)
        assert answer["provenance"]["weights"].endswith("+head")
        scores = {each["name"]: each["softmax"] for each in answer["labels"]}
        assert max(scores, key=scores.get) == name
        assert sum(scores.values()) == pytest.approx(1.0)
    again = hilum("probe", encoder, "--data", album, "-o", out)
    assert again.code == 2
    assert "holds an adapter already" in again.err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("scout", "--data", "."), "scout gives no vectors. Systems that embed: "),
        (("retfound", "--data", "nowhere"), "no such folder: nowhere"),
        (("retfound", "--data", "."), "a folder of pictures for each class, at least two; it holds 0"),
    ],
)
def test_what_is_wrong_is_a_sentence(hilum, tmp_path, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    ended = hilum("probe", *words, "-o", "head")
    assert ended.code == 2
    assert sentence in ended.err
    assert list(tmp_path.iterdir()) == []


def test_the_probe_of_a_file_is_the_probe_that_was_fitted(encoder, album, tmp_path, hilum):
    out = tmp_path / "head"
    hilum("probe", encoder, "--data", album, "-o", out, "--modality", "OP", "--backend", "torch")
    system = registry.load(str(out), device="cpu", backend="torch")
    assert system.probe.names == ("blue", "red")
    assert system.card.default == "match"
    assert registry.card("retfound").default == "embed"
    assert all(
        not weight.requires_grad or weight.device == torch.device("cpu") for weight in system.network.parameters()
    )
