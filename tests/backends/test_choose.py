"""Auto takes OpenVINO only where it was measured to agree here, and says what it did."""

import pytest
import torch
from torch import nn

from hilum.backends import agreement, choose, openvino
from hilum.backends.agreement import Agreement
from hilum.backends.openvino import OpenVino
from hilum.backends.torch import Torch
from hilum.values.errors import BadInput, Failed

CPU = torch.device("cpu")
SHAPE = (4, 8)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2)).eval()


@pytest.fixture
def large(monkeypatch, tmp_path):
    """Every network counts as large; the CPU computes in f32; the cache is new."""
    monkeypatch.setenv("HILUM_CACHE", str(tmp_path))
    monkeypatch.setattr(choose, "SMALL", 0)
    monkeypatch.setattr(choose, "native", lambda: "f32")


def found(error: float, seconds: float = 1.0) -> Agreement:
    return Agreement(error, seconds, 1.0, precision="f32", processor="p", threads=1, openvino="o", torch="t")


def refused(*_, **__):
    raise AssertionError("this was not to happen")


def test_a_small_network_stays_with_torch_and_compiles_nothing(network, monkeypatch):
    monkeypatch.setattr(OpenVino, "compiled", refused)
    backend = choose.choose("auto", CPU)
    run = backend.compile(network, SHAPE, key="")
    assert torch.equal(run(torch.ones(SHAPE)), network(torch.ones(SHAPE)))
    assert (backend.name, backend.precision, backend.notes) == ("torch", "f32", ())


def test_auto_measures_once_then_remembers(network, large, monkeypatch):
    monkeypatch.setattr(agreement, "SLOWER", float("inf"))  # at this size seconds are chance
    first = choose.choose("auto", CPU)
    run = first.compile(network, SHAPE, key="")
    assert (first.name, first.precision) == ("openvino", "f32")
    assert "differs from torch f32 by" in first.notes[0]
    assert torch.allclose(run(torch.ones(SHAPE)), network(torch.ones(SHAPE)), atol=1e-6)
    monkeypatch.setattr(agreement, "measured", refused)
    monkeypatch.setattr(openvino, "converted", refused)
    second = choose.choose("auto", CPU)
    second.compile(network, SHAPE, key="")
    assert second.notes == first.notes


@pytest.mark.parametrize("bad", [found(0.03), found(float("inf")), found(0.001, seconds=2.0)])
def test_where_it_disagrees_or_is_slower_torch_runs_and_it_is_said(network, large, monkeypatch, bad):
    monkeypatch.setattr(agreement, "measured", lambda *_, **__: bad)
    backend = choose.choose("auto", CPU)
    run = backend.compile(network, SHAPE, key="")
    assert backend.name == "torch"
    assert backend.notes == (f"not used: {bad.sentence}",)
    assert torch.equal(run(torch.ones(SHAPE)), network(torch.ones(SHAPE)))


def test_bf16_that_disagrees_gives_way_to_f32(network, large, monkeypatch):
    monkeypatch.setattr(choose, "native", lambda: "bf16")
    monkeypatch.setattr(OpenVino, "compiled", lambda self, module, shape, place: place.mkdir(parents=True) or module)
    monkeypatch.setattr(
        agreement, "measured", lambda run, reference, shape, precision: found(0.03 if precision == "bf16" else 1e-6)
    )
    backend = choose.choose("auto", CPU)
    backend.compile(network, SHAPE, key="")
    assert (backend.name, backend.precision) == ("openvino", "f32")
    assert backend.notes[0].startswith("not used")


def test_a_network_that_openvino_cannot_take_runs_in_torch_and_it_is_said(network, large, monkeypatch):
    def failing(*_, **__):
        raise Failed("Sequential cannot be prepared for OpenVINO")

    monkeypatch.setattr(openvino, "converted", failing)
    backend = choose.choose("auto", CPU)
    backend.compile(network, SHAPE, key="")
    assert backend.name == "torch"
    assert "cannot be prepared" in backend.notes[0]


def test_where_nothing_can_be_kept_nothing_is_compiled(network, large, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HILUM_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(OpenVino, "compiled", refused)
    backend = choose.choose("auto", CPU)
    backend.compile(network, SHAPE, key="")
    assert backend.name == "torch"
    assert "$HILUM_CACHE" in backend.notes[0]


def test_names_say_backend_and_precision(monkeypatch):
    monkeypatch.setattr(choose, "native", lambda: "bf16")
    named = {name: choose.choose(name, CPU) for name in choose.NAMES}
    assert isinstance(named["torch"], Torch)
    assert {name: each.precision for name, each in named.items()} == {
        "auto": "f32",
        "torch": "f32",
        "openvino": "bf16",
        "openvino:f32": "f32",
        "openvino:bf16": "bf16",
        "openvino:int8": "int8",
    }


def test_what_cannot_be_is_refused(monkeypatch):
    monkeypatch.setattr(choose, "native", lambda: "f32")
    with pytest.raises(BadInput, match="no backend 'onnx'"):
        choose.choose("onnx", CPU)
    with pytest.raises(BadInput, match="the device is cuda"):
        choose.choose("openvino", torch.device("cuda"))
    with pytest.raises(BadInput, match="no bf16"):
        choose.choose("openvino:bf16", CPU)


def test_the_test_picture_never_changes():
    picture = agreement.picture((1, 3, 64, 96))
    assert torch.equal(picture, agreement.picture((1, 3, 64, 96)))
    assert 0.3 < picture.std() < 3


def test_int8_is_compared_with_torch_once_and_says_how_far_it_is(large, monkeypatch):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(256, 512), nn.GELU(), nn.Linear(512, 256)).eval()
    first = choose.choose("openvino:int8", CPU)
    run, given = first.compile(network, (8, 256), key=""), torch.randn(8, 256)
    assert 0 < agreement.relative_error(run(given), network(given).detach()) < 0.03
    assert (first.name, first.precision) == ("openvino", "int8")
    assert first.notes[0].startswith("OpenVINO int8 differs from torch f32 by 0.0")
    monkeypatch.setattr(agreement, "measured", refused)
    second = choose.choose("openvino:int8", CPU)
    second.compile(network, (8, 256), key="")
    assert second.notes == first.notes


def test_int8_that_is_far_from_torch_is_advised_against_and_still_runs(network, large, monkeypatch):
    monkeypatch.setattr(agreement, "measured", lambda *_, **__: found(0.2))
    backend = choose.choose("openvino:int8", CPU)
    run = backend.compile(network, SHAPE, key="")
    assert backend.notes[0].endswith("take another backend for these weights")
    assert run(torch.ones(SHAPE)).shape == (4, 2)
