"""OpenVINO as a backend: bf16 where the processor has it, f32, or int8 products; on the CPU only.

The module is exported by `torch.export` and read by OpenVINO's front end directly. `openvino.convert_model` would do
the same, but it starts the telemetry of `openvino.tools.ovc`, which nothing here calls.
"""

from __future__ import annotations

import hashlib
import os
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hilum.backends import cache as kept
from hilum.backends.machine import Precision, processor
from hilum.io.limits import limit
from hilum.values import progress
from hilum.values.errors import Failed

if TYPE_CHECKING:
    import openvino

GRAPH = "model.xml"
FEWEST_COMPRESSED = 2**14  # weights of a layer below which int8 saves nothing worth its rounding
SCALED_TOGETHER = "256"  # values of a row that share a scale in int8 products: 64 were slower, 768 no faster


@cache
def capabilities() -> frozenset[str]:
    """What OpenVINO says this CPU does natively, as FP32, BF16, INT8."""
    import openvino

    return frozenset(openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def native() -> Precision:
    """The fastest precision that this CPU computes in."""
    return "bf16" if "BF16" in capabilities() else "f32"


def settings(precision: Precision) -> dict[str, Any]:
    """One request at a time, on all cores: a look is waited for."""
    others = native() if precision == "int8" else precision  # int8 are the products with rounded weights alone
    chosen = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "INFERENCE_PRECISION_HINT": others}
    if precision == "int8":
        chosen["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = SCALED_TOGETHER
    asked = limit("THREADS", 0)
    return chosen | ({"INFERENCE_NUM_THREADS": str(asked)} if asked else {})


@dataclass(frozen=True, slots=True)
class OpenVino:
    """Compiles once, keeps the graph on disk by the hash of what it computes, and runs it."""

    precision: Precision
    name: str = "openvino"
    notes: tuple[str, ...] = ()

    def place(self, module: nn.Module, shape: tuple[int, ...], *, key: str) -> Path:
        """The folder of the graph: named by what is computed, and by everything that could change how."""
        import openvino

        said = (kept.fingerprint(module, key), openvino.__version__, self.precision, tuple(shape), processor())
        return kept.compiled() / hashlib.sha256(repr(said).encode()).hexdigest()[:32]

    def compile(self, module: nn.Module, shape: tuple[int, ...], *, key: str) -> Callable[[Tensor], Tensor]:
        """From disk where it was compiled before; otherwise exported now, which takes some seconds."""
        return self.compiled(module, shape, self.place(module, shape, key=key))

    def compiled(self, module: nn.Module, shape: tuple[int, ...], place: Path) -> Callable[[Tensor], Tensor]:
        """The same, with the folder at hand."""
        if (place / GRAPH).is_file():
            kept.touch(place)
            return runner(place / GRAPH, self.precision)
        progress.say(f"preparing the network for OpenVINO in {self.precision}: once for these weights on this machine")
        graph = converted(module.eval(), tuple(shape))
        if self.precision == "int8":
            compress(graph)
        try:
            kept.publish(place, lambda folder: save(graph, folder / GRAPH))
            kept.sweep(place.parent)
        except OSError as error:
            progress.say(f"the prepared network cannot be kept in {place.parent}: {error.strerror or error}")
            return runner(graph, self.precision)
        return runner(place / GRAPH, self.precision)


def save(graph: openvino.Model, file: Path) -> None:
    """Weights beside the graph, as they are: rounding them to fp16 would be a second precision that nobody chose."""
    import openvino

    openvino.save_model(graph, file, compress_to_fp16=False)


def runner(graph: openvino.Model | Path, precision: Precision) -> Callable[[Tensor], Tensor]:
    """One compiled request; calls from several threads wait for one another."""
    import openvino

    try:
        compiled = openvino.Core().compile_model(graph, "CPU", settings(precision) | _beside(graph))
    except RuntimeError as error:
        raise Failed(f"OpenVINO cannot run {graph}; remove it to make it anew, or use --backend torch.") from error
    request, turn = compiled.create_infer_request(), threading.Lock()

    def run(batch: Tensor) -> Tensor:
        given = batch.detach().to("cpu", torch.float32).contiguous().numpy()
        with turn:
            found = torch.from_numpy(request.infer({0: given}, share_inputs=True)[0])
        return found.contiguous(memory_format=torch.channels_last) if found.ndim == 4 else found  # rows of tokens

    return run


def _beside(graph: openvino.Model | Path) -> dict[str, str]:
    """Keeps what compiling found out beside a graph on disk, without its weights: a later process is ready in half."""
    if isinstance(graph, Path) and os.access(graph.parent, os.W_OK):
        return {"CACHE_DIR": str(graph.parent), "CACHE_MODE": "OPTIMIZE_SIZE"}
    return {}


def converted(module: nn.Module, shape: tuple[int, ...]) -> openvino.Model:
    """The module as OpenVINO's graph, for one input of this shape."""
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder

    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # torch's and OpenVINO's own, about themselves
            exported = torch.export.export(module, (torch.zeros(shape),), strict=False)
            plain = exported.run_decompositions(_table()).module(check_guards=False)
            decoder = TorchFXPythonDecoder(plain, dynamic_shapes=False)  # must outlive the conversion
            front = FrontEndManager().load_by_framework("pytorch")
            return front.convert(front.load(decoder))
    except Exception as error:  # torch.export and the front end raise of every kind
        raise Failed(
            f"{type(module).__name__} cannot be prepared for OpenVINO ({type(error).__name__}): use --backend torch."
        ) from error


def _table() -> Any:
    """Torch's decompositions without those that OpenVINO understands whole."""
    from openvino.frontend.pytorch.torchdynamo.export_decompositions import ops_to_not_decompose
    from torch.export.decomp_utils import CustomDecompTable

    table = CustomDecompTable()
    for operation in ops_to_not_decompose():
        if operation in table:
            table.pop(operation)
    return table


def compress(graph: openvino.Model) -> None:
    """Rounds the weights of matrix products to int8 with one scale per output channel: a quarter of the bytes.

    What they are multiplied with is rounded as it comes, each row by its own range (`SCALED_TOGETHER`), so that nothing
    is calibrated on pictures; attention and all between the products stays in the CPU's own precision.
    """
    import numpy as np
    from openvino import opset13 as ops

    for node in graph.get_ordered_ops():
        if node.get_type_name() != "MatMul" or node.input_value(1).get_node().get_type_name() != "Constant":
            continue
        weight = node.input_value(1).get_node().data
        if weight.ndim != 2 or weight.size < FEWEST_COMPRESSED:
            continue
        inner = 1 if node.get_attributes()["transpose_b"] else 0
        scale = np.maximum(np.abs(weight).max(axis=inner, keepdims=True), np.finfo(np.float32).tiny) / 127
        rounded = np.rint(weight / scale).astype(np.int8)
        stored = ops.multiply(ops.convert(ops.constant(rounded), "f32"), ops.constant(scale.astype(np.float32)))
        node.input(1).replace_source_output(stored.output(0))
