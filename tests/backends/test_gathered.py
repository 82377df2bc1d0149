"""Rows of several threads run as one batch: same results, in order, whatever their neighbours; failures reach all."""

import threading
import time

import numpy as np
import pytest
import torch
from torch import nn

from hilum.backends.gathered import Gathered
from hilum.backends.openvino import OpenVino
from hilum.backends.torch import Torch
from hilum.systems.biomedclip import BiomedClip

CPU = torch.device("cpu")


class Counted(nn.Module):
    """Twice the input; remembers the batches."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        self.shapes.append(tuple(rows.shape))
        return 2 * rows


def test_every_batch_has_the_same_size_and_results_come_in_order():
    module, gathered = Counted(), Gathered(Torch(CPU), 4)
    run = gathered.compile(module, (1, 3), key="")
    found = list(gathered.each(lambda number: float(run(torch.full((1, 3), float(number)))[0, 0]), range(23)))
    assert found == [2.0 * number for number in range(23)]
    assert set(module.shapes) == {(4, 3)}
    assert gathered.stages.rows == 23
    assert gathered.stages.batches == len(module.shapes)


@pytest.mark.parametrize("backend", [Torch(CPU), OpenVino("f32")], ids=["torch", "openvino"])
def test_a_row_depends_neither_on_its_place_nor_on_its_neighbours(backend, tmp_path, monkeypatch):
    monkeypatch.setenv("HILUM_HOME", str(tmp_path))
    module = BiomedClip.tiny().network.visual.eval()
    run = backend.compile(module, (8, 3, 32, 32), key="")
    rows = torch.randn(20, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    first = torch.cat([run(rows[:8]), run(rows[8:16]), run(torch.cat([rows[16:], torch.zeros(4, 3, 32, 32)]))[:4]])
    order = torch.from_numpy(np.random.default_rng(0).permutation(20))
    mixed = torch.cat([rows[order], torch.zeros(4, 3, 32, 32)])
    again = torch.cat([run(mixed[start : start + 8]) for start in (0, 8, 16)])[:20]
    assert torch.equal(again, first[order])


def test_the_encoder_works_on_one_batch_at_a_time_and_its_seconds_fit_into_the_whole():
    class Slow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside = self.most = 0

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            self.inside += 1
            self.most = max(self.most, self.inside)
            threading.Event().wait(0.01)
            self.inside -= 1
            return rows

    module, gathered = Slow(), Gathered(Torch(CPU), 2)
    run, begun = gathered.compile(module, (1, 1), key=""), time.perf_counter()
    list(gathered.each(lambda number: run(torch.zeros(1, 1)), range(20), threads=8))
    assert module.most == 1
    assert gathered.stages.encoding <= time.perf_counter() - begun


def test_a_failing_item_stops_nobody_who_waits():
    gathered = Gathered(Torch(CPU), 8)
    run = gathered.compile(Counted(), (1, 1), key="")

    def made(number: int) -> float | str:
        if number % 3 == 0:
            return "broken"
        return float(run(torch.tensor([[float(number)]])))

    assert list(gathered.each(made, range(10))) == ["broken" if n % 3 == 0 else 2.0 * n for n in range(10)]


def test_an_encoder_that_fails_is_heard_by_all_that_wait():
    class Broken(nn.Module):
        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no")

    gathered = Gathered(Torch(CPU), 2)
    run = gathered.compile(Broken(), (1, 1), key="")
    with pytest.raises(RuntimeError, match="no"):
        list(gathered.each(lambda number: run(torch.zeros(1, 1)), range(5)))
    assert not [each for each in threading.enumerate() if each.name.startswith("hilum-embed")]


def test_parts_of_one_item_fill_a_batch_of_their_own():
    module, gathered = Counted(), Gathered(Torch(CPU), 4)
    run = gathered.compile(module, (1, 1), key="")

    def whole(count: int) -> list[float]:
        return gathered.alone(lambda part: float(run(torch.tensor([[float(part)]]))), range(count))

    assert list(gathered.each(whole, [8, 3])) == [[2.0 * part for part in range(8)], [0.0, 2.0, 4.0]]
    assert len(module.shapes) <= 5
