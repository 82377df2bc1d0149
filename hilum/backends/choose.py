"""Which backend runs a look. `auto` takes OpenVINO only where it was measured here to agree with torch f32."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from hilum.backends import agreement, compute
from hilum.backends import cache as kept
from hilum.backends.machine import Precision, keep_freed_pages
from hilum.backends.openvino import OpenVino, native
from hilum.backends.torch import Torch
from hilum.io.limits import limit
from hilum.values import progress
from hilum.values.errors import BadInput, HilumError

NAMES = ("auto", "torch", "openvino", "openvino:f32", "openvino:bf16", "openvino:int8")
WORST = 0.1  # relative error of int8 products from which it is advised against: cosines of 0.995
SMALL = 2e9  # FLOPs of a pass below which compiling costs more than it brings: a first answer must come at once


class Backend(Protocol):
    """What executes the costly pass. `name` and `precision` go to the provenance, and so do the notes."""

    @property
    def name(self) -> str: ...
    @property
    def precision(self) -> str: ...
    @property
    def notes(self) -> tuple[str, ...]: ...

    def compile(self, module: nn.Module, shape: tuple[int, ...], *, key: str) -> Callable[[Tensor], Tensor]:
        """The pass as a function of one tensor of `shape`, batch first; `key` is the hash of the weights, or empty."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """A costly pass, how torch runs it, and the folder of its compiled form."""

    module: nn.Module
    shape: tuple[int, ...]
    reference: Callable[[Tensor], Tensor]
    place: Path


@dataclass(slots=True)
class Auto:
    """Torch until a module is compiled; then what was found best for it. What was found is said in the notes."""

    device: torch.device
    name: str = "torch"
    precision: str = "f32"
    notes: tuple[str, ...] = ()

    def compile(self, module: nn.Module, shape: tuple[int, ...], *, key: str) -> Callable[[Tensor], Tensor]:
        """OpenVINO in the CPU's own precision, else in f32, else torch."""
        reference = Torch(self.device).compile(module, shape, key=key)
        if compute.flops(module, shape) < SMALL:
            return reference
        try:
            kept.make(kept.compiled())
            for candidate in (OpenVino(precision) for precision in _precisions()):
                pass_ = Pass(module, shape, reference, candidate.place(module, shape, key=key))
                if (run := self._proven(candidate, pass_)) is not None:
                    return run
        except (HilumError, OSError, ImportError) as error:
            self._note(f"torch was used, because OpenVINO could not be: {error}")
        return reference

    def _proven(self, candidate: OpenVino, wanted: Pass) -> Callable[[Tensor], Tensor] | None:
        """The compiled pass, if it was or is now measured to stand in for torch."""
        found = agreement.stored(wanted.place)
        if found is None or found.holds:
            run = candidate.compiled(wanted.module, wanted.shape, wanted.place)
            if found is None:
                progress.say("measuring once how well OpenVINO agrees with torch here: two looks at a test picture")
                found = agreement.measured(run, wanted.reference, wanted.shape, precision=candidate.precision)
                agreement.store(found, wanted.place)
            if found.holds:
                self.name, self.precision = candidate.name, candidate.precision
                self._note(found.sentence)
                return run
        self._note(f"not used: {found.sentence}")
        return None

    def _note(self, sentence: str) -> None:
        self.notes = (*self.notes, sentence)


@dataclass(slots=True)
class Compared:
    """OpenVINO in a precision that the user chose; how far it is from torch f32 is measured once, and said."""

    inner: OpenVino
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def precision(self) -> str:
        return self.inner.precision

    def compile(self, module: nn.Module, shape: tuple[int, ...], *, key: str) -> Callable[[Tensor], Tensor]:
        """The compiled pass, compared with torch's where this machine has not done so before."""
        place = self.inner.place(module, shape, key=key)
        run = self.inner.compiled(module, shape, place)
        if (found := agreement.stored(place)) is None:
            progress.say(f"measuring once how far {self.precision} is from torch here: two looks at a test picture")
            reference = Torch(torch.device("cpu")).compile(module, shape, key=key)
            found = agreement.measured(run, reference, shape, precision=self.precision)
            with suppress(HilumError, OSError):  # where nothing can be kept it is measured again
                agreement.store(found, place)
        doubt = "" if found.error <= WORST else f", more than {WORST:.0%}: take another backend for these weights"
        self.notes = tuple(dict.fromkeys((*self.notes, found.sentence + doubt)))
        return run


def _precisions() -> tuple[Precision, ...]:
    return tuple(dict.fromkeys((native(), "f32")))


def choose(name: str, device: torch.device) -> Backend:
    """The backend of this name. OpenVINO runs on the CPU only; `auto` is torch elsewhere."""
    if name not in NAMES:
        raise BadInput(f"there is no backend {name!r}; choose one of {', '.join(NAMES)}.")
    if name.startswith("openvino") and device.type != "cpu":
        raise BadInput(
            f"the backend {name} runs on the CPU, and the device is {device.type}: choose torch, or --device cpu."
        )
    keep_freed_pages()
    if threads := limit("THREADS", 0):
        torch.set_num_threads(threads)
    if name == "torch" or device.type != "cpu":
        return Torch(device)
    if name == "auto":
        return Auto(device)
    asked = name.partition(":")[2]
    precision = {"": native, "f32": lambda: "f32", "bf16": lambda: "bf16", "int8": lambda: "int8"}[asked]()
    if precision == "bf16" and native() != "bf16":
        raise BadInput("this CPU has no bf16; choose openvino:f32, or auto.")
    return Compared(OpenVino(precision)) if precision == "int8" else OpenVino(precision)
