"""The recipe of AutoSAM: the published numbers, pictures bent with their labels, a tiny run that goes on and ends."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture
def recipe(monkeypatch):
    """A recipe by its name, imported as it is run: with its own folder on the path."""
    monkeypatch.syspath_prepend(str(RECIPES))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(RECIPES)):
            del sys.modules[name]


@pytest.fixture
def volumes(tmp_path) -> Path:
    """Six volumes with two structures, as people keep them."""
    rng = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (tmp_path / "volumes" / kind).mkdir(parents=True)
    for case in range(6):
        z, y, x = np.ogrid[:4, :26, :24]
        away = np.hypot(y - rng.integers(10, 16), x - rng.integers(10, 14)) + 0 * z
        labels = np.where(away < 4, 2, np.where(away < 8, 1, 0)).astype(np.int16)
        values = (60 * labels + rng.normal(0, 4, labels.shape)).astype(np.int16)
        for kind, array in (("images", values), ("labels", labels)):
            image = nibabel.Nifti1Image(array.T, np.diag([-1.0, -1.0, 3.0, 1.0]))
            image.header.set_xyzt_units("mm")
            nibabel.save(image, tmp_path / "volumes" / kind / f"case{case}.nii.gz")
    return tmp_path / "volumes"


def test_the_papers_numbers(recipe):
    plan = recipe("autosam").PAPER
    assert (plan.rate, plan.batch, plan.epochs, plan.settled, plan.volumes) == (5e-4, 4, 120, 10, 1)


def test_pictures_are_bent_with_their_labels(recipe):
    from hilum.systems.autosam import AutoSamBatch

    y, x = np.indices((64, 64))
    labels = torch.from_numpy((np.hypot(y - 30, x - 24) < 14).astype(int)).expand(6, 64, 64)
    pictures = labels[:, None].float().expand(-1, 3, -1, -1)
    rng = np.random.default_rng(0)
    twists = recipe("autosam_twists")
    found = [twists.turned(p.numpy(), m.numpy(), rng) for p, m in zip(pictures, labels, strict=True)]
    for picture, mask in found:
        assert ((picture[0] > 0.5) == (mask == 1)).mean() > 0.97
    assert len({int(mask.sum()) for _, mask in found}) > 3
    batch = twists.twisted(AutoSamBatch(pictures, labels), np.random.default_rng(1))
    assert batch.pictures.shape == pictures.shape
    assert torch.isfinite(batch.pictures).all()
    assert set(batch.labels.unique().tolist()) == {0, 1}
    again = twists.twisted(AutoSamBatch(pictures, labels), np.random.default_rng(1))
    assert torch.equal(again.pictures, batch.pictures)


def run(module, monkeypatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["autosam.py", *map(str, words)])
    module.main()


def test_a_tiny_run_goes_on_where_it_stopped(recipe, volumes, tmp_path, monkeypatch, capsys):
    from hilum.parts.sam import TINY

    module = recipe("autosam")
    monkeypatch.setattr(module, "hippocampi", lambda out: volumes)
    monkeypatch.setattr(module, "POCKET_SAM", TINY)
    monkeypatch.setattr(module, "POCKET", replace(module.POCKET, epochs=2, volumes=2))
    out = ("--setting", "pocket", "--head", "linear", "--out", tmp_path / "out")
    run(module, monkeypatch, "train", *out)
    first = capsys.readouterr().out
    assert "2 volumes, 8 slices; from epoch 0" in first
    assert "linear, 2 volumes held back: anterior" in first
    before = load_file(tmp_path / "out/linear.safetensors")
    monkeypatch.setattr(module, "POCKET", replace(module.POCKET, epochs=3, volumes=2))
    run(module, monkeypatch, "train", *out)
    assert "from epoch 2" in capsys.readouterr().out
    after = load_file(tmp_path / "out/linear.safetensors")
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    assert moved
    assert not any(name.startswith("image_encoder") for name in moved)
    monkeypatch.setattr(module, "POCKET_SAM", replace(TINY, depth=3))
    with pytest.raises(SystemExit, match="trained with other sizes"):
        run(module, monkeypatch, "evaluate", *out)
