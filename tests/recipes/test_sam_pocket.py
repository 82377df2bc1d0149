"""The pocket SAM's recipe at a size of seconds: its bank, its batches, a few steps, a checkpoint."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture(scope="module", autouse=True)
def recipes():
    sys.path.insert(0, str(RECIPES))
    yield
    sys.path.remove(str(RECIPES))


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    """A source of pictures with masks, made by code, and one of trees."""
    import sam_pocket_data as data

    folder = tmp_path_factory.mktemp("run") / "bank"
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:90, :120]

    def pictures():
        for number in range(24):
            masks = np.stack([np.hypot(x - cx, y - cy) < 14 for cx, cy in rng.uniform(20, 70, (3, 2))])
            yield data.Labelled((40 + 150 * masks.any(0)[..., None]).astype(np.uint8), masks, f"disc {number}")

    counts = data.save(folder / "bodies", pictures())
    assert sum(counts.values()) == 24
    assert set(counts) == {"held", "train"}
    data.save_scenes(folder / "trees", iter([data.tree(rng) for _ in range(20)]), 20)
    return folder


def test_a_picture_keeps_its_shape_in_the_bank(bank):
    """120 x 90 becomes 256 x 192, the rest is empty."""
    import sam_pocket_batch as batches

    source = batches.open_bank(bank, "train")["bodies"]
    masks = np.unpackbits(source.masks[0], axis=-1).astype(bool)
    assert not source.images[0][:, 192:].any()
    assert not masks[:, 192:].any()
    rows, columns = np.ptp(np.flatnonzero(masks[0].any(1))) + 1, np.ptp(np.flatnonzero(masks[0].any(0))) + 1
    assert abs(rows - columns) <= 1


def test_masks_follow_the_picture_and_prompts_lie_on_their_masks(bank):
    import sam_pocket_batch as batches

    source = batches.open_bank(bank, "train")["bodies"]
    rng = np.random.default_rng(1)
    for _ in range(8):
        seen = batches.view(source, rng, 64)
        if seen is None:
            continue
        bright = seen.image[0].numpy() > 0.42
        assert all((bright & mask).sum() > 0.9 * mask.sum() for mask in seen.masks)
        assert seen.masks.shape[0] == batches.TOGETHER
        prompts = batches.opening(seen.masks, rng)
        if prompts.points is not None:
            at = prompts.points.numpy().astype(int)
            assert all(mask[y, x] for mask, spots in zip(seen.masks, at, strict=True) for x, y in spots)


def test_a_correction_lies_in_the_error_and_carries_the_logits(bank):
    import sam_pocket_batch as batches

    from hilum.parts.sam import SamBatch
    from hilum.parts.sam_prompt_encoder import SamPrompts

    masks = torch.zeros(2, 1, 32, 32)
    masks[:, :, 8:20, 8:20] = 1
    guess = torch.full((2, 1, 32, 32), -5.0)
    guess[1, :, 8:20, 8:20] = 5
    batch = SamBatch(torch.zeros(1, 3, 32, 32), SamPrompts(boxes=torch.tensor([[8.0, 8, 19, 19]] * 2)), masks)
    said = batches.corrected(batch, guess, torch.zeros(2, 1, 8, 8), np.random.default_rng(0), silent=False).prompts
    column, row = said.points[0, 0].int().tolist()
    assert masks[0, 0, row, column] == 1
    assert said.inside[0, 0]
    assert said.present[:, 0].tolist() == [True, False]
    assert said.boxes is not None
    assert said.masks.shape == (2, 1, 8, 8)
    again = batches.corrected(
        replace(batch, prompts=said), guess, torch.zeros(2, 1, 8, 8), np.random.default_rng(1), silent=False
    )
    assert again.prompts.points.shape == (2, 2, 2)


def test_a_run_learns_and_goes_on_from_its_checkpoint(bank):
    import sam_pocket_batch as batches
    import sam_pocket_loop as loop

    from hilum.parts.sam import TINY

    plan = loop.Plan(TINY, bank.parent, 0.0, 1e12, processes=1, pictures=2)
    run = loop.Run(plan)
    rng = np.random.default_rng(0)
    known = batches.open_bank(bank, "train")
    losses = []
    for _ in range(24):
        losses.append(loop.step(run, batches.sample({"bodies": known["bodies"]}, rng, 2, 64), rng)["loss"])
        run.steps += 1
    loop.together(run)
    assert np.mean(losses[-6:]) < np.mean(losses[:6])
    run.save()
    later = loop.Run(plan)
    later.load()
    assert later.steps == 24
    assert all(torch.equal(a, b) for a, b in zip(later.mean.parameters(), run.mean.parameters(), strict=True))
    held = loop.validate(run.mean, batches.open_bank(bank, "held"), 64, count=2)
    assert set(held["bodies"]) == {"box", "shuffled", "click", "ellipse"}
    assert held["bodies"]["ellipse"] > 0.8


def test_no_target_of_the_study_is_among_the_sources():
    import sam_pocket_data as data

    assert not any("ultrasound" in name or "retina" in name or "cxr" in name for name in data.TEXTURES)
    assert set(data.LICENCES) == {"regions", "bodies", "brain", "threshold", "organs", "tumour", "scenes", "trees"}
