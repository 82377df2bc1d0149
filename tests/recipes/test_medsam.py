"""MedSAM's recipe: it trains, goes on after a stop, and its file opens under the published names."""

import argparse
import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file
from train.cases import blob

from hilum.parts.sam import TINY
from hilum.systems.medsam import MedSam
from hilum.train.loop import Plan
from hilum.weights.rename import fill

RECIPE = Path(__file__).parents[2] / "recipes" / "medsam.py"


@pytest.fixture
def recipe(monkeypatch):
    spec = importlib.util.spec_from_file_location("medsam_recipe", RECIPE)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "medsam_recipe", module)
    spec.loader.exec_module(module)
    plan = Plan(steps=4, batch=2, every=2, warmup=1, save_seconds=0)
    monkeypatch.setitem(module.SETTINGS, "pocket", module.Setting(TINY, plan, whole=True))
    return module


def test_it_trains_goes_on_and_its_file_opens(recipe, tmp_path, monkeypatch):
    for kind in ("images", "labels"):
        (tmp_path / "data" / kind).mkdir(parents=True)
    for seed in range(3):
        for kind, values in zip(("images", "labels"), blob(seed), strict=True):
            Image.fromarray(values.astype(np.uint8)).save(tmp_path / "data" / kind / f"{seed}.png")
    given = argparse.Namespace(data=tmp_path / "data", setting="pocket", minutes=None, out=tmp_path / "out")
    course = recipe.train(given)
    assert (course.step, len(course.held)) == (4, 3)
    network = MedSam.build(TINY)
    fill(network, MedSam.table.apply(load_file(tmp_path / "out" / "pocket.safetensors")))
    before = MedSam.seeded(TINY, 0).network.prompt_encoder.state_dict()
    assert all((tensor == before[name]).all() for name, tensor in network.prompt_encoder.state_dict().items())
    setting = recipe.SETTINGS["pocket"]
    monkeypatch.setitem(recipe.SETTINGS, "pocket", replace(setting, plan=replace(setting.plan, steps=6)))
    assert recipe.train(given).step == 6
