"""A pickle read without running anything: what it names and is not known here becomes an inert stub.

A pickle is a program for a small machine whose only way out is to name a global and call it. Here the names of plain
containers, of torch's storages and of its functions that rebuild tensors lead to values of our own; every other name
leads to `Inert`, which takes anything and does nothing. Nothing is imported, nothing of torch is called.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from hilum.weights.state import shown
from hilum.weights.tensor_file import SIZES


class Storage(NamedTuple):
    """Bytes that tensors share: where they lie is known when the file is, not when the pickle is read."""

    key: str
    dtype: str  # "U8" also where the tensor says the type itself
    length: int  # in elements


class Rebuilt(NamedTuple):
    """A tensor as the pickle describes it, unchecked."""

    storage: Any
    dtype: Any
    offset: Any
    size: Any
    stride: Any


class Inert:
    """Stands for a refused object: it can be made, filled and called, and nothing comes of it."""

    __slots__ = ()

    def __new__(cls, *_: object, **__: object) -> Inert:
        return object.__new__(cls)

    def __call__(self, *_: object, **__: object) -> Inert:
        return self

    def __setitem__(self, _: object, __: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...

    append = extend = add = update = lambda self, *_: None


class Known:
    """One of our functions under a global's name; a pickle can call it, and cannot change it."""

    __slots__ = ("_function",)
    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]):
        object.__setattr__(self, "_function", function)

    def __call__(self, *given: object) -> object:
        return self._function(*given)

    def __setattr__(self, name: str, _: object) -> None:
        raise pickle.UnpicklingError(f"a pickle may not set {name!r} on a function")


def _typed(storage: Any, offset: Any, size: Any, stride: Any, *_: object) -> Rebuilt:
    return Rebuilt(storage, None, offset, size, stride)


def _untyped(storage: Any, offset: Any, size: Any, stride: Any, _: Any, __: Any, dtype: Any, *___: object) -> Rebuilt:
    return Rebuilt(storage, dtype, offset, size, stride)


def _same(tensor: Any, *_: object) -> Any:
    return tensor


def _subclass(rebuild: Any, _: object, arguments: Any, *__: object) -> Any:
    return rebuild(*arguments) if type(rebuild) is Known and type(arguments) is tuple else Inert()


TYPES = {
    "Double": ("F64", "float64"),
    "Float": ("F32", "float32"),
    "Half": ("F16", "float16"),
    "BFloat16": ("BF16", "bfloat16"),
    "Long": ("I64", "int64"),
    "Int": ("I32", "int32"),
    "Short": ("I16", "int16"),
    "Char": ("I8", "int8"),
    "Byte": ("U8", "uint8"),
    "Bool": ("BOOL", "bool"),
}
KNOWN: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch", "Size"): Known(tuple),
    ("torch._utils", "_rebuild_tensor"): Known(_typed),
    ("torch._utils", "_rebuild_tensor_v2"): Known(_typed),
    ("torch._utils", "_rebuild_tensor_v3"): Known(_untyped),
    ("torch._utils", "_rebuild_parameter"): Known(_same),
    ("torch._utils", "_rebuild_parameter_with_state"): Known(_same),
    ("torch._tensor", "_rebuild_from_type_v2"): Known(_subclass),
    ("torch.storage", "UntypedStorage"): "U8",
    **{("torch", f"{kind}Storage"): word for kind, (word, _) in TYPES.items()},
    **{("torch", name): word for word, name in TYPES.values()},
}


class Reader(pickle.Unpickler):
    """Reads one pickle; what it refused is in `refused`, the storages that it named are in `storages`."""

    def __init__(self, file: Any):
        super().__init__(file)
        self.refused: set[str] = set()
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in KNOWN:
            return KNOWN[module, name]
        self.refused.add(shown(f"{module}.{name}"))
        return Inert

    def persistent_load(self, pid: Any) -> Storage:
        match pid:
            case ("storage", str(dtype), str(key), str(), int(count), *_) if dtype in SIZES:
                return self.storages.setdefault(key, Storage(key, dtype, count))
        raise pickle.UnpicklingError(f"a reference that is no storage: {shown(repr(type(pid)))}")
