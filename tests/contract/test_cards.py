"""Every card is complete and true to its file."""

import json
import subprocess
import sys

import pytest

from hilum import registry
from hilum.capabilities.system import System

ALL = registry.names()


def test_no_system_is_broken():
    assert registry.broken() == {}


@pytest.mark.parametrize("name", ALL)
def test_card_is_complete(name):
    card = registry.card(name)
    assert card.name == name
    for text in (card.title, card.citation, card.algorithm, card.summary):
        assert text.strip()
    assert card.capabilities
    assert card.tasks
    assert card.modalities
    assert card.organs
    assert card.returns
    assert card.accepts or card.default
    assert (card.row is None) == (card.family == "house")
    for entry in card.weights:
        assert entry.licence
        assert entry.source
        assert entry.file


@pytest.mark.parametrize("name", ALL)
def test_name_is_the_file_and_the_class_reads_the_same_card(name):
    entry = registry.find(name)
    system_class = entry.system_class()
    assert entry.module.rpartition(".")[2] == name
    assert issubclass(system_class, System)
    assert system_class.card == entry.card


@pytest.mark.parametrize("name", ALL)
def test_every_tag_has_its_sizes(name):
    entry = registry.find(name)
    assert {weights.tag for weights in entry.card.weights} == set(entry.system_class().configs)


def test_importing_systems_touches_neither_network_nor_disk():
    """One fresh process for all: sockets and opens for writing are audited while the modules are imported."""
    modules = [registry.find(name).module for name in ALL]
    program = f"""
import importlib, json, sys
import torch, numpy, scipy.ndimage  # libraries may do as they like
touched = []
def hook(event, args):
    if event.startswith("socket.") and event not in ("socket.__new__",):
        touched.append(event)
    if event == "open" and isinstance(args[1], str) and any(c in args[1] for c in "wax+"):
        touched.append(f"open {{args[0]}}")
sys.addaudithook(hook)
for module in {modules!r}:
    importlib.import_module(module)
print(json.dumps(touched))
"""
    done = subprocess.run([sys.executable, "-B", "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_the_class_is_final_where_the_house_says_so():
    final = ("look", "ask", "run", "open", "layout", "placed", "seeded")
    for name in ALL:
        overridden = set(final) & set(vars(registry.find(name).system_class()))
        assert not overridden, f"{name} overrides {overridden}"
