"""What a pass costs, before it is paid: parameters, FLOPs, bytes, the peak of memory, and seconds on this machine.

Nothing is computed: the module runs once on tensors without contents, while its operations are counted
(`FlopCounterMode`) and the bytes that are alive at a time are added up. The counts are kept on disk by structure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass

from torch import nn

from hilum.backends import cache as kept
from hilum.backends.machine import available_memory, matrix_rate
from hilum.io.atomic import replacing
from hilum.values.errors import HilumError, TooLarge

PROCESS = 540 << 20  # bytes that Python, torch and OpenVINO hold before a network is there (measured, Linux)
WEIGHT_BYTES = {"f32": 4, "bf16": 2, "int8": 1}
PACKED = 1.25  # OpenVINO's own copy of the weights over their size (measured with SAM ViT-B in f32: 450 of 359 MB)
EFFICIENCY = 0.7  # of the rate of large square products that a whole network reaches; `make bench-speed` prints it


@dataclass(frozen=True, slots=True)
class Counted:
    """What no machine changes: FLOPs, and bytes of f32 activations alive at once, run by torch and as a graph."""

    flops: int
    torch_bytes: int
    graph_bytes: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """A pass over one batch. Mappings are by precision; `seconds` has bf16 only where the CPU computes in it.

    `peak_bytes` is the resident peak of a process that runs it by OpenVINO; by torch it is `torch_peak_bytes`.
    """

    parameters: int
    flops: int
    weight_bytes: Mapping[str, int]
    peak_bytes: Mapping[str, int]
    torch_peak_bytes: int
    seconds: Mapping[str, float]


def estimate(module: nn.Module, shape: tuple[int, ...]) -> Estimate:
    """For a module on any device, the meta device included, and one input of `shape`."""
    parameters = sum(each.numel() for each in module.parameters())
    size = {precision: parameters * each for precision, each in WEIGHT_BYTES.items()}
    found = counted(module, shape)
    return Estimate(
        parameters=parameters,
        flops=found.flops,
        weight_bytes=size,
        peak_bytes={
            # torch's weights, the compiled file as it is mapped, OpenVINO's packed copy, activations
            "f32": PROCESS + round((2 + PACKED) * size["f32"]) + found.graph_bytes,
            "bf16": PROCESS + 2 * size["f32"] + round(PACKED * size["bf16"]) + found.graph_bytes // 2,
            "int8": PROCESS + size["f32"] + round((1 + PACKED) * size["int8"]) + found.graph_bytes,
        },
        torch_peak_bytes=PROCESS + size["f32"] + found.torch_bytes,
        seconds=_seconds(found.flops),
    )


def _seconds(flops: int) -> dict[str, float]:
    from hilum.backends.openvino import native

    own = native()
    rates = {precision: matrix_rate(precision, "openvino") for precision in ("f32", own)}
    rates["int8"] = rates[own]  # at most: its products are faster where the CPU has int8
    return {precision: flops / (rate * 1e9 * EFFICIENCY) for precision, rate in rates.items()}


def flops(module: nn.Module, shape: tuple[int, ...]) -> int:
    """Multiplications and additions of matrix products and convolutions in one pass, each counted as one."""
    return counted(module, shape).flops


def refuse_if_too_large(cost: Estimate, max_memory: int | None, *, precision: str | None = None) -> None:
    """`precision` None means torch. Without a stated limit in bytes it is the memory that is free now."""
    needed = cost.torch_peak_bytes if precision is None else cost.peak_bytes[precision]
    limit = available_memory() if max_memory is None else max_memory
    if limit is None or needed <= limit:
        return
    said = "are free on this machine" if max_memory is None else "were allowed"
    raise TooLarge(
        f"this look needs about {needed / 1e9:.1f} GB of memory and {limit / 1e9:.1f} GB {said}: "
        "take a smaller system, or set --max-memory to try it all the same."
    )


def counted(module: nn.Module, shape: tuple[int, ...]) -> Counted:
    """From disk where this structure was counted before."""
    place = kept.folder() / "counts" / f"{kept.structure(module)[:32]}-{'x'.join(map(str, shape))}.json"
    with suppress(OSError, ValueError, TypeError):
        return Counted(**json.loads(place.read_text(encoding="utf-8")))
    from hilum.backends.counting import count  # a second of imports, for what is on disk from the second time on

    found = count(module, shape)
    with suppress(OSError, HilumError):
        place.parent.mkdir(parents=True, exist_ok=True)
        with replacing(place, force=True) as temporary:
            temporary.write_text(json.dumps(asdict(found)) + "\n", encoding="utf-8")
    return found
