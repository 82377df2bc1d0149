"""The loop learns, stops when nothing is gained, and goes on after a kill as if nothing had been."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from train.cases import cases

from hilum import registry
from hilum.train.augment import varied
from hilum.train.loop import Material, Plan, Run
from hilum.values.errors import BadInput

PLAN = Plan(steps=6, batch=2, rate=1e-3, every=3, warmup=2, save_seconds=0.0)


@pytest.fixture
def material():
    return Material(cases(range(3)), cases(range(10, 12)))


def tiny():
    return registry.find("scout").tiny()


def test_a_run_learns(material, tmp_path):
    plan = replace(PLAN, steps=40, every=40, rate=3e-3)
    course = Run(tiny(), plan, tmp_path / "t.safetensors").train(material)
    assert np.mean(course.losses[-8:]) < 0.9 * np.mean(course.losses[:8])
    assert course.ended == "all 40 steps were done"


def test_a_killed_run_goes_on_as_if_nothing_had_been(material, tmp_path):
    straight = Run(tiny(), PLAN, tmp_path / "a.safetensors")
    straight.train(material)
    first = Run(tiny(), PLAN, tmp_path / "b.safetensors")
    step = first.step

    def killed(given):
        if first.course.step == 4:
            raise KeyboardInterrupt
        step(given)

    first.step = killed
    with pytest.raises(KeyboardInterrupt):
        first.train(material)
    second = Run(tiny(), PLAN, tmp_path / "b.safetensors")
    course = second.train(material)
    assert course.losses == straight.course.losses
    assert course.held == straight.course.held
    for name, weight in straight.weights.items():
        assert torch.equal(second.weights[name], weight), name


def test_it_ends_when_the_held_part_gains_nothing(material, tmp_path):
    plan = replace(PLAN, steps=1000, rate=0.0, every=1, patience=2)
    course = Run(tiny(), plan, tmp_path / "t.safetensors").train(material)
    assert course.step == 2
    assert course.best == 0
    assert "not gained for 2 looks" in course.ended


def test_the_best_weights_are_kept_not_the_last(material, tmp_path):
    """A rate that ruins the network: what is left afterwards scores as the best look at the held part did."""
    system = tiny()
    run = Run(system, replace(PLAN, rate=0.5), tmp_path / "t.safetensors")
    course = run.train(material)
    assert course.held[-1][1] < course.best_score
    assert material.score(system) == course.best_score == max(score for _, score in course.held)


def test_another_trainings_checkpoint_is_refused(material, tmp_path):
    Run(tiny(), PLAN, tmp_path / "t.safetensors").train(material)
    other = tiny()
    for name, each in other.network.named_parameters():
        each.requires_grad_(name.startswith("unet.masks"))
    with pytest.raises(BadInput, match="left by another training"):
        Run(other, PLAN, tmp_path / "t.safetensors").train(material)
    for each in other.network.parameters():
        each.requires_grad_(False)
    with pytest.raises(BadInput, match="leaves nothing to train"):
        Run(other, PLAN, tmp_path / "t.safetensors")


def test_variations_keep_image_and_mask_together():
    (sample,) = cases([5])[0].samples
    inside = sample.image.array[0][sample.masks[0]].mean()
    for seed in range(12):
        changed = varied(sample, np.random.default_rng(seed))
        assert changed.image.array[0][changed.masks[0]].mean() == inside
        assert changed.image.display(changed.image.array).dtype == np.float32
