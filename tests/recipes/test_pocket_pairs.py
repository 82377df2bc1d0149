"""The pocket two-tower's recipe on made pictures: captions say what is known, phrasings are apart, steps learn."""

import sys
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
def pictures():
    """Bright films with an effusion, dark ones without, and brains."""
    from captions import Known

    rng, found = np.random.default_rng(0), []
    for number in range(24):
        light = 40 + 150 * (number % 2)
        plane = rng.normal(light, 10, (1, 40, 44)).clip(0, 255).astype(np.uint8)
        there, absent = (("effusion",), ("mass",)) if number % 2 else ((), ("effusion", "mass"))
        found.append(Known("cxr", f"{number}", f"p{number}", "xray", "chest", plane, there, absent, "PA"))
        found.append(Known("brain_mri", f"{number}", f"g{number}", "mr", "head", plane[:, ::-1], ("glioma",)))
    return found


def test_a_caption_tells_only_what_is_known_and_its_facts_are_in_it(pictures):
    rng = np.random.default_rng(1)
    for each in pictures:
        for _ in range(20):
            text, facts = each.caption(rng)
            assert facts <= each.facts
            assert text
            assert ("absent", "effusion") not in facts or any(word in text for word in ("no", "with", "free", "absent"))


def test_healthy_is_who_was_looked_at_and_has_nothing(pictures):
    assert pictures[0].healthy
    assert not pictures[2].healthy
    assert ("there", "healthy") in pictures[0].facts


def test_phrasings_that_measure_are_none_that_train():
    import phrases

    assert not {*phrases.HELD_SEEN, *phrases.HELD_UNSEEN} & {*phrases.SEEN, *phrases.UNSEEN}
    assert len(phrases.HELD_SEEN) == len(phrases.HELD_UNSEEN)


def test_pictures_that_look_alike_are_one_group():
    from captions import groups

    rng = np.random.default_rng(0)
    one, other = (rng.integers(0, 256, (1, 16, 16), dtype=np.uint8).repeat(8, 1).repeat(8, 2) for _ in range(2))
    found = groups([one, np.clip(one.astype(int) + 2, 0, 255).astype(np.uint8), other])
    assert found[0] == found[1] != found[2]


def test_the_split_of_the_shipped_weights_is_by_name(pictures, monkeypatch, tmp_path):
    import biomedclip_pocket as recipe

    (tmp_path / "held.txt").write_text("cxr/3\nbrain_mri/5\n")
    monkeypatch.setattr(recipe, "HELD", tmp_path / "held.txt")
    learned, held = recipe.split(pictures)
    assert [(each.source, each.name) for each in held] == [("cxr", "3"), ("brain_mri", "5")]
    assert len(learned) == len(pictures) - 2


def test_some_steps_make_the_loss_smaller(pictures, monkeypatch):
    import biomedclip_pocket as recipe

    from hilum.parts import tokens
    from hilum.systems.biomedclip import TINY, BiomedClip

    monkeypatch.setattr(recipe, "BATCH", 12)
    torch.manual_seed(0)
    network = BiomedClip.seeded(TINY, 0).network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    supply, read = recipe.Supply(pictures, 0), tokens.tokenizer(TINY.reading, Path)
    losses = []
    for _ in range(40):
        total, *terms = recipe.loss(network, read, supply.draw(32))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(float(total.detach()))
        assert all(term.isfinite() for term in terms)
    assert np.mean(losses[-8:]) < np.mean(losses[:8]) - 0.2


def test_every_objective_of_the_study_is_finite_and_reaches_both_towers(pictures, monkeypatch):
    import objective_study as study

    monkeypatch.setattr(study, "BATCH", 6)

    def read(texts):
        return tokens.tokenizer(tokens.Reading("hashed", 24, size=200), Path)(texts)

    from hilum.parts import tokens

    torch.manual_seed(0)
    towers = study.Towers()
    pairs = study.batch(study.pocket.Supply(pictures, 0), read)
    for name, objective in study.OBJECTIVES.items():
        towers.zero_grad()
        total = objective(towers, pairs)
        assert total.isfinite(), name
        total.backward()
        for part in (towers.vision.blocks[0].mlp.fc1.weight, towers.words.encoder.layer[0].intermediate.dense.weight):
            assert part.grad.abs().sum() > 0, name
