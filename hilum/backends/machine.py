"""What this machine is: its processor, its threads, its free memory, and the rate at which it multiplies matrices.

Nothing is assumed from a name: a rate is measured, kept for the day in `rates.json` of the cache folder, and read back.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from hilum.backends import cache as kept
from hilum.io.atomic import replacing
from hilum.io.limits import limit
from hilum.values.errors import HilumError

Precision = Literal["f32", "bf16", "int8"]
BackendName = Literal["torch", "openvino"]

QUICK = 1024  # side of the matrices behind a first estimate: 2 GFLOP
FULL = 4096  # side at which rates are quoted: 137 GFLOP
RUNS = 5  # the best of them counts: other processes can only slow one down
MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1  # of glibc's malloc.h
KEPT_BLOCK = 32 << 20  # bytes of the largest block that is kept, which is the most that glibc allows
KEPT_FREE = 256 << 20  # bytes kept free at most
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


@cache
def processor() -> str:
    """The processor's name, as its maker writes it where the system tells."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def threads() -> int:
    """$HILUM_THREADS, else every core this process may use."""
    if sys.platform == "linux":
        return limit("THREADS", len(os.sched_getaffinity(0)))
    return limit("THREADS", os.cpu_count() or 1)


def keep_freed_pages() -> None:
    """Lets glibc keep what was freed for the next tensor: fresh pages for each were a quarter of a prompt's time.

    Its own rule depends on what was freed before, so that the same prompt was now fast, now slow. Elsewhere: nothing.
    """
    if sys.platform != "linux":
        return
    with suppress(AttributeError):  # musl has no such choice
        choose = ctypes.CDLL(None).mallopt
        choose(MMAP_THRESHOLD, KEPT_BLOCK)
        choose(TRIM_THRESHOLD, KEPT_FREE)


def available_memory() -> int | None:
    """Bytes that can be taken without swapping, a container's limit included; None where the system does not tell."""
    if sys.platform == "win32":
        return _windows_memory()
    free = _meminfo("MemAvailable") or _pages("SC_AVPHYS_PAGES") or _pages("SC_PHYS_PAGES")
    container = _container_memory()
    known = [value for value in (free, container) if value is not None]
    return min(known) if known else None


def _meminfo(field: str) -> int | None:
    with suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    return None


def _pages(name: str) -> int | None:
    with suppress(ValueError, OSError):
        return os.sysconf(name) * os.sysconf("SC_PAGE_SIZE")
    return None


def _container_memory() -> int | None:
    group = Path("/sys/fs/cgroup")
    with suppress(OSError, ValueError):  # "max" is no number: no limit
        return int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())
    return None


def _windows_memory() -> int | None:
    class Status(ctypes.Structure):
        """MEMORYSTATUSEX of the Windows API."""

        _fields_ = [("length", ctypes.c_ulong), ("load", ctypes.c_ulong)] + [
            (name, ctypes.c_ulonglong) for name in ("total", "free", "page", "page_free", "space", "space_free", "more")
        ]

    status = Status(length=ctypes.sizeof(Status))
    told = ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # type: ignore[attr-defined]
    return int(status.free) if told else None


def matrix_rate(precision: Precision, backend: BackendName = "torch", *, size: int = QUICK) -> float:
    """GFLOP/s of a square product, measured once a day; the full-size rate is preferred where it is known already."""
    known = _rates()
    for side in (FULL, size):
        if (found := known.get(f"{backend} {precision} {side}")) is not None:
            return found
    rate = measured_rate(precision, backend, size=size, clock=undisturbed)
    remember(precision, backend, size, rate)
    return rate


def measured_rate(
    precision: Precision,
    backend: BackendName,
    *,
    size: int = FULL,
    runs: int = RUNS,
    clock: Callable[[Callable[[], object]], float] | None = None,
) -> float:
    """GFLOP/s of the best of `runs` products of two size x size matrices, measured now."""
    multiply = (torch_product if backend == "torch" else openvino_product)(precision, size)
    multiply()  # the first is a warm-up
    return 2 * size**3 / min((clock or seconds)(multiply) for _ in range(runs)) / 1e9


def seconds(work: Callable[[], object]) -> float:
    """How long it took."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def undisturbed(work: Callable[[], object]) -> float:
    """How long it would have taken alone on the machine, if it kept all threads at work: their seconds, shared."""
    begin = time.process_time()
    taken = seconds(work)
    return min(taken, (time.process_time() - begin) / threads())


def torch_product(precision: Precision, size: int) -> Callable[[], object]:
    """A product in torch, ready to be repeated."""
    a, b = (torch.randn(size, size, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    a, b = a.to(DTYPES[precision]), b.to(DTYPES[precision])

    def multiply() -> object:
        with torch.inference_mode():
            return a @ b

    return multiply


def openvino_product(precision: Precision, size: int) -> Callable[[], object]:
    """A product in OpenVINO, one side constant, ready to be repeated."""
    import openvino
    from openvino import opset13 as ops

    from hilum.backends.openvino import settings

    a, b = (np.random.default_rng(seed).standard_normal((size, size)).astype(np.float32) for seed in (0, 1))
    given = ops.parameter([size, size], np.float32)
    model = openvino.Model([ops.matmul(given, ops.constant(b), False, True)], [given])
    request = openvino.Core().compile_model(model, "CPU", settings(precision)).create_infer_request()
    return lambda: request.infer({0: a}, share_inputs=True, share_outputs=True)


def _rates() -> dict[str, float]:
    """Today's rates of this processor at this number of threads."""
    with suppress(OSError, ValueError):
        stored = json.loads((kept.folder() / "rates.json").read_text(encoding="utf-8"))
        if isinstance(stored, dict) and stored.get("on") == _today():
            return {str(name): float(rate) for name, rate in stored["rates"].items()}
    return {}


def _today() -> list[str | int]:
    return [processor(), threads(), time.strftime("%Y-%m-%d")]


def remember(precision: Precision, backend: BackendName, size: int, rate: float) -> None:
    """Keeps a measured rate for today; a cache that cannot be written is no reason to stop."""
    rates = _rates() | {f"{backend} {precision} {size}": rate}
    place = kept.folder() / "rates.json"
    with suppress(HilumError, OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        with replacing(place, force=True) as temporary:
            temporary.write_text(json.dumps({"on": _today(), "rates": rates}, indent=1) + "\n", encoding="utf-8")
