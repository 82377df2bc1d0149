"""Keeps the taste of the house: lengths, names, and what must not stand in the package."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "hilum").rglob("*.py"))
EMPTY_NAMES = {"utils", "util", "common", "helpers", "helper", "misc", "base", "core", "manager", "engine", "wrapper"}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in FILES:
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def test_a_file_is_one_idea_of_at_most_400_lines_with_a_name_that_says_something():
    assert [named(path) for path in FILES if len(path.read_text(encoding="utf-8").splitlines()) > 400] == []
    assert [named(path) for path in FILES if path.stem in EMPTY_NAMES] == []


def test_a_file_begins_by_saying_what_it_is():
    assert [named(path) for path, tree in trees() if not ast.get_docstring(tree)] == []


def _faults(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.ExceptHandler(type=None):
                found.append(f"line {node.lineno}: bare except")
            case ast.Call(func=ast.Name(id="hasattr" | "print" | "eval" | "exec" as name)):
                found.append(f"line {node.lineno}: {name}")
            case ast.Call(func=ast.Attribute(attr="load_state_dict"), keywords=keywords):
                found += [
                    f"line {node.lineno}: strict=False"
                    for word in keywords
                    if word.arg == "strict" and isinstance(word.value, ast.Constant) and word.value.value is False
                ]
    return found


def test_no_bare_except_hasattr_print_or_loose_loading():
    assert {named(path): found for path, tree in trees() if (found := _faults(tree))} == {}


def test_the_taste_test_can_fail():
    bad = "try:\n    print(hasattr(x, 'y'))\nexcept:\n    net.load_state_dict(x, strict=False)\n"
    assert len(_faults(ast.parse(bad))) == 4


def _unwieldy(tree: ast.Module) -> list[str]:
    long = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            doc = ast.get_docstring(node)
            lines = (node.end_lineno or node.lineno) - node.lineno + 1 - (len(doc.splitlines()) if doc else 0)
            if lines > 45 or len(node.args.args) > 7:
                long.append(f"{node.name}: {lines} lines, {len(node.args.args)} positional arguments")
    return long


def test_functions_are_short_and_take_few_arguments():
    """The commands of the app are excused: their arguments are the options that a user sees."""
    below = ((path, tree) for path, tree in trees() if "app" not in path.parts)
    assert {named(path): found for path, tree in below if (found := _unwieldy(tree))} == {}


def test_pickle_is_read_in_one_place_only():
    users = [named(path) for path in FILES if re.search(r"^\s*(import pickle|from pickle)", path.read_text(), re.M)]
    assert set(users) <= {"hilum/weights/inert.py"}
    loads = [named(path) for path in FILES if "torch.load(" in path.read_text()]
    assert set(loads) <= {"hilum/weights/unpickle.py"}


def test_nothing_tracked_is_large_but_pocket_weights():
    import subprocess

    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split(
        "\n"
    )
    sizes = {name: (ROOT / name).stat().st_size for name in tracked if name and (ROOT / name).is_file()}
    pocket = {name: size for name, size in sizes.items() if name.startswith("hilum/weights/pocket/")}
    assert all(size <= 25 << 20 for size in pocket.values())
    assert sum(pocket.values()) <= 80 << 20
    assert [name for name, size in sizes.items() if size > 5_000_000 and name not in pocket] == []
