"""The documented layout of SAM ViT-B at its published size, through import, verification and strict loading."""

import hashlib
import time

import pytest
import torch

from hilum import registry
from hilum.app.weights_commands import candidates
from hilum.weights import limited, store, tensor_file, verification
from hilum.weights.importer import import_file

pytestmark = pytest.mark.slow
SECONDS = 20.0
PARAMETERS = 93_735_472  # of SAM ViT-B as published
BUFFERS = 2 * 128  # the matrix of random frequencies is stored, and is no parameter


def test_sam_vit_b_at_full_size_is_imported_verified_and_loaded(tmp_path, monkeypatch):
    monkeypatch.setenv("HILUM_WEIGHTS", str(tmp_path / "weights"))
    layout = registry.find("sam_study").system_class().layout("vit_b")
    generator = torch.Generator().manual_seed(0)
    state = {name: torch.empty(shape).uniform_(-0.1, 0.1, generator=generator) for name, shape in layout.items()}
    assert sum(tensor.numel() for tensor in state.values()) == PARAMETERS + BUFFERS
    torch.save(state, tmp_path / "x.pth")
    digits = tensor_file.sha256(tmp_path / "x.pth")[:6]
    path = (tmp_path / "x.pth").rename(tmp_path / f"sam_vit_b_{digits}.pth")

    start = time.perf_counter()
    imported, *others = import_file(path, candidates())
    assert time.perf_counter() - start < SECONDS
    assert imported.record.name == "sam_study.vit_b"
    assert "sam_u.vit_b" in [each.record.name for each in others]
    assert all(each.weights.path.samefile(imported.weights.path) for each in others), "one file, one place on the disk"
    assert imported.record.tensors == len(layout)
    assert hashlib.sha256(imported.weights.path.read_bytes()).hexdigest() == imported.weights.sha256

    verdict = verification.verify(registry.card("sam_study"), "vit_b", candidates())
    assert verdict.sound, verdict
    system = registry.load("sam_study", backend="torch", device="cpu")
    assert system.tag == "sam_study.vit_b"
    assert system.weights_sha256 == store.find(registry.card("sam_study")).sha256
    loaded = system.table.inverse(system.network.state_dict())
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())


def test_reading_holds_the_file_once(tmp_path):
    """Peak memory of the limited process: what torch itself takes, and the file, not more."""
    small, large = ({"w": torch.zeros(size)} for size in (1, 60_000_000))
    peaks = []
    for name, state in (("small", small), ("large", large)):
        torch.save(state, tmp_path / f"{name}.pth")
        peaks.append(limited.unpickle(tmp_path / f"{name}.pth", tmp_path / f"{name}.out").peak)
    assert peaks[1] - peaks[0] < 1.3 * 240_000_000
