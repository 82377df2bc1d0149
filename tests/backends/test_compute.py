"""The cost of a pass is known before it is paid."""

import sys

import pytest
import torch
from torch import nn

from hilum.backends import compute, counting, machine
from hilum.parts.sam import TINY, sam
from hilum.values.errors import TooLarge


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HILUM_CACHE", str(tmp_path))


def test_flops_of_a_linear_layer_and_of_a_convolution():
    assert compute.flops(nn.Linear(5, 7), (3, 5)) == 2 * 3 * 5 * 7
    assert compute.flops(nn.Conv2d(3, 4, 3, padding=1), (2, 3, 8, 8)) == 2 * 2 * 8 * 8 * 4 * 3 * 9


def test_attention_counts_whichever_kernel_the_cpu_would_take():
    class Attend(nn.Module):
        def forward(self, x):
            return nn.functional.scaled_dot_product_attention(x, x, x)

    assert compute.flops(Attend(), (1, 2, 16, 4)) == 2 * (2 * 2 * 16 * 16 * 4)


def test_a_network_without_contents_costs_as_a_real_one():
    with torch.device("meta"):
        empty = sam(TINY).image_encoder
    real = sam(TINY).image_encoder
    assert compute.counted(empty, (1, 3, 64, 64)) == counting.count(real, (1, 3, 64, 64))


def test_live_bytes_are_those_alive_at_once():
    chain = nn.Sequential(*(nn.ReLU() for _ in range(5)))
    assert compute.counted(chain, (10, 100)).torch_bytes == 3 * 10 * 100 * 4  # given, in and out

    class Keeping(nn.Module):
        def forward(self, x):
            first = x + 1
            second = first + 1
            return first + second

    assert compute.counted(Keeping(), (10, 100)).torch_bytes == 4 * 10 * 100 * 4


def test_weights_are_counted_once_and_not_as_activations():
    found = compute.estimate(nn.Linear(1000, 1000, bias=False), (1, 1000))
    assert found.parameters == 1_000_000
    assert found.weight_bytes == {"f32": 4_000_000, "bf16": 2_000_000, "int8": 1_000_000}
    assert found.torch_peak_bytes == compute.PROCESS + 4_000_000 + 2 * 1000 * 4
    assert found.peak_bytes["int8"] < found.peak_bytes["bf16"] < found.peak_bytes["f32"]


def test_a_structure_is_counted_once(monkeypatch):
    first = compute.counted(nn.Linear(5, 7), (3, 5))
    monkeypatch.setattr(counting, "count", lambda *_: pytest.fail("counted again"))
    assert compute.counted(nn.Linear(5, 7), (3, 5)) == first


def test_what_does_not_fit_is_refused_with_both_numbers_and_the_flag(monkeypatch):
    cost = compute.estimate(nn.Linear(5, 7), (3, 5))
    needed = cost.torch_peak_bytes
    compute.refuse_if_too_large(cost, needed)
    with pytest.raises(TooLarge, match=r"needs about 0\.6 GB .* 0\.1 GB were allowed.*--max-memory"):
        compute.refuse_if_too_large(cost, 100_000_000)
    monkeypatch.setattr(compute, "available_memory", lambda: 100_000_000)
    with pytest.raises(TooLarge, match="free on this machine"):
        compute.refuse_if_too_large(cost, None)
    monkeypatch.setattr(compute, "available_memory", lambda: None)
    compute.refuse_if_too_large(cost, None)


def test_the_matrix_rate_is_measured_once_a_day(monkeypatch):
    rate = machine.matrix_rate("f32", "torch", size=64)
    assert rate > 0
    monkeypatch.setattr(machine, "measured_rate", lambda *_, **__: pytest.fail("measured again"))
    assert machine.matrix_rate("f32", "torch", size=64) == rate
    machine.remember("f32", "torch", machine.FULL, 2 * rate)
    assert machine.matrix_rate("f32", "torch", size=64) == 2 * rate
    monkeypatch.setattr(machine, "processor", lambda: "another")
    monkeypatch.setattr(machine, "measured_rate", lambda *_, **__: 1.0)
    assert machine.matrix_rate("f32", "torch", size=64) == 1.0


def test_openvino_multiplies_too():
    assert machine.measured_rate("f32", "openvino", size=64, runs=1) > 0


def test_free_memory_and_threads_are_numbers_that_make_sense(monkeypatch):
    free = machine.available_memory()
    assert free is None or 2**20 < free < 2**50
    monkeypatch.setenv("HILUM_THREADS", "3")
    assert machine.threads() == 3


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's own way with freed memory")
def test_a_tensor_of_megabytes_finds_the_pages_of_the_one_before():
    import resource

    machine.keep_freed_pages()
    given = torch.zeros(2 << 20)
    for _ in range(3):
        given + 1
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        given + 1
    assert (
        resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 3 * 2048
    )  # 20 fresh ones would be 40,960; a heap full of others may place one anew
