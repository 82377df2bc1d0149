"""The table of tensors within whatever a training script saved around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

WRAPPERS = ("state_dict", "model_state_dict", "model", "teacher", "network", "net", "module", "weights")
DEEPEST = 4  # wrappers within wrappers
LONGEST_NAME = 512


class NoTensors(ValueError):
    """Nothing in the file is a table of named tensors."""


@dataclass(frozen=True, slots=True)
class State:
    """Tensors by name, the wrappers around them from the outside in, and what lay beside them and was left out."""

    tensors: dict[str, Any]
    wrappers: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def unwrapped(content: object, is_tensor: Callable[[object], bool], depth: int = DEEPEST) -> State:
    """The state dict: the content itself, or what lies under the first known wrapper that holds more tensors."""
    if not isinstance(content, dict):
        raise NoTensors(f"it holds one {shown(type(content).__name__)}, not a table of named tensors")
    own = {name: value for name, value in content.items() if type(name) is str and is_tensor(value)}
    inner = State({})
    for wrapper in WRAPPERS if depth else ():
        if isinstance(content.get(wrapper), dict) and not inner.tensors:
            inner = _within(content[wrapper], wrapper, is_tensor, depth)
    if not own and not inner.tensors:
        held = ", ".join(shown(str(name)) for name in list(content)[:5] if type(name) is str)
        raise NoTensors(f"it holds no named tensors; its entries are: {held or 'none'}")
    best = inner if len(inner.tensors) > len(own) else State(own)
    taken = best.tensors if best.wrappers == () else {best.wrappers[0]}
    beside = tuple(shown(name) for name in content if type(name) is str and name not in taken)
    return State(best.tensors, best.wrappers, (*best.left_out, *beside))


def _within(content: dict[Any, Any], wrapper: str, is_tensor: Callable[[object], bool], depth: int) -> State:
    try:
        found = unwrapped(content, is_tensor, depth - 1)
    except NoTensors:
        return State({})
    return State(found.tensors, (wrapper, *found.wrappers), found.left_out)


def checked_name(name: str) -> str:
    """A tensor's name that can be shown and stored: printable, without spaces, not too long."""
    if not 0 < len(name) <= LONGEST_NAME or not name.isascii() or not name.isprintable() or " " in name:
        raise ValueError(
            f"a tensor has the name {shown(name)!r}: names are printable ASCII, at most {LONGEST_NAME} long"
        )
    return name


def shown(text: str, most: int = 80) -> str:
    """Foreign text made safe for a terminal: nothing but printable ASCII, and not much of it."""
    clean = "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in text[: most + 1])
    return clean if len(clean) <= most else clean[: most - 1] + "~"
