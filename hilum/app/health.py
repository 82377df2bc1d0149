"""Findings about this machine and this installation, one after the other; each with what would mend it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..values.errors import Failed

if TYPE_CHECKING:
    from ..registry import Entry

State = Literal["ok", "absent", "broken"]

NEEDED = re.compile(r"^(?P<package>[A-Za-z0-9_.-]+)(?P<floor>[^;]*)(?:;\s*extra == ['\"](?P<extra>\w+)['\"])?$")
HIDDEN = ("all", "test")  # extras that a user does not ask for one by one
OLDEST = (3, 11)
SYNTAXES = (  # transfer syntaxes that compress, by the names of pydicom.uid
    ("JPEGBaseline8Bit", "JPEG baseline"),
    ("JPEGExtended12Bit", "JPEG extended"),
    ("JPEGLosslessSV1", "JPEG lossless"),
    ("JPEGLSLossless", "JPEG-LS"),
    ("JPEG2000Lossless", "JPEG 2000"),
    ("HTJ2KLossless", "HTJ2K"),
    ("RLELossless", "RLE"),
)
ROOM = 2 * 2**30  # bytes that weights and compiled models may want


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing: "ok", "absent" (and may be so), or "broken"; `mend` is a command or a sentence."""

    what: str
    state: State
    found: str
    mend: str = ""


def findings() -> Iterator[Finding]:
    """All of them, the quick ones first."""
    yield from machine()
    yield from packages()
    yield from engines()
    yield from decoders()
    yield from weights()
    yield from plugins()
    yield from folders()


def machine() -> Iterator[Finding]:
    """Python, system, cores, memory, disk."""
    old = sys.version_info < OLDEST
    yield Finding("hilum", "ok", version("hilum"))
    yield Finding("python", "broken" if old else "ok", platform.python_version(), "Python 3.11 or newer" if old else "")
    yield Finding("system", "ok", f"{platform.system()} {platform.release()}, {platform.machine()}")
    yield Finding("cores", "ok", str(_cores()))
    memory = _memory()
    yield Finding("memory", "ok", "not known" if memory is None else _gb(memory))


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _gb(count: float) -> str:
    return f"{count / 2**30:.1f} GB"


def packages() -> Iterator[Finding]:
    """What the installation asks for: each package with its floor, extras together."""
    extras: dict[str, list[str]] = {}
    for line in requires("hilum") or ():
        match = NEEDED.match(line.strip())
        if match is None or match["extra"] in HIDDEN:
            continue
        wrong = _wrong(match["package"], match["floor"])
        if match["extra"] is None:
            found = wrong or version(match["package"])
            mend = f"pip install '{match['package']}{match['floor'].strip()}'" if wrong else ""
            yield Finding(match["package"], "broken" if wrong else "ok", found, mend)
        else:
            missing = extras.setdefault(match["extra"], [])
            missing += [f"{match['package']} {wrong}"] if wrong else []
    for extra, missing in sorted(extras.items()):
        mend = f"pip install 'hilum[{extra}]'" if missing else ""
        yield Finding(f"extra {extra}", "absent" if missing else "ok", ", ".join(missing) or "installed", mend)


def _wrong(package: str, floor: str) -> str:
    """What is wrong with an installed package: nothing, not installed, or older than is safe."""
    from packaging.specifiers import SpecifierSet

    try:
        found = version(package)
    except PackageNotFoundError:
        return "not installed"
    return (
        "" if SpecifierSet(floor.strip()).contains(found, prereleases=True) else f"{found}, {floor.strip()} is wanted"
    )


def engines() -> Iterator[Finding]:
    """What can run a network: torch on CPU or CUDA, OpenVINO and what its CPU computes in."""
    import torch

    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA device: the CPU is used"
    yield Finding("graphics", "ok", cuda)
    try:
        import openvino

        kinds = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    except (ImportError, RuntimeError) as error:
        yield Finding("openvino", "broken", f"cannot start ({type(error).__name__})", "pip install -U openvino")
        return
    yield Finding("bf16", "ok", "this CPU computes in bf16" if "BF16" in kinds else "not on this CPU: f32 is used")


def decoders() -> Iterator[Finding]:
    """Which compressed DICOM files can be opened."""
    import pydicom.uid
    from pydicom.pixels import get_decoder

    from ..io.dicom_codestream import BEYOND_PILLOW, can_decode

    for keyword, words in SYNTAXES:
        syntax = getattr(pydicom.uid, keyword)
        decoder = get_decoder(syntax)
        plugins = [*(["imagecodecs"] if syntax in BEYOND_PILLOW and can_decode() else []), *_plugins(decoder)]
        mend = "" if plugins else "pip install imagecodecs"
        yield Finding(f"DICOM {words}", "ok" if plugins else "absent", ", ".join(plugins) or "no decoder", mend)


def _plugins(decoder: object) -> tuple[str, ...]:
    return tuple(getattr(decoder, "available_plugins", ()))


def weights() -> Iterator[Finding]:
    """Each system's weights that are here; for the house's own they must be."""
    from .. import registry
    from ..weights import store

    for name in registry.names():
        card = registry.card(name)
        there, shipped = store.available(card), any(entry.shipped for entry in card.weights)
        entry = next(iter(card.weights), None)
        mend = "" if there or entry is None else store.how_to_get(name, entry)
        state: State = "ok" if there else ("broken" if shipped else "absent")
        yield Finding(f"weights {name}", state, ", ".join(there) or "none here", mend)


def plugins() -> Iterator[Finding]:
    """Systems of other packages: whether their card can be read, their module imported, their class used."""
    from .. import registry

    for name, entry in registry.installed().items():
        wrong = _unusable(entry)
        mend = f"mend {entry.module}, or uninstall the package it comes with ({entry.package})" if wrong else ""
        yield Finding(f"plug-in {name}", "broken" if wrong else "ok", wrong or f"{entry.package}, {entry.module}", mend)
    for where, sentence in registry.broken().items():
        yield Finding(f"plug-in {where}", "broken", sentence, "mend it, or uninstall the package it comes with")


def _unusable(entry: Entry) -> str:
    """What is wrong with a plug-in's class, if anything is."""
    try:
        found = entry.system_class()
    except Failed as error:
        return str(error)
    without = [each.tag for each in entry.card.weights if each.tag not in found.configs]
    return f"its class has no sizes (configs) for its weights {', '.join(without)}" if without else ""


def folders() -> Iterator[Finding]:
    """Where files are kept: whether one may write there, and the room that is left."""
    from ..backends import cache
    from ..weights import store

    places = {"folder of weights": store.folder(), "folder of compiled models": cache.folder()}
    for what, folder in {**places, "temporary folder": Path(tempfile.gettempdir())}.items():
        there = next(each for each in (folder, *folder.parents) if each.exists())
        free = shutil.disk_usage(there).free
        if not os.access(there, os.W_OK):
            yield Finding(what, "broken", f"{folder}: no right to write", f"chmod u+w {there}")
        elif free < ROOM:
            yield Finding(what, "broken", f"{folder}: only {_gb(free)} free", "free some room on this disk")
        else:
            yield Finding(what, "ok", f"{folder}, {_gb(free)} free")
