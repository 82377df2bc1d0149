"""Where a module's file lies, found without importing anything, not even the packages above it."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path


def module_file(name: str) -> Path | None:
    """The file of the module of this name; None where there is no such module, or it has no file."""
    spec = _spec(name)
    return None if spec is None or spec.origin is None else Path(spec.origin)


def _spec(name: str) -> ModuleSpec | None:
    top, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):  # a module that was made in a session has no spec
        return None
    for depth in range(len(rest)):
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(".".join((top, *rest[: depth + 1])), list(spec.submodule_search_locations))
    return spec
