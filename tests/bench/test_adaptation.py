"""The adaptation study at a size of seconds: one target of phantoms, a tiny SAM."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from train.cases import blob
from typer.testing import CliRunner

from hilum import registry
from hilum.app.cli import app
from hilum.bench import adaptation, adaptation_table
from hilum.bench.adaptation import ALL, Cell, Start, Study
from hilum.bench.kept_features import Kept
from hilum.capabilities.trainable import Starting
from hilum.systems.sam_study import SamStudy
from hilum.train.pairs import pairs
from hilum.values.errors import BadInput

STUDY = Study(steps=2, batch=2, held=3, precision="f32")
EVERY = {
    "zero-shot, box",
    "zero-shot, click",
    "medsam",
    "lora (medsam)",
    "wavelet (medsam)",
    "sam_med2d",
    "medical_sam_adapter",
    "samed",
    "autosam decoder",
    "autosam cnn",
    "autosam linear",
}


@pytest.fixture(scope="module")
def start():
    return Start.of(SamStudy.tiny())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("study") / "data"
    for kind in ("images", "labels"):
        (root / "blobs" / kind).mkdir(parents=True)
    for seed in range(9):
        grey, mask = blob(seed)
        Image.fromarray(np.stack([grey, grey // 2, grey], -1)).save(root / "blobs" / "images" / f"{seed}.png")
        Image.fromarray(mask.astype(np.uint8)).save(root / "blobs" / "labels" / f"{seed}.png")
    return root


def names_of(cases):
    return {case.name for case in cases}


def test_every_method_of_the_issue_is_there(start):
    assert set(adaptation.methods(start, "blobs")) == EVERY


@pytest.mark.parametrize("name", ["medsam", "sam_med2d", "samed", "medical_sam_adapter", "autosam"])
def test_a_system_begins_from_a_sam_and_leaves_its_tensors_alone(name, start):
    made = registry.find(name).system_class()
    assert issubclass(made, Starting)
    before = {key: each.clone() for key, each in start.sam.items()}
    for config in made.beside(start.sizes, ("blob",)).values():
        first, second = (made.begun(config, before, seed=seed).network.state_dict() for seed in (0, 0))
        assert all(torch.equal(first[key], second[key]) for key in first)
        patches = next(value for key, value in first.items() if "image_encoder.patches" in key and value.ndim == 4)
        assert torch.equal(patches, start.sam["image_encoder.patch_embed.proj.weight"])


def test_held_cases_are_the_same_and_small_draws_lie_in_large_ones(folder):
    first, again = (adaptation.read_target(pairs(folder), STUDY) for _ in range(2))
    assert names_of(first.held) == names_of(again.held)
    assert len(first.held) == 3
    assert not names_of(first.held) & names_of(first.pool)
    assert names_of(first.drawn(2, 1)) < names_of(first.drawn(4, 1))
    assert len(first.drawn(ALL, 1)) == 6
    assert first.held[0].samples[0].image.array.shape[0] == 1


def test_features_of_a_resting_encoder_are_kept(start, folder):
    target, memory = adaptation.read_target(pairs(folder), STUDY), {}
    cell = Cell("blobs", "autosam linear", 2, 0)
    first = adaptation.measure(start, target, cell, STUDY, memory)
    assert memory
    looked = len(memory)
    again = adaptation.measure(start, target, cell, STUDY, memory)
    assert len(memory) == looked
    assert again.dice == first.dice
    assert isinstance(next(iter(memory.values())), torch.Tensor)
    assert Kept(start.system.network.image_encoder, {}).name == Kept(SamStudy.tiny().network.image_encoder, {}).name


@pytest.mark.parametrize("name", sorted(EVERY - {"autosam linear"}))
def test_a_cell_trains_what_its_method_trains_and_the_sam_stays_as_it_was(name, start, folder):
    before = {key: each.clone() for key, each in start.sam.items()}
    target = adaptation.read_target(pairs(folder), STUDY)
    study = replace(STUDY, held=1)
    result = adaptation.measure(start, replace_held(target), Cell("blobs", name, 2, 0), study, {})
    assert (result.trained == 0) == name.startswith("zero-shot")
    assert (result.size == 0) == (result.trained == 0)
    assert result.size >= 4 * result.trained
    assert 0 <= min(result.dice.values()) <= max(result.dice.values()) <= 1
    assert all(torch.equal(before[key], start.sam[key]) for key in before)
    assert result.prompt == (
        "none" if name.startswith(("samed", "autosam")) else "click" if "click" in name or "medical" in name else "box"
    )


def replace_held(target):
    """One held case is enough to see a cell work."""
    return adaptation.Target(target.pool, target.held[:1])


def test_a_study_that_was_killed_goes_on_and_ends_in_a_page(start, folder, tmp_path, monkeypatch):
    """Two methods, one of them at two numbers of cases; the last line was cut short."""
    monkeypatch.setattr(registry, "load", lambda *_, **__: SamStudy.tiny())
    page = tmp_path / "study.md"
    page.write_text("# Study\n<!-- measured -->\nold\n<!-- end -->\nOurs.\n", encoding="utf-8")
    (tmp_path / "pictures").mkdir()
    words = ["bench", "adaptation", "--data", str(folder), "-o", str(tmp_path / "out"), "--page", str(page)]
    words += ["--cases", "3", "--seeds", "1", "--steps", "2", "--methods", "samed,medsam"]
    words += ["--curve", "0:samed:blobs"]
    first = CliRunner().invoke(app, words)
    assert first.exit_code == 0, first.output
    file = tmp_path / "out" / "results.jsonl"
    lines = [line for line in file.read_text().splitlines() if line]
    assert len(lines) == 5
    file.write_text("\n".join(lines[:-1]) + "\n" + lines[-1][:40])
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 0, again.output
    assert "4 cells are there, 1 to measure" in again.output
    text = page.read_text()
    assert text.startswith("# Study\n")
    assert text.endswith("Ours.\n")
    assert "\nold\n" not in text
    assert "| samed | none |" in text
    assert "**How many cases**" in text
    with Image.open(tmp_path / "pictures" / "study.png") as picture:
        assert picture.width > 400


def test_results_of_other_settings_and_pages_without_marks_are_refused(tmp_path):
    file = tmp_path / "results.jsonl"
    cell = Cell("blobs", "samed", 2, 0)
    adaptation.append(file, adaptation.Result(cell, "none", {"a": 0.5}, {"a": 0.25}, 7), STUDY)
    assert [each.cell for each in adaptation.results(file, STUDY)] == [cell]
    assert json.loads(file.read_text().strip())["study"]["steps"] == 2
    with pytest.raises(BadInput, match="other settings"):
        adaptation.results(file, replace(STUDY, steps=3))
    with pytest.raises(BadInput, match="has no lines"):
        adaptation_table.write(tmp_path / "page.md", "text")
