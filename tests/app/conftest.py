"""The command line in process, and a segmenter without a network for it to ask."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image as Pillow

from hilum import registry
from hilum.app.cli import main
from hilum.values.card import card_from
from hilum.weights import store


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def hilum(capfd):
    """Runs a command line as the program would, and gives back how it ended; all that reached a terminal is caught."""

    def run(*words: object) -> Ended:
        capfd.readouterr()
        try:
            main([str(word) for word in words])
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        return Ended(code, *capfd.readouterr())

    return run


@pytest.fixture
def threshold(monkeypatch, tmp_path_factory):
    """The tests' own segmenter, registered, with "weights" that are there."""
    from capabilities.threshold import Threshold

    table = tomllib.loads((Path(__file__).parents[1] / "capabilities" / "threshold.toml").read_text(encoding="utf-8"))
    weights = [{"tag": "none", "file": "none", "source": "package", "licence": "Apache-2.0"}]
    entry = registry.Entry(card_from({**table, "weights": weights}), "capabilities.threshold")
    entries, broken = registry._found()
    shipped, load, file = store.shipped, registry.load, tmp_path_factory.mktemp("threshold") / "none.safetensors"
    file.touch()

    def loaded(name, **given):
        return Threshold.tiny() if name.partition(".")[0] == "threshold" else load(name, **given)

    monkeypatch.setattr(registry, "_found", lambda: ({**entries, "threshold": entry}, broken))
    monkeypatch.setattr(registry, "load", loaded)
    monkeypatch.setattr(store, "shipped", lambda card: {"none": file} if card.name == "threshold" else shipped(card))
    return entry.card


@pytest.fixture
def disc(tmp_path) -> Path:
    """A picture of 60 x 40 pixels: a bright disc of radius 9 around (20, 18) on dark grey."""
    y, x = np.ogrid[:40, :60]
    values = np.where((x - 20) ** 2 + (y - 18) ** 2 < 81, 220, 30).astype(np.uint8)
    path = tmp_path / "disc.png"
    Pillow.fromarray(values).save(path)
    return path


@pytest.fixture
def brightness(monkeypatch, tmp_path_factory):
    """The tests' own encoder, registered, with "weights" that are there."""
    from capabilities.brightness import Brightness

    table = tomllib.loads((Path(__file__).parents[1] / "capabilities" / "brightness.toml").read_text(encoding="utf-8"))
    weights = [{"tag": "none", "file": "none", "source": "package", "licence": "Apache-2.0"}]
    entry = registry.Entry(card_from({**table, "weights": weights}), "capabilities.brightness")
    entries, broken = registry._found()
    shipped, file = store.shipped, tmp_path_factory.mktemp("brightness") / "none.safetensors"
    file.touch()
    monkeypatch.setattr(registry, "_found", lambda: ({**entries, "brightness": entry}, broken))
    monkeypatch.setattr(registry, "load", lambda name, **given: Brightness.tiny())
    monkeypatch.setattr(store, "shipped", lambda card: {"none": file} if card.name == "brightness" else shipped(card))


@pytest.fixture
def album(tmp_path) -> Path:
    """Three pictures in two folders, a volume, and what is no image."""
    folder = tmp_path / "album"
    (folder / "b").mkdir(parents=True)
    for name, value in (("c.png", 30), ("a.png", 10), ("b/d.png", 40)):
        Pillow.fromarray(np.full((4, 5), value, dtype=np.uint8)).save(folder / name)
    volume = np.zeros((6, 5, 3), dtype=np.int16) + np.arange(3, dtype=np.int16)
    nibabel.Nifti1Image(volume, np.diag([1.0, 1.0, 4.0, 1.0])).to_filename(folder / "scan.nii.gz")
    (folder / "readme.txt").write_text("words")
    (folder / ".hidden.png").write_bytes(b"nothing")
    return folder


@pytest.fixture
def shade(monkeypatch, tmp_path_factory):
    """The tests' own matcher, registered, with "weights" that are there; what comes back holds their hash."""
    from types import SimpleNamespace

    from capabilities.shade import Shade

    table = tomllib.loads((Path(__file__).parents[1] / "capabilities" / "shade.toml").read_text(encoding="utf-8"))
    weights = [{"tag": "none", "file": "none", "source": "package", "licence": "Apache-2.0"}]
    entry = registry.Entry(card_from({**table, "weights": weights}), "capabilities.shade")
    entries, broken = registry._found()
    shipped, load, file = store.shipped, registry.load, tmp_path_factory.mktemp("shade") / "none.safetensors"
    file.touch()
    held = SimpleNamespace(sha256="ab" * 32)

    def loaded(name, **given):
        if name.partition(".")[0] != "shade":
            return load(name, **given)
        system = Shade.tiny()
        system.weights_sha256 = held.sha256
        return system

    monkeypatch.setattr(registry, "_found", lambda: ({**entries, "shade": entry}, broken))
    monkeypatch.setattr(registry, "load", loaded)
    monkeypatch.setattr(store, "shipped", lambda card: {"none": file} if card.name == "shade" else shipped(card))
    return held


@pytest.fixture
def films(tmp_path) -> Path:
    """A table of 48 films of 24 patients, of which the brighter ones are bright more often."""
    rng = np.random.default_rng(0)
    (tmp_path / "films").mkdir()
    lines = ["file,bright,labels,view,sex,age,text"]
    for number in range(48):
        light = int(rng.integers(20, 236))
        Pillow.fromarray(np.full((6, 8), light, dtype=np.uint8)).save(
            tmp_path / "films" / f"p{number // 2}__{number}.png"
        )
        true = int(rng.random() < 1 / (1 + np.exp(-(light - 128) / 25)))
        view, sex = ("PA", "AP")[number % 2], ("F", "M")[number // 2 % 2]
        lines.append(
            f"films/p{number // 2}__{number}.png,{true},{'' if true else 'dark'},{view},{sex},{30 + number},{light}"
        )
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "table.csv"
