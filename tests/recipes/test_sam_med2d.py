"""The recipe of SAM-Med2D at a tiny size: which rounds move what, a run that goes on is the run that never stopped."""

import argparse
import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from safetensors.torch import load_file, save_file

from hilum.parts.sam import TINY, sam
from hilum.systems.sam_med2d import SamMed2d, SamMed2dConfig
from hilum.weights import store
from hilum.weights.rename import fill
from hilum.weights.store import Weights
from hilum.weights.tables.sam import UPSTREAM

FILE = Path(__file__).parents[2] / "recipes/sam_med2d.py"


@pytest.fixture(scope="module")
def recipe():
    spec = importlib.util.spec_from_file_location("recipe_of_sam_med2d", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def data(tmp_path) -> Path:
    """Ten pictures with a bright disc and a dim one, and their label maps; the ninth shows nothing."""
    y, x = np.indices((40, 44))
    for kind in ("images", "labels"):
        (tmp_path / "data" / kind).mkdir(parents=True)
    for number in range(10):
        labels = 1 * ((y - 12) ** 2 + (x - 12 - number) ** 2 < 49) + 2 * ((y - 30) ** 2 + (x - 33) ** 2 < 36)
        labels = (labels * (number != 8)).astype(np.uint8)
        Picture.fromarray((40 + 90 * labels).astype(np.uint8)).save(tmp_path / f"data/images/{number}.png")
        Picture.fromarray(labels).save(tmp_path / f"data/labels/{number}.png")
    return tmp_path / "data"


@pytest.fixture
def tiny(recipe, monkeypatch):
    """A setting with TINY sizes, of as many epochs as wanted."""

    def of(epochs: int) -> None:
        setting = recipe.Setting(SamMed2dConfig(TINY), start=None, epochs=epochs, rate=1e-3, corrections=3)
        monkeypatch.setitem(recipe.SETTINGS, "tiny", setting)

    return of


def given(data: Path, out: Path, **more) -> argparse.Namespace:
    return argparse.Namespace(setting="tiny", out=str(out), data=str(data), halved=None, minutes=0.0, most=9, **more)


def test_published_numbers_are_the_defaults(recipe):
    setting = recipe.SETTINGS["paper"]
    assert setting.config is SamMed2d.configs["b"]
    assert (setting.rate, setting.corrections, setting.start) == (1e-4, 8, "sam_study.vit_b")
    assert not setting.encoder
    assert recipe.rounds.COUNTS == (1, 3, 5, 9)


def test_a_run_that_goes_on_is_the_run_that_never_stopped(recipe, tiny, data, tmp_path):
    tiny(2)
    recipe.train(given(data, tmp_path / "whole"))
    tiny(1)
    recipe.train(given(data, tmp_path / "parts"))
    tiny(2)
    recipe.train(given(data, tmp_path / "parts"))
    whole, parts = (
        torch.load(tmp_path / name / "tiny/checkpoint.pt", weights_only=True) for name in ("whole", "parts")
    )
    assert whole["steps"] == parts["steps"] > 4
    assert all(torch.equal(each, parts["network"][name]) for name, each in whole["network"].items())


def test_the_loss_falls_and_the_weights_leave_under_their_published_names(recipe, tiny, data, tmp_path, capsys):
    tiny(6)
    recipe.train(given(data, tmp_path))
    lines = [json.loads(line) for line in (tmp_path / "tiny/log.jsonl").read_text().splitlines()]
    losses = [line["mean"] for line in lines]
    assert np.mean(losses[-4:]) < 0.7 * np.mean(losses[:4])
    recipe.evaluate(given(data, tmp_path))
    assert "box: mean Dice" in capsys.readouterr().out
    recipe.export(given(data, tmp_path))
    state = load_file(tmp_path / "tiny/sam_med2d.safetensors")
    assert "image_encoder.blocks.0.Adapter.channel.0.weight" in state
    fill(SamMed2d.build(SamMed2dConfig(TINY)), SamMed2d.table.apply(state))


def test_only_the_decoder_moves_after_the_first_round(recipe, tiny, data, tmp_path, monkeypatch):
    tiny(1)
    run = recipe.Run(recipe.SETTINGS["tiny"], tmp_path)
    found = [recipe.sample(pair, np.random.default_rng(0)) for pair in recipe.pairs(data)[:2]]
    batch = run.system.batch(found, np.random.default_rng(0))
    moved, before = [], snapshot(run)
    monkeypatch.setattr(recipe.Run, "update", watched(recipe.Run.update, moved, before))
    losses = recipe.interact(run, batch, np.random.default_rng(0))
    assert len(losses) == len(moved) == 1 + run.setting.corrections
    assert {"image_encoder", "prompt_encoder", "mask_decoder"} == moved[0]
    assert all(each == {"mask_decoder"} for each in moved[1:])
    frozen = [name for name, each in run.network.named_parameters() if not each.requires_grad]
    assert frozen
    assert all(name.startswith("image_encoder.") and ".beside." not in name for name in frozen)


def snapshot(run) -> dict[str, torch.Tensor]:
    return {name: each.detach().clone() for name, each in run.network.named_parameters()}


def watched(update, moved: list, before: dict):
    """`update`, noting which parts of the network each call moved."""

    def noted(run, found):
        told = update(run, found)
        now = snapshot(run)
        moved.append({name.split(".")[0] for name in now if not torch.equal(now[name], before[name])})
        before.update(now)
        return told

    return noted


def test_it_starts_from_sams_file_of_another_size(recipe, tmp_path, monkeypatch):
    larger = sam(replace(TINY, image_size=2 * TINY.image_size))
    torch.nn.init.normal_(larger.image_encoder.position)
    source = UPSTREAM.inverse(larger.state_dict())
    save_file({name: each.contiguous() for name, each in source.items()}, tmp_path / "sam.safetensors")
    monkeypatch.setattr(store, "find", lambda card, tag: Weights(card.name, tag, tmp_path / "sam.safetensors", ""))
    setting = recipe.Setting(SamMed2dConfig(TINY))
    runs = recipe.Run(setting, tmp_path), recipe.Run(setting, tmp_path).load()
    fresh, state = (SamMed2d.table.inverse(run.network.state_dict()) for run in runs)
    patches, tokens = "image_encoder.patch_embed.proj.weight", "mask_decoder.mask_tokens.weight"
    assert torch.equal(state[patches], source[patches])
    assert torch.equal(state[tokens], fresh[tokens])
    assert not torch.equal(state["image_encoder.pos_embed"], fresh["image_encoder.pos_embed"])
