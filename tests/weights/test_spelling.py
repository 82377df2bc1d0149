"""Files that spell their names in another way, or carry what a layout does not have, are recognised by a table."""

import torch

from hilum.weights.importer import import_file
from hilum.weights.recognise import Candidate, fit
from hilum.weights.rename import Ignore, Rule, Table
from hilum.weights.tensor_file import shapes

LAYOUT = {"blocks.0.mlp.fc1.weight": (4, 2), "norm.weight": (2,)}
SPELLING = Table(Ignore(r"dino_head\..*"), Rule(r"^backbone\.", r""), Rule(r"mlp\.w12\.", r"mlp.fc1."))
TEACHER = {"backbone.blocks.0.mlp.w12.weight": (4, 2), "backbone.norm.weight": (2,), "dino_head.mlp.0.weight": (3, 3)}


def candidate(spelling=SPELLING) -> Candidate:
    return Candidate("vit", "dino", "dino.pth", lambda: LAYOUT, spelling=lambda: spelling)


def test_another_spelling_and_training_heads_fit():
    found = fit(candidate(), TEACHER)
    assert not found.wrong
    assert found.names == {
        "backbone.blocks.0.mlp.w12.weight": "blocks.0.mlp.fc1.weight",
        "backbone.norm.weight": "norm.weight",
    }
    assert found.ignored == ("dino_head.mlp.0.weight",)


def test_the_layouts_own_spelling_fits_too_and_a_wrapper_with_it():
    assert not fit(candidate(), LAYOUT).wrong
    assert fit(candidate(), {f"module.{name}": shape for name, shape in LAYOUT.items()}).prefix == "module."


def test_without_a_table_the_same_file_is_refused():
    assert fit(candidate(Table()), TEACHER).wrong


def test_such_a_file_is_stored_under_the_layouts_names(tmp_path, monkeypatch):
    monkeypatch.setenv("HILUM_WEIGHTS", str(tmp_path / "weights"))
    teacher = {name: torch.rand(shape) for name, shape in TEACHER.items()}
    torch.save({"teacher": teacher, "epoch": 3}, tmp_path / "dino.pth")
    (imported,) = import_file(tmp_path / "dino.pth", [candidate()])
    assert shapes(imported.weights.path) == LAYOUT
    assert imported.record.wrappers == ("teacher",)
    assert imported.record.ignored == ("dino_head.mlp.0.weight",)
