"""How well a compiled network agrees with torch f32, measured on this machine, on one picture that never changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from hilum.backends import cache as kept
from hilum.backends.machine import processor, seconds, threads
from hilum.io.atomic import replacing

TOLERANCE = 0.02  # relative error of the whole output
SLOWER = 1.25  # times torch's seconds, from which the compiled network is not worth having
MEASURED = "measured.json"
BLOB = 32  # pixels between the nodes of the picture's coarse part


@dataclass(frozen=True, slots=True)
class Agreement:
    """Relative error |compiled - torch| / |torch| of the output, and the seconds of one pass of each."""

    error: float
    seconds: float
    torch_seconds: float
    precision: str
    processor: str
    threads: int
    openvino: str
    torch: str

    @property
    def holds(self) -> bool:
        """Whether the compiled network may stand in for torch: right, and not slower for it."""
        return self.error <= TOLERANCE and self.seconds <= SLOWER * self.torch_seconds

    @property
    def sentence(self) -> str:
        """For the provenance."""
        times = f"{self.seconds:.2g} s against {self.torch_seconds:.2g} s"
        return f"OpenVINO {self.precision} differs from torch f32 by {self.error:.2g} of the output's size, {times}"


def picture(shape: tuple[int, ...]) -> Float[Tensor, "*shape"]:
    """Coarse blobs and fine noise of about unit size, always the same; noise alone where there is no plane."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(shape, generator=generator)
    if len(shape) != 4 or min(shape[2:]) < BLOB:
        return noise
    nodes = torch.randn(*shape[:2], *(-(-side // BLOB) for side in shape[2:]), generator=generator)
    return F.interpolate(nodes, size=shape[2:], mode="bilinear") + noise / 4


def measured(
    run: Callable[[Tensor], Tensor], reference: Callable[[Tensor], Tensor], shape: tuple[int, ...], *, precision: str
) -> Agreement:
    """Both passes over the picture; the compiled one gets a second chance, warm, where it was slow at first."""
    from importlib.metadata import version

    given, seen = picture(shape), dict[str, Tensor]()

    def see(name: str, run: Callable[[Tensor], Tensor]) -> float:
        return seconds(lambda: seen.__setitem__(name, run(given).cpu()))

    torch_seconds, compiled_seconds = see("torch", reference), see("compiled", run)
    if compiled_seconds > torch_seconds:
        compiled_seconds = see("compiled", run)
    return Agreement(
        error=relative_error(seen["compiled"], seen["torch"]),
        seconds=compiled_seconds,
        torch_seconds=torch_seconds,
        precision=precision,
        processor=processor(),
        threads=threads(),
        openvino=version("openvino"),
        torch=version("torch"),
    )


def relative_error(given: Float[Tensor, "*s"], wanted: Float[Tensor, "*s"]) -> float:
    """|given - wanted| / |wanted|, in the Euclidean norm; infinite where there is no number."""
    error = float((given.double() - wanted.double()).norm() / wanted.double().norm())
    return error if error == error else float("inf")


def stored(place: Path) -> Agreement | None:
    """What was measured for the compiled model in this folder, if it was."""
    with suppress(OSError, ValueError, TypeError):
        return Agreement(**json.loads((place / MEASURED).read_text(encoding="utf-8")))
    return None


def store(agreement: Agreement, place: Path) -> None:
    """Beside the compiled model."""
    with replacing(place / MEASURED, force=True) as temporary:
        temporary.write_text(json.dumps(asdict(agreement), indent=1) + "\n", encoding="utf-8")
    kept.touch(place)
