"""Plug-ins: systems of other packages, by their entry points. Their cards are files: nothing of theirs is imported.

In a package's metadata `[project.entry-points."hilum.systems"]` names a module; its card is the .toml file beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import Path

from .io.module_file import module_file

GROUP = "hilum.systems"


@dataclass(frozen=True, slots=True)
class Plugin:
    """A module that an entry point names, its card's file (which may be missing), and the package it comes with."""

    module: str
    card: Path
    package: str


def found() -> tuple[list[Plugin], dict[str, str]]:
    """All that are installed, and what is broken: entry point -> the sentence that says why."""
    there: dict[str, Plugin] = {}
    broken: dict[str, str] = {}
    for package in distributions():
        try:
            points = [point for point in package.entry_points if point.group == GROUP]
        except (OSError, ValueError, TypeError, AttributeError) as error:  # how a torn entry_points.txt is refused
            if _concerns(package):
                broken[_named(package)] = f"its list of entry points cannot be read ({type(error).__name__})"
            continue
        for point in points:
            module = point.value.strip().removesuffix(":SYSTEM")
            if module in there:  # a second copy of the package on the path, which no import reaches
                continue
            try:
                there[module] = Plugin(module, _card(point, module), _named(package))
            except ValueError as error:
                broken[point.name] = str(error)
    return list(there.values()), broken


def _card(point: EntryPoint, module: str) -> Path:
    if not all(part.isidentifier() for part in module.split(".")):
        example = point.name if point.name.isidentifier() else "my_system"
        raise ValueError(f'its entry point names {point.value!r}, which is no module; wanted {example} = "{example}"')
    file = module_file(module)
    if file is None:
        raise ValueError(f"its entry point names the module {module}, and there is none")
    if file.name == "__init__.py":
        raise ValueError(f"its entry point names the package {module}; wanted the module in it that holds SYSTEM")
    return file.with_suffix(".toml")


def _concerns(package: Distribution) -> bool:
    try:
        return GROUP in (package.read_text("entry_points.txt") or "")
    except (OSError, ValueError):
        return False


def _named(package: Distribution) -> str:
    """Name and version, as far as its metadata say them."""
    try:
        told = package.metadata
        return " ".join(filter(None, (told["Name"], told["Version"])))
    except (OSError, ValueError, TypeError, LookupError):  # a folder of metadata that is half there
        return "a package without a name"
