"""The self-supervised recipes: views know where they lie; LVM-Med and Virchow take steps on made-up pictures."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

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


def blobs(count: int, side: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    small = torch.randint(0, 256, (count, 3, 4, 4), generator=generator).float()
    return list(torch.nn.functional.interpolate(small, size=(side, side), mode="bicubic").clamp(0, 255).byte())


def test_a_view_knows_where_its_cells_lie(recipe):
    """A picture whose red is its row and whose green is its column, cut and flipped at random."""
    from torchvision.transforms import v2

    crops = recipe("crops")
    torch.manual_seed(0)
    y, x = torch.meshgrid((torch.arange(120) + 0.5) / 120, (torch.arange(200) + 0.5) / 200, indexing="ij")
    picture = (torch.stack([y, x, x]) * 255).round().byte()
    view = crops.view([picture] * 6, crops.Cut(64, (0.3, 1.0), v2.Identity()))
    assert view.flipped.any()
    assert not view.flipped.all()
    shown = torch.nn.functional.avg_pool2d(view.pixels[:, :2], 16).flatten(2).transpose(1, 2)
    torch.testing.assert_close(view.places(4, 4), shown, atol=3e-3, rtol=0)


def test_a_schedule_warms_up_and_ends_where_it_should(recipe):
    pace = recipe("schedule").Cosine(2.0, 0.5, steps=100, warm_up=10)
    assert pace(0) == pytest.approx(0.2)
    assert pace(10) == pytest.approx(2.0)
    assert pace(55) == pytest.approx(1.25)
    assert pace(100) == pytest.approx(0.5)


@pytest.mark.parametrize("encoder", ["vit", "resnet50"])
def test_lvm_med_takes_steps_with_small_views_too(recipe, encoder):
    made = recipe("lvm_med")
    plan = replace(made.PLANS[encoder], encoder=made.POCKETS[encoder], **made.POCKET)
    plan = replace(plan, batch=10, smalls=1, small=32)
    torch.manual_seed(0)
    model = made.Pretraining(plan, made.Estimator())
    seen = blobs(12, 64)
    chance = model.right(made.views(seen[:10], plan))
    assert 0 <= chance <= 1
    before = [weight.clone() for weight in model.network.parameters()]
    made.optimise(model, seen, SimpleNamespace(steps=3, device="cpu", tell=100))
    after = list(model.network.parameters())
    assert all(weight.isfinite().all() for weight in after)
    assert sum(not torch.equal(old, new) for old, new in zip(before, after, strict=True)) > 0.9 * len(after)


def test_virchow_takes_steps_and_its_teacher_follows(recipe):
    made = recipe("virchow")
    plan = replace(made.POCKET, batch=4, prototypes=16, momentum=(0.9, 1.0))
    torch.manual_seed(0)
    training = made.Training(plan)
    before = [weight.clone() for weight in training.teacher.encoder.parameters()]
    made.optimise(training, blobs(6, 112), SimpleNamespace(steps=3, device="cpu", tell=100))
    moved = list(training.teacher.encoder.parameters())
    assert all(weight.isfinite().all() for weight in moved)
    assert sum(not torch.equal(old, new) for old, new in zip(before, moved, strict=True)) > 0.9 * len(moved)
    hidden = training.hidden(np.random.default_rng(0), 40)
    assert hidden.any(1).float().mean() > 0.2
    assert not hidden.any(1).all()
    assert (hidden.float().mean(1) <= plan.ratio[1] + 1 / 16).all()
    assert "effective rank" in made.judged(training.teacher.encoder, [("a", tile) for tile in blobs(6, 112)], "cpu")


def test_published_plans_build_on_the_meta_device(recipe):
    """The sheet's sizes: encoders, projectors and heads, without their memory."""
    lvm_med, virchow = recipe("lvm_med"), recipe("virchow")
    with torch.device("meta"):
        training = virchow.Training(virchow.PUBLISHED)
    assert training.student.patch_head.prototypes.shape == (65536, 256)
    assert {(plan.batch, plan.graph, plan.neighbours, plan.width) for plan in lvm_med.PLANS.values()} == {
        (800, 10, 5, 1024)
    }
