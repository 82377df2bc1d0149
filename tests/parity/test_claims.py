"""Every kit has a test file that claims it: a kit that nobody holds our numbers against proves nothing."""

import ast
from pathlib import Path

from parity.kit import OWN, Kit, all_kits

NOT_YET = {  # families whose systems have not landed; a line goes when its test file comes
    "biomedgpt",
    "chatcad",
    "chatdoctor",
    "llavamed",
    "medblip",
    "medflamingo",
    "r2gcmn",
    "radfm",
    "xraygpt",
}


def claimed() -> set[str]:
    """The families that test files name in their `KITS`."""
    families: set[str] = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "KITS":
                families.update(ast.literal_eval(node.value))
    return families


def test_every_kit_of_the_repository_is_claimed():
    kits = [Kit(path.parent) for path in OWN.glob("*/config.json")]
    assert kits
    assert {kit.family for kit in kits} <= claimed()


def test_kits_found_elsewhere_are_claimed_or_known_to_be_ahead():
    assert {kit.family for kit in all_kits()} <= claimed() | NOT_YET


def test_the_list_of_kits_ahead_shrinks():
    assert not NOT_YET & claimed()
