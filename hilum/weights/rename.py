"""Tables between the names a file carries and the names a network has: read top to bottom, strict, and reversible.

A step turns a mapping of named tensors into another one. `Rule` renames, `Twin` drops a tensor that is stored twice,
`Ignore` leaves tensors out. Patterns are literal text and plain groups such as (\\d+), so that each rule can be read
backwards; `fill` then demands that names and shapes are the network's own, to the last one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from hilum.values.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor, nn

Tensors = Mapping[str, Any]  # torch tensors, on whatever device, meta included
PIECE = re.compile(r"(?P<group>\((?!\?)[^()]*\))|(?P<escaped>\\[^\w\s])|(?P<anchor>[\^$])|(?P<literal>[\w\s/:<>=,~-]+)")
SHOWN = 3  # names of each sort in an error


class Step(Protocol):
    """One line of a table, both ways."""

    def apply(self, tensors: Tensors) -> dict[str, Any]: ...

    def inverse(self, tensors: Tensors) -> dict[str, Any]: ...


class Mismatch(BadInput):
    """A file's tensors are not the network's."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Replaces `pattern` by `replacement` wherever it stands in a name, and may change the tensor on the way."""

    pattern: str
    replacement: str
    transform: Callable[[Any], Any] | None = None
    undo: Callable[[Any], Any] | None = None

    def __post_init__(self) -> None:
        groups = sum(piece.startswith("(") for piece in pieces(self.pattern))
        used = sorted(int(number) for number in re.findall(r"\\(\d)", self.replacement))
        if used != list(range(1, groups + 1)):
            raise ValueError(
                f"rule {self.pattern!r}: each of its {groups} groups must come once in {self.replacement!r}"
            )

    def apply(self, tensors: Tensors) -> dict[str, Any]:
        renamed: dict[str, Any] = {}
        for name, tensor in tensors.items():
            new, times = re.subn(self.pattern, self.replacement, name)
            if new in renamed:
                raise Mismatch(f"rule {self.pattern!r} gives the name {new} twice, the second time to {name}")
            renamed[new] = self.transform(tensor) if times and self.transform else tensor
        return renamed

    def inverse(self, tensors: Tensors) -> dict[str, Any]:
        return self.backwards().apply(tensors)

    def backwards(self) -> Rule:
        """The rule that undoes this one: groups keep their patterns and change places."""
        if self.transform and not self.undo:
            raise ValueError(f"rule {self.pattern!r} changes its tensor and does not say how to undo that")
        mine = list(pieces(self.pattern))
        groups = [piece for piece in mine if piece.startswith("(")]
        order = re.findall(r"\\(\d)", self.replacement)
        parts = re.split(r"(\\\d)", self.replacement)
        start, end = ("^" if mine[0] == "^" else ""), ("$" if mine[-1] == "$" else "")
        pattern = "".join(groups[int(part[1:]) - 1] if part.startswith("\\") else re.escape(part) for part in parts)
        places = iter(rf"\{order.index(str(group)) + 1}" for group in range(1, len(groups) + 1))
        replacement = "".join(next(places) if piece.startswith("(") else plain(piece) for piece in mine)
        return Rule(start + pattern + end, replacement, self.undo, self.transform)


def pieces(pattern: str) -> Iterator[str]:
    """A pattern's literals, escaped characters, anchors and groups, in order."""
    place = 0
    while place < len(pattern):
        found = PIECE.match(pattern, place)
        if found is None:
            raise ValueError(f"rule {pattern!r}: only literal text, \\., ^, $ and plain groups can be read backwards")
        yield found.group()
        place = found.end()


def plain(piece: str) -> str:
    """What a literal piece stands for."""
    return "" if piece in ("^", "$") else piece.removeprefix("\\")


@dataclass(frozen=True, slots=True)
class Twin:
    """The tensor `name` repeats the tensor `of`: checked and dropped."""

    name: str
    of: str

    def apply(self, tensors: Tensors) -> dict[str, Any]:
        left = dict(tensors)
        twin = left.pop(self.name, None)
        if twin is not None and (self.of not in left or not same(twin, left[self.of])):
            raise Mismatch(f"{self.name} should repeat {self.of}, but differs from it")
        return left

    def inverse(self, tensors: Tensors) -> dict[str, Any]:
        return {**tensors, self.name: tensors[self.of]} if self.of in tensors else dict(tensors)


@dataclass(frozen=True, slots=True)
class Ignore:
    """Tensors whose names match in full are left out: what a file carries beside the network."""

    pattern: str

    def apply(self, tensors: Tensors) -> dict[str, Any]:
        return {name: tensor for name, tensor in tensors.items() if not re.fullmatch(self.pattern, name)}

    def inverse(self, tensors: Tensors) -> dict[str, Any]:
        return dict(tensors)


@dataclass(frozen=True, init=False)
class Table:
    """Steps, read top to bottom. A table is a step itself, so tables are put together like rules."""

    steps: tuple[Step, ...]

    def __init__(self, *steps: Step):
        object.__setattr__(self, "steps", steps)

    def apply(self, tensors: Tensors) -> dict[str, Any]:
        """The tensors under the new names; each of them once."""
        renamed = dict(tensors)
        for step in self.steps:
            renamed = step.apply(renamed)
        return renamed

    def inverse(self, tensors: Tensors) -> dict[str, Any]:
        """The tensors under the names they came from; what was ignored stays away."""
        named = dict(tensors)
        for step in reversed(self.steps):
            named = step.inverse(named)
        return named


def same(one: Tensor, other: Tensor) -> bool:
    """Equal in shape and, where there are values, in every one of them."""
    return one.shape == other.shape and (one.device.type == "meta" or bool((one == other).all()))


def fill(network: nn.Module, tensors: Tensors) -> None:
    """Makes the tensors the network's own, in its precision; every name and shape must be the network's."""
    own = network.state_dict()
    check(shapes(own), shapes(tensors))
    network.load_state_dict({name: t.to(own[name].dtype) for name, t in tensors.items()}, strict=True, assign=True)


def shapes(tensors: Tensors) -> dict[str, tuple[int, ...]]:
    """Names and shapes."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def check(wanted: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]]) -> None:
    """Raises a short list of what is missing, unexpected, or of another shape."""
    both = wanted.keys() & given.keys()
    wrong = [f"{name} {list(given[name])}, wanted {list(wanted[name])}" for name in both if given[name] != wanted[name]]
    sorts = {"missing": wanted.keys() - both, "unexpected": given.keys() - both, "of another shape": wrong}
    complaints = [f"{len(names)} {sort} ({few(names)})" for sort, names in sorts.items() if names]
    if complaints:
        raise Mismatch(f"these weights are not this network's: {'; '.join(complaints)}")


def few(names: Iterable[str]) -> str:
    """The first names, and a sign that there are more."""
    ordered = sorted(names)
    return ", ".join(ordered[:SHOWN]) + (", …" if len(ordered) > SHOWN else "")
