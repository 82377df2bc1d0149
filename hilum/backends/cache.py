"""What this machine keeps for later processes: compiled models and measurements, under $HILUM_CACHE.

A compiled model is a folder that comes and goes as a whole: it is made beside, flushed, and renamed into place, so two
processes that compile the same model at once do no harm.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import is_dataclass
from functools import cache
from pathlib import Path

import torch
from torch import nn

from hilum.io.limits import limit
from hilum.values.errors import Failed

KEPT = 16 << 30  # bytes of compiled models; $HILUM_COMPILED_BYTES changes it; the least recently used go first
STALE = 86_400  # seconds after which an unfinished folder belongs to nobody any more
USED = "used"  # a file that is touched at each use


def folder() -> Path:
    """$HILUM_CACHE, else `hilum` in the platform's cache folder. Asking makes nothing."""
    chosen = os.environ.get("HILUM_CACHE", "").strip()
    return Path(chosen).expanduser().absolute() if chosen else _platform_cache() / "hilum"


def _platform_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def compiled() -> Path:
    """Where compiled models lie."""
    return folder() / "compiled"


def make(place: Path) -> None:
    """Makes a folder of the cache; says so where nothing could be kept in it."""
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failed(f"the folder {place} cannot be made ({error.strerror}); $HILUM_CACHE moves it.") from error
    if not os.access(place, os.W_OK):
        raise Failed(f"the folder {place} cannot be written; $HILUM_CACHE moves it.")


def publish(place: Path, fill: Callable[[Path], None]) -> bool:
    """Fills a new folder and renames it to `place`; false, and nothing is left behind, where another was first."""
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(f".{secrets.token_hex(8)}.part")
    temporary.mkdir()
    try:
        fill(temporary)
        (temporary / USED).touch()
        for file in temporary.iterdir():
            _flush(file)
        temporary.rename(place)
    except OSError:
        if place.is_dir():
            return False
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return True


def _flush(file: Path) -> None:
    with file.open("rb+") as stream:
        os.fsync(stream.fileno())


def touch(place: Path) -> None:
    """Marks a folder as used now."""
    with suppress(OSError):  # a cache that may only be read is still a cache
        (place / USED).touch()


def sweep(parent: Path, most: int | None = None) -> None:
    """Removes what was never finished, and the least recently used folders beyond `most` bytes."""
    room = limit("COMPILED_BYTES", KEPT) if most is None else most
    folders = [place for place in parent.iterdir() if place.is_dir()]
    for place in folders:
        if place.name.endswith(".part") and time.time() - place.stat().st_mtime > STALE:
            shutil.rmtree(place, ignore_errors=True)
    total = 0
    for place in sorted((p for p in folders if (p / USED).is_file()), key=_last_use, reverse=True):
        total += sum(file.stat().st_size for file in place.iterdir())
        if total > room:
            shutil.rmtree(place, ignore_errors=True)


def _last_use(place: Path) -> float:
    return (place / USED).stat().st_mtime


def structure(module: nn.Module) -> str:
    """Names what `module` does with its input, whatever its weights: its parts, their plain attributes, their code."""
    digest = hashlib.sha256(torch.__version__.encode())
    for name, part in module.named_modules():
        digest.update(f"{name} {type(part).__qualname__} {_attributes(part)}".encode())
    for name, tensor in module.state_dict(keep_vars=True).items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
    for file in sorted({file for kind in {type(each) for each in module.modules()} if (file := _source(kind))}):
        digest.update(_code(file))
    return digest.hexdigest()


def fingerprint(module: nn.Module, key: str) -> str:
    """Names what `module` computes: its structure, `key`, and every byte of its weights.

    The key alone would do for weights as they came from their file, but not for a network trained or adapted since.
    Hashing is not what one waits for: 359 MB took 0.2 to 0.5 s, less than exact sums of the bits did.
    """
    digest = hashlib.sha256(f"{structure(module)} {key}".encode())
    for _, tensor in [*module.named_parameters(), *module.named_buffers()]:
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _attributes(part: nn.Module) -> list[str]:
    """Numbers, words and tuples by value (heads, windows, sizes); functions by name; the rest by type."""
    told = []
    for name, value in sorted(vars(part).items()):
        match value:
            case _ if name.startswith("_") or name == "training":
                continue
            case None | bool() | int() | float() | str() | tuple() | list() | dict() | torch.Size():
                told.append(f"{name}={value!r}")
            case _ if is_dataclass(value):
                told.append(f"{name}={value!r}")
            case _:
                told.append(f"{name}:{getattr(value, '__qualname__', type(value).__qualname__)}")
    return told


def _source(kind: type) -> str | None:
    """The file of a class of ours or of a plug-in; torch's own layers are named by torch's version."""
    if kind.__module__.startswith("torch."):
        return None
    try:
        return inspect.getsourcefile(kind)
    except (TypeError, OSError):  # made in a session, not in a file: its structure and weights must do
        return None


@cache
def _code(file: str) -> bytes:
    path = Path(file)
    return hashlib.sha256(path.read_bytes()).digest() if path.is_file() else b""
