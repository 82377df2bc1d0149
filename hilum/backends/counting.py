"""Runs a module on tensors without contents and counts: FLOPs, and the bytes of activations that are alive at once."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from hilum.backends.compute import Counted


def count(module: nn.Module, shape: tuple[int, ...]) -> Counted:
    """One pass in torch's way, and one in that of an exported graph."""
    with FlopCounterMode(display=False, custom_mapping=ATTENTION) as counter:
        torch_bytes = _live_bytes(module, shape)
    with _as_exported():
        graph_bytes = _live_bytes(module, shape)
    return Counted(counter.get_total_flops(), torch_bytes, graph_bytes)


def _attention_flops(query: Any, key: Any, value: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


ATTENTION = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops}  # not in torch's own table


def _live_bytes(module: nn.Module, shape: tuple[int, ...]) -> int:
    """Bytes of activations alive at once in a pass on the CPU, each freed when nothing refers to it any more."""
    with FakeTensorMode(), torch.no_grad():
        tensors = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
        state = {name: torch.empty(each.shape, dtype=each.dtype) for name, each in tensors}
        with Live(state.values()) as live:
            functional_call(module, state, (torch.empty(shape),))
    return live.peak


class Live(TorchDispatchMode):
    """Adds up the storages that operations make, until they are dropped; those of `there` were there before."""

    def __init__(self, there: Iterable[Tensor]) -> None:
        super().__init__()
        self.now = self.peak = 0
        storages = [each.untyped_storage() for each in there]
        self.known: dict[int, object] = {each._cdata: each for each in storages}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for each in tree_leaves(made):
            if isinstance(each, Tensor):
                self._add(each.untyped_storage())
        return made

    def _add(self, storage: torch.UntypedStorage) -> None:
        name, size = storage._cdata, storage.nbytes()
        if name in self.known:
            return

        def gone(_: object) -> None:
            self.now -= size
            self.known.pop(name, None)

        self.known[name] = weakref.ref(storage, gone)
        self.now += size
        self.peak = max(self.peak, self.now)


@contextmanager
def _as_exported() -> Iterator[None]:
    """Lets modules that ask whether they are exported hear yes, as OpenVINO's graph is made from that form."""
    asked = torch.compiler.is_exporting
    torch.compiler.is_exporting = lambda: True
    try:
        yield
    finally:
        torch.compiler.is_exporting = asked
