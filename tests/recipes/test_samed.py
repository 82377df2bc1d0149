"""The recipe of SAMed: the published schedule and counting, and a tiny run from SAM's file to SAMed's."""

import argparse
import importlib.util
import json
import math
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import nibabel
import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from hilum import registry
from hilum.parts.sam import TINY
from hilum.systems.sam_study import SamStudy
from hilum.systems.samed import Samed, SamedConfig
from hilum.weights.store import Weights

FILE = Path(__file__).parents[2] / "recipes/samed.py"


@pytest.fixture(scope="module")
def recipe():
    sys.path.insert(0, str(FILE.parent))
    spec = importlib.util.spec_from_file_location("recipe_of_samed", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(FILE.parent))
    return module


def test_the_papers_numbers(recipe):
    plan = recipe.PAPER["vit_b"]
    assert (plan.rate, plan.weight_decay, plan.warmup, plan.power) == (0.005, 0.1, 250, 0.9)
    assert (plan.epochs, plan.stop, plan.batch) == (200, 160, 24)
    large = recipe.PAPER["vit_h"]
    assert (large.power, large.epochs, large.stop) == (7, 400, 300)
    assert replace(large, power=0.9, epochs=200, stop=160) == plan


def test_the_rate_warms_up_and_then_falls_as_a_power(recipe):
    plan = recipe.Plan(rate=1.0, warmup=10, power=0.9)
    rates = [recipe.pace(step, 100, plan) for step in range(100)]
    assert rates[:3] == [0.1, 0.1, 0.2]
    assert rates[10] == rates[11] == 1.0
    assert rates[61] == pytest.approx(0.5**0.9)
    assert all(after < before for before, after in pairwise(rates[11:]))


def test_both_ways_to_count_a_case(recipe):
    nothing, some, half = (np.zeros((2, 4), dtype=bool) for _ in range(3))
    some[0], half[0, :2] = True, True
    for rule in (recipe.case_dice, recipe.published_case_dice):
        assert rule(some, some) == 1
        assert rule(some, half) == pytest.approx(2 / 3)
        assert rule(some, nothing) == 0
    assert math.isnan(recipe.case_dice(nothing, some))
    assert recipe.published_case_dice(nothing, some) == 1
    assert recipe.published_case_dice(nothing, nothing) == 0


@pytest.fixture
def synapse(tmp_path) -> Path:
    """Two cases to learn from and one to test on, named and numbered as the challenge's; the spleen is bright."""
    root, rng = tmp_path / "Training", np.random.default_rng(0)
    for folder in ("img", "label"):
        (root / folder).mkdir(parents=True)
    for number in (5, 6, 1):
        labels = np.zeros((40, 36, 3), dtype=np.uint8)
        labels[6:20, 5:25, 1:], labels[25:35, 20:30, :] = 1, 6
        values = (-60 + 220 * (labels == 1) + 110 * (labels == 6) + rng.normal(0, 10, labels.shape)).astype(np.int16)
        for folder, name, array in (("img", "img", values), ("label", "label", labels)):
            image = nibabel.Nifti1Image(array, np.diag([-0.8, 0.8, 5.0, 1.0]))
            nibabel.save(image, root / folder / f"{name}{number:04d}.nii.gz")
    return root


def test_from_sams_file_to_a_file_that_loads_beside_it(recipe, synapse, tmp_path, monkeypatch):
    config = SamedConfig(TINY, taught_size=48)
    monkeypatch.setattr(Samed, "configs", {"vit_b": config})
    monkeypatch.setitem(recipe.PAPER, "vit_b", recipe.Plan(rate=0.01, warmup=3, epochs=4, stop=3, batch=3, every=2))
    sam = SamStudy.table.inverse(SamStudy.seeded(replace(TINY, image_size=96), 5).network.state_dict())
    save_file({name: each.contiguous() for name, each in sam.items()}, tmp_path / "sam.safetensors")
    found = Weights("sam_study", "vit_b", tmp_path / "sam.safetensors", "")
    monkeypatch.setattr(recipe.store, "find", lambda card, tag: found)
    out = tmp_path / "out"
    out.mkdir()
    recipe.paper(argparse.Namespace(root=synapse, tag="vit_b", out=out, minutes=None, device="cpu"))
    told = json.loads((out / "run.json").read_text())
    assert (told["steps"], told["cases"]) == (6, 1)
    assert set(told["held"]["dice"]) == set(config.classes)
    assert told["held"]["dice"]["aorta"] is None
    assert told["held"]["dice"]["liver"] is not None
    layout = {name: tuple(each.shape) for name, each in load_file(out / "samed.safetensors").items()}
    assert layout == Samed.layout("vit_b")
    assert (out / "epoch_1.safetensors").is_file()
    loaded = registry.load("samed.vit_b", weights=out / "samed.safetensors", device="cpu", backend="torch")
    case, masks = next(recipe.synapse(synapse, test=True))
    assert set(loaded.ask(case).names) <= set(config.classes)
    assert masks[config.classes.index("liver")].any()
    assert not masks[config.classes.index("left kidney")].any()
