"""Tables of small pictures, and a system for workers to answer with."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from gauges import CARD, CODE
from plugged import lay, plugged


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """A folder with the system, as an installer would lay it."""
    folder = tmp_path_factory.mktemp("gauges")
    lay(folder, "gauge", {"gauge.py": CODE, "gauge.toml": CARD})
    return folder


@pytest.fixture
def gauge(site, tmp_path, monkeypatch):
    """The system, in this process and in those that it starts."""
    (tmp_path / "place").mkdir()
    monkeypatch.setenv("GAUGE", str(tmp_path / "place"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH")))))
    with plugged(site):
        yield tmp_path / "place"


@pytest.fixture
def table(tmp_path):
    """Makes a table of pictures of these grey values, which the system is to embed."""

    def make(*greys: int) -> Path:
        (tmp_path / "pictures").mkdir(exist_ok=True)
        lines = ["image,system"]
        for number, grey in enumerate(greys):
            name = f"pictures/{number:02}.png"
            Pillow.fromarray(np.full((4, 5), grey, dtype=np.uint8)).save(tmp_path / name)
            lines.append(f"{name},gauge")
        (tmp_path / "jobs.csv").write_text("\n".join(lines) + "\n")
        return tmp_path / "jobs.csv"

    return make
