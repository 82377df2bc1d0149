"""Plug-ins for tests: packages laid into a folder as an installer would, and that folder put on the path."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hilum import registry


def lay(folder: Path, name: str, files: dict[str, str | bytes], points: str | None = None) -> None:
    """An installed package: its files, and its metadata with the entry points (one of its own name if not given)."""
    told = folder / f"{name}-0.1.dist-info"
    told.mkdir(parents=True)
    points = f"[hilum.systems]\n{name} = {name}\n" if points is None else points
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n"
    whole = {**files, f"{told.name}/METADATA": metadata, f"{told.name}/entry_points.txt": points}
    for path, content in whole.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content if isinstance(content, bytes) else content.encode())


@contextmanager
def plugged(folder: Path) -> Iterator[None]:
    """Within this block the packages of the folder are installed, in this process."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    _anew()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            if Path(getattr(sys.modules[name], "__file__", None) or "").parent == folder:
                del sys.modules[name]
        _anew()


def _anew() -> None:
    importlib.invalidate_caches()
    registry._found.cache_clear()
