"""The objective study on phantoms: every objective learns with what it should, a cell is measured, the page is made."""

import importlib
import json
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

RECIPES = Path(__file__).parents[2] / "recipes"
SHARED = {"vision", "words", "image", "text", "logit_scale"}
OWN = {"MaCo": {"guess", "worth"}, "BioViL": {"place", "word"}}  # what only these learn with
OBJECTIVES = ("InfoNCE", "MedCLIP", "MaCo", "KoBo", "BioViL", "true captions")


@pytest.fixture(scope="module")
def recipe():
    """Recipes by name, imported as they are run: with their own folder on the path."""
    sys.path.insert(0, str(RECIPES))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(RECIPES)):
            del sys.modules[name]
    sys.path.remove(str(RECIPES))


@pytest.fixture(scope="module")
def phantoms(recipe):
    """Films, brains and breasts of noise, each with what is known of it."""
    made, rng = recipe("captions").Known, np.random.default_rng(0)
    found = []
    for number in range(16):

        def add(source, way, organ, there, absent, view="", number=number):
            picture = rng.integers(0, 256, (1, 80, 72), dtype=np.uint8)
            name = f"{source}{number}"
            found.append(made(source, name, name, way, organ, picture, there, absent, view))

        view = ("AP", "PA")[number // 2 % 2]
        add("cxr", "xray", "chest", ("opacity",) if number % 2 else (), ("edema",), view)
        tumour = ("glioma", "meningioma", "pituitary tumour", "none")[number % 4]
        add("brain_mri", "mr", "head", () if tumour == "none" else (tumour,), ("brain tumour",))
        lesion = ("benign lesion", "malignant lesion", "none")[number % 3]
        add("ultrasound", "us", "breast", () if lesion == "none" else (lesion,), ("lesion",))
    return found


@pytest.fixture(scope="module")
def read(recipe):
    from hilum.parts import tokens

    return tokens.tokenizer(tokens.Reading("hashed", 24, size=4000), lambda: Path())


@pytest.fixture
def pairs(recipe, phantoms, read, monkeypatch):
    study = recipe("objective_study")
    monkeypatch.setattr(study, "BATCH", 6)
    return study.batch(recipe("biomedclip_pocket").Supply(phantoms, 0), read)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_objective_moves_its_own_parts_and_no_others(recipe, pairs, name):
    study = recipe("objective_study")
    torch.manual_seed(0)
    towers = study.Towers().train()
    total = study.OBJECTIVES[name](towers, pairs)
    total.backward()
    assert total.isfinite()
    moved = {part for part, each in towers.named_parameters() if each.grad is not None and each.grad.abs().sum() > 0}
    assert all(each.grad.isfinite().all() for each in towers.parameters() if each.grad is not None)
    assert {part.split(".")[0] for part in moved} == SHARED | OWN.get(name, set())
    missing = {part for part, _ in towers.named_parameters() if part.split(".")[0] in SHARED} - moved
    assert not {part for part in missing if "pooler" not in part and "token_type" not in part}, missing


def test_every_objective_is_studied(recipe):
    assert tuple(recipe("objective_study").OBJECTIVES) == OBJECTIVES


def test_all_objectives_see_the_same_pairs(recipe, phantoms, read, monkeypatch):
    study, pocket = recipe("objective_study"), recipe("biomedclip_pocket")
    monkeypatch.setattr(study, "BATCH", 4)
    one, other = (study.batch(pocket.Supply(phantoms, 3), read) for _ in range(2))
    assert torch.equal(one.pixels, other.pixels)
    assert torch.equal(one.ids, other.ids)
    assert one.told == other.told


def test_knowledge_of_a_claim_is_turned_round_for_its_denial(recipe):
    knowledge = recipe("objective_study").knowledge
    claim, denial = (knowledge(frozenset({(kind, "edema")})) for kind in ("there", "absent"))
    np.testing.assert_allclose(claim, -denial)
    assert np.linalg.norm(claim) == pytest.approx(1, abs=1e-5)
    assert not knowledge(frozenset()).any()


def test_near_copies_do_not_count_and_films_by_patient_do(recipe, phantoms):
    table = recipe("objective_study_table")
    brains = [each for each in phantoms if each.source == "brain_mri"]
    films = [each for each in phantoms if each.source == "cxr"]
    fresh = [each for each in phantoms if each.source == "ultrasound"]
    counts = table.new([*brains, *films, *fresh[:1]], [*brains, *films, *fresh[1:]])
    assert not counts[: len(brains)].any()
    assert counts[len(brains) : len(brains) + len(films)].all()
    assert counts[len(brains) + len(films) :].any()


def test_cells_are_kept_and_a_page_and_a_figure_come_of_them(recipe, phantoms, read, monkeypatch, tmp_path):
    study, table, pocket = (recipe(name) for name in ("objective_study", "objective_study_table", "biomedclip_pocket"))
    learned, held = phantoms[:24], phantoms[24:]
    torch.save(phantoms, tmp_path / "bank.pt")
    monkeypatch.setattr(pocket, "OUT", tmp_path)
    monkeypatch.setattr(pocket, "split", lambda _: (learned, held))
    monkeypatch.setattr(study, "BATCH", 6)
    monkeypatch.setattr(study.tokens, "tokenizer", lambda *_: read)
    chosen = {name: study.OBJECTIVES[name] for name in ("InfoNCE", "MaCo")}
    monkeypatch.setattr(study, "OBJECTIVES", chosen)
    monkeypatch.setattr(table, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(table, "FIGURE", tmp_path / "figure.png")
    (tmp_path / "page.md").write_text("before\n<!-- measured -->\n<!-- end -->\nafter\n")
    given = Namespace(out=tmp_path / "cells", seeds=1, steps=2)
    study.run(given)
    files = sorted(given.out.glob("*.json"))
    assert [json.loads(file.read_text())["objective"] for file in files] == ["InfoNCE", "MaCo"]
    kept = files[0].read_bytes()
    files[1].unlink()
    study.run(given)
    assert files[0].read_bytes() == kept
    assert files[1].is_file()
    table.table(given)
    page = (tmp_path / "page.md").read_text()
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    assert "| MaCo |" in page
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_the_difference_of_an_objective_to_itself_is_nothing(recipe):
    table, rng = recipe("objective_study_table"), np.random.default_rng(0)
    truth = np.repeat(["a", "b"], 20)
    column = {"truth": truth, "found": rng.permutation(truth), "group": np.arange(40).astype(str)}
    right = column | {"found": truth}
    own, same, better = (table.drawn([each] * 3, "modality", draws=100) for each in (column, column, right))
    assert not table.apart(same, own)
    assert table.apart(better, own)
    assert better[0] == 1
