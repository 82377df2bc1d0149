"""The plug-in door: what another package brings is there like any other system; what is broken is told and no more.

The package is the one that `hilum new-system` writes, built and installed by pip, offline.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

import hilum as house
from hilum import registry
from hilum.app import health
from hilum.app.cli import main
from hilum.app.new_system import texts
from plugged import lay, plugged

ROOT = Path(__file__).parents[2]
CARD = texts("glow")["glow.toml"]
CODE = texts("glow")["glow.py"]
BOX = ("--box", "8,6:32,30")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the new system, installed by pip without a network."""
    folder = tmp_path_factory.mktemp("door")
    with pytest.raises(SystemExit) as ended:
        main(["new-system", "glow", "-o", str(folder / "glow")])
    assert not ended.value.code
    words = ["install", "-q", "--no-index", "--no-build-isolation", "--no-deps", "--no-compile", "--target"]
    quiet = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    subprocess.run([sys.executable, "-m", "pip", *words, folder / "site", folder / "glow"], check=True, env=quiet)
    return folder / "site"


@pytest.fixture
def glow(site):
    """The new system, in this process."""
    with plugged(site):
        yield site


def findings():
    return {each.what: each for each in health.plugins()}


def test_it_is_listed_and_has_its_card(hilum, glow):
    assert "glow" in registry.names(capability="segment", accepts="points")
    assert "glow" in hilum("list").out
    [told] = [each for each in json.loads(hilum("list", "--json").out) if each["name"] == "glow"]
    assert told["weights_here"] == ["rule"]
    assert "glow.py, package:glow" in hilum("card", "glow", "--here").out


def test_it_answers_on_the_command_line_and_in_python(hilum, glow, disc, tmp_path):
    ended = hilum("ask", "glow", disc, "--point", "20,18", "-o", tmp_path / "mask.png", "--preview", tmp_path / "p.png")
    assert ended.code == 0, ended.err
    with Pillow.open(tmp_path / "mask.png") as mask:
        assert (np.array(mask) > 0).sum() == 249
    answer = house.load("glow").ask(house.read(disc), house.Box((8, 6), (32, 30)))
    assert answer.voxels() == (249,)
    assert answer.provenance.weights == "glow.rule"
    assert hilum("weights", "verify", "glow").code == 0


def test_it_is_measured_like_any_other(hilum, glow, disc, tmp_path):
    for kind in ("images", "labels"):
        (tmp_path / "pairs" / "discs" / kind).mkdir(parents=True)
    with Pillow.open(disc) as picture:
        picture.save(tmp_path / "pairs" / "discs" / "images" / "0.png")
        Pillow.fromarray((np.array(picture) > 99).astype(np.uint8)).save(
            tmp_path / "pairs" / "discs" / "labels" / "0.png"
        )
    ended = hilum("bench", "segment", "--system", "glow", "--data", tmp_path / "pairs", "--prompts", "box")
    assert ended.code == 0, ended.err
    assert "1.00" in ended.out


def test_the_doctor_says_whose_it_is(hilum, glow):
    assert findings()["plug-in glow"] == health.Finding("plug-in glow", "ok", "glow 0.1.0, glow")


def test_a_program_of_its_own_sees_it_too(site, disc):
    words = ["list", "--accepts", "points"]
    path = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
    ran = subprocess.run(
        [sys.executable, "-m", "hilum.app.cli", *words],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "glow" in ran.stdout.split()


def test_its_own_test_passes_and_so_does_the_contract(site):
    """Both in one run of pytest, as the page says it."""
    path = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
    tests = [site.parent / "glow" / "test_glow.py", ROOT / "tests" / "contract"]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-k", "glow", *tests],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    assert int(ran.stdout.splitlines()[-1].split()[0]) >= 20


def card(**changes):
    """The card with lines changed."""
    lines = CARD.splitlines()
    for field, value in changes.items():
        lines = [f"{field} = {value}" if line.startswith(f"{field} =") else line for line in lines]
    return "\n".join(lines)


GOOD = {"glow.py": CODE, "glow.toml": CARD}
BROKEN = {  # what is wrong -> files, entry points, the sentence
    "no card": ({"glow.py": CODE}, None, "its card glow.toml is missing beside the module"),
    "no TOML": ({**GOOD, "glow.toml": "name = glow"}, None, "glow.toml: "),
    "not UTF-8": ({**GOOD, "glow.toml": b"\xff\xfe"}, None, "glow.toml: "),
    "a word": ({**GOOD, "glow.toml": card(family='"dream"')}, None, "glow.toml: card glow: family takes tpm-contr"),
    "a field": ({**GOOD, "glow.toml": CARD + "colour = 1\n"}, None, "card glow, weights rule: unknown field colour"),
    "a type": ({**GOOD, "glow.toml": card(tasks='"all"')}, None, "card glow: tasks is a list of texts, got 'all'"),
    "a number": ({**GOOD, "glow.toml": card(year='"new"')}, None, "card glow: year is a whole number, got 'new'"),
    "a gap": ({**GOOD, "glow.toml": 'name = "glow"\nyear = 2026'}, None, "card glow: missing field title, citation, "),
    "a name": ({**GOOD, "glow.toml": card(name='"my.glow"')}, None, "a name is lower case letters, digits and und"),
    "no prompt": ({**GOOD, "glow.toml": card(accepts="[]")}, None, "wanted prompts that it accepts, or a default"),
    "a clash": ({**GOOD, "glow.toml": card(name='"scout"')}, None, "the name scout is taken by hilum itself; give"),
    "weights": (
        {**GOOD, "glow.toml": 'weights = "x"\n' + CARD.split("[excuses]")[0]},
        None,
        "weights are tables, each",
    ),
    "no module": (GOOD, "[hilum.systems]\nglow = nothing_like_this", "names the module nothing_like_this, and there"),
    "no word": (
        GOOD,
        "[hilum.systems]\nglow = my glow!",
        "names 'my glow!', which is no module; wanted glow = \"glow\"",
    ),
    "a package": ({"glow/__init__.py": ""}, None, "names the package glow; wanted the module in it that holds SYSTEM"),
    "torn points": (GOOD, "[hilum.systems]\nglow", "its list of entry points cannot be read"),
    "an import": (
        {**GOOD, "glow.py": "import nothing_like_this"},
        None,
        "cannot be imported: No module named",
    ),
    "a slip": ({**GOOD, "glow.py": "def"}, None, "the module of glow cannot be imported: SyntaxError: invalid syn"),
    "an error": ({**GOOD, "glow.py": "1 / 0"}, None, "cannot be imported: ZeroDivisionError: division by zero"),
    "an exit": ({**GOOD, "glow.py": "raise SystemExit"}, None, "cannot be imported: SystemExit: without a word"),
    "no SYSTEM": ({**GOOD, "glow.py": ""}, None, "the module glow has no system: wanted SYSTEM = its class"),
    "another": ({**GOOD, "glow.py": "SYSTEM = dict"}, None, "the module glow has no system: wanted SYSTEM = its"),
    "half": ({**GOOD, "glow.py": CODE.replace("def costly", "def cost")}, None, "is not finished: it lacks costly"),
    "a size": ({**GOOD, "glow.py": CODE.replace('"rule":', '"law":')}, None, "no sizes (configs) for its weights rule"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_one_is_told_in_one_sentence_and_breaks_nothing(hilum, what, tmp_path, disc, monkeypatch):
    files, points, sentence = BROKEN[what]
    before = registry.names()
    lay(tmp_path / "site", "glow", files, points)
    monkeypatch.setattr(health, "findings", health.plugins)
    with plugged(tmp_path / "site"):
        [finding] = findings().values()
        assert sentence in finding.found
        assert "\n" not in finding.found
        assert finding.state == "broken"
        assert finding.mend
        assert hilum("doctor").code == 1
        listed = hilum("list")
        assert listed.code == 0
        assert set(before) <= set(registry.names())
        assert hilum("ask", disc, *BOX, "--backend", "torch").code == 0


def test_an_entry_point_may_name_its_class_or_a_module_in_a_package(tmp_path, disc):
    points = "[hilum.systems]\nglow = lamps.inner.glow:SYSTEM"
    files = {"lamps/__init__.py": "1 / 0", "lamps/inner/__init__.py": "", "lamps/inner/glow.py": CODE}
    text = CARD.replace("package:glow", "package:lamps.inner.glow")
    lay(tmp_path, "lamps", {**files, "lamps/inner/glow.toml": text}, points)
    with plugged(tmp_path):
        assert registry.card("glow").name == "glow", "the packages above are not imported for the card"
        assert "ZeroDivisionError" in findings()["plug-in glow"].found
    (tmp_path / "lamps" / "__init__.py").write_text("")
    with plugged(tmp_path):
        assert house.load("glow").ask(house.read(disc), house.Points([[20, 18]])).voxels() == (249,)


def test_of_two_packages_with_one_name_the_second_is_told_of_the_first(tmp_path):
    lay(tmp_path / "a", "glow", GOOD)
    lay(tmp_path / "b", "shine", {"shine.py": CODE, "shine.toml": CARD})
    with plugged(tmp_path / "a"), plugged(tmp_path / "b"):
        told = [each.found for each in findings().values() if each.state == "broken"]
        assert len(told) == 1
        assert "the name glow is taken by" in told[0]
        assert registry.find("glow").package in told[0]


def test_the_same_package_twice_on_the_path_is_one(tmp_path):
    lay(tmp_path / "a", "glow", GOOD)
    lay(tmp_path / "b", "glow", GOOD)
    with plugged(tmp_path / "a"), plugged(tmp_path / "b"):
        assert [each.state for each in findings().values()] == ["ok"]


def test_a_broken_one_that_is_asked_by_name_answers_with_the_sentence(hilum, tmp_path, disc):
    lay(tmp_path, "glow", {**GOOD, "glow.py": "1 / 0"})
    with plugged(tmp_path):
        ended = hilum("ask", "glow", disc, *BOX)
    assert ended.code == 1
    assert "the module of glow cannot be imported: ZeroDivisionError: division by zero" in ended.err


def test_who_is_chosen_is_never_a_broken_one(hilum, tmp_path, disc, monkeypatch):
    lay(tmp_path / "a", "glow", {**GOOD, "glow.py": "1 / 0"})
    lay(tmp_path / "b", "shine", {key.replace("glow", "shine"): text for key, text in texts("shine").items()})
    with plugged(tmp_path / "a"), plugged(tmp_path / "b"):
        entries, broken = registry._found()
        both = {name: entries[name] for name in ("glow", "shine")}
        with monkeypatch.context() as patch:
            patch.setattr(registry, "_found", lambda: (both, broken))
            ended = hilum("ask", disc, *BOX)
    assert ended.code == 0
    assert "glow is passed by: the module of glow cannot be imported" in ended.err
    assert "shine answers" in ended.err


LEARNED = CODE.replace("return nn.Identity()", "return nn.Conv2d(1, 1, 1)")
WITH_WEIGHTS = CARD.replace('file = "glow.py"', 'file = "glow.safetensors"')


def test_weights_of_its_own_lie_beside_its_module(hilum, tmp_path):
    import torch
    from safetensors.torch import save

    state = {"weight": torch.full((1, 1, 1, 1), 3.0), "bias": torch.zeros(1)}
    lay(tmp_path, "glow", {"glow.py": LEARNED, "glow.toml": WITH_WEIGHTS, "glow.safetensors": save(state)})
    with plugged(tmp_path):
        system = house.load("glow")
        assert system.network.weight.item() == 3.0
        assert hilum("weights", "verify", "glow").code == 0
        (tmp_path / "glow.safetensors").unlink()
        ended = hilum("ask", "glow", tmp_path / "glow.py", *BOX)
        assert ended.code != 0
        [told] = [each for each in health.weights() if each.what == "weights glow"]
        assert told.mend == "glow.safetensors ships with the package and is missing; install the package of glow again."


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("My-System", "is no name of a system; wanted lower case letters"),
        ("class", "is no name of a system"),
        ("scout", "the name scout is taken: hilum card scout says by what"),
        ("random", "a module called random is here already"),
        ("numpy", "a module called numpy is here already"),
    ],
)
def test_a_name_that_cannot_be_is_refused_and_nothing_is_written(hilum, name, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = hilum("new-system", name)
    assert ended.code == 2
    assert sentence in ended.err
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_is_left_alone(hilum, tmp_path):
    ended = hilum("new-system", "glow", "-o", tmp_path)
    assert ended.code == 2
    assert "is there already and is left as it is" in ended.err
    assert not list(tmp_path.iterdir())
