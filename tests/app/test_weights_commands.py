"""`hilum weights`: tables on stdout, the rest on stderr, exit codes as promised; run in this process."""

import json

import pytest
import typer
from safetensors.torch import save_file
from torch_files import state
from typer.testing import CliRunner

from hilum import registry
from hilum.app import weights_commands
from hilum.app.outcome import Told
from hilum.weights import store

LAYOUT = {"encoder.weight": (6, 4), "encoder.bias": (6,), "decoder.weight": (4, 6), "steps": ()}


@pytest.fixture(autouse=True)
def _own(tmp_path, monkeypatch):
    """SAM's real cards, with a layout of four tensors."""
    monkeypatch.setenv("HILUM_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(weights_commands, "_layout", lambda system, tag: LAYOUT)


def run(*words: str):
    app = typer.Typer(cls=Told)
    app.add_typer(weights_commands.app, name="weights")
    return CliRunner().invoke(app, ["weights", *words])


def medsam(tmp_path, seed=0, name="medsam_vit_b.pth"):
    path = tmp_path / name
    save_file(state(seed), path)
    return str(path)


def test_list_shows_every_tag_of_every_card_and_its_state(tmp_path):
    run("import", medsam(tmp_path))
    rows = {row["name"]: row for row in json.loads(run("list", "--json").stdout)}
    wanted = {f"{name}.{entry.tag}" for name in registry.names() for entry in registry.card(name).weights}
    assert wanted <= set(rows)
    assert rows["medsam.vit_b"]["state"] == "imported"
    assert rows["medsam.vit_b"]["bytes"] == (store.place("medsam", "vit_b") / store.MODEL).stat().st_size
    assert rows["sam_study.vit_b"]["state"] == "absent"
    assert "hilum weights pull sam_study.vit_b" in rows["sam_study.vit_b"]["how"]
    lines = run("list").stdout.splitlines()
    assert lines[0].split()[:3] == ["weights", "state", "size"]
    assert any(line.startswith("medsam.vit_b") and "imported" in line and "Apache-2.0" in line for line in lines)


def test_where_says_the_folder_on_stdout_and_how_to_move_it_on_stderr(tmp_path):
    said = run("where")
    assert said.stdout.strip() == str(tmp_path / "weights")
    assert "HILUM_WEIGHTS" in said.stderr
    assert json.loads(run("where", "--json").stdout)["free"] > 0
    assert not (tmp_path / "weights").exists()


def test_import_says_what_it_recognised(tmp_path):
    said = run("import", medsam(tmp_path))
    assert said.exit_code == 0
    assert "medsam_vit_b.pth is medsam.vit_b: 4 tensors" in said.stdout
    assert "already here" in run("import", str(tmp_path / "medsam_vit_b.pth")).stdout


def test_import_refuses_a_wrong_hash_with_exit_2_and_takes_it_when_told(tmp_path):
    path = medsam(tmp_path, name="sam_vit_b_01ec64.pth")
    refused = run("import", path)
    assert refused.exit_code == 2
    assert "--accept-hash" in refused.stderr
    assert run("import", path, "--accept-hash").exit_code == 0
    assert store.record("sam_study", "vit_b").notes


def test_import_asks_for_as_where_the_name_does_not_say(tmp_path):
    path = medsam(tmp_path, name="weights.pth")
    asked = run("import", path)
    assert asked.exit_code == 2
    assert "--as " in asked.stderr
    assert "medsam.vit_b" in asked.stderr
    assert run("import", path, "--as", "medsam.vit_b").exit_code == 0


def test_import_of_nothing_is_one_sentence(tmp_path):
    said = run("import", str(tmp_path / "no.pth"))
    assert said.exit_code == 2
    assert said.stderr.strip().count("\n") == 0


def test_verify_ends_with_0_or_1(tmp_path):
    run("import", medsam(tmp_path))
    sound = run("verify", "medsam")
    assert sound.exit_code == 0
    assert sound.stdout.startswith("medsam.vit_b: sound")
    assert json.loads(run("verify", "medsam.vit_b", "--json").stdout)["sound"] is True
    path = store.place("medsam", "vit_b") / store.MODEL
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    changed = run("verify", "medsam.vit_b")
    assert changed.exit_code == 1
    assert "WRONG" in changed.stdout


def test_verify_of_what_is_not_here_says_how_to_get_it():
    said = run("verify", "sam_study.vit_b")
    assert said.exit_code == 1
    assert "hilum weights pull sam_study.vit_b" in said.stderr


def test_pull_says_the_licence_before_anything_else_and_ends_with_1_where_it_cannot(monkeypatch):
    said = run("pull", "medsam")
    assert said.exit_code == 1
    assert said.stderr.startswith("medsam.vit_b: licence Apache-2.0")
    assert "hilum weights import medsam_vit_b.pth" in said.stderr


def test_pull_of_an_unknown_tag_lists_the_known_ones():
    said = run("pull", "sam_study.vit_x")
    assert said.exit_code == 2
    assert "sam_study.vit_b, sam_study.vit_l, sam_study.vit_h" in said.stderr
    assert run("pull", "nobody").exit_code == 2
