"""Which system's file is this? Its pinned hash, its name and the names and shapes of its tensors say so."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import ClassVar, Protocol, runtime_checkable

from hilum.values import progress
from hilum.values.errors import BadInput, Failed
from hilum.weights.rename import Table
from hilum.weights.tensor_file import Shapes

IGNORED = (
    "position_ids",  # transformers before 4.31 stored this buffer
    "*.position_ids",
    "*.attn.bias",  # GPT-2's causal mask, beside its weights
    "*.masked_bias",
    "*.num_batches_tracked",
    "*.rotary_emb.inv_freq",
    "*.relative_position_index",  # Swin's table of indices
    "*.attn_mask",
)  # computed buffers that some versions of a library store: left out where the network has none of that name
PREFIXES = (
    "module.",
    "_orig_mod.",
    "model.",
    "state_dict.",
    "backbone.",
)  # DataParallel, torch.compile, …
SHOWN = 5
DIGITS = re.compile(r"[_-](?P<digits>[0-9a-f]{6}|[0-9a-f]{8})(?=\.|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A tag that a file may be: its published file name, sha256 (its first digits may do), and how it is laid out.

    `spelling` brings the names that some of its files use to those of the layout, and leaves out what is not wanted;
    `beside` names the small files that are stored with it.
    """

    system: str
    tag: str
    file: str
    layout: Callable[[], Shapes]
    sha256: str = ""
    licence: str = ""
    source: str = ""
    spelling: Callable[[], Table] = Table
    beside: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """system.tag"""
        return f"{self.system}.{self.tag}"

    def pins(self, digest: str) -> bool:
        """Whether the card's sha256 says that this is the published file."""
        return bool(self.sha256) and digest.startswith(self.sha256.lower())


@dataclass(frozen=True, slots=True)
class Fit:
    """A file's tensors beside a layout: `names` (in the file -> upstream), what was left out, what does not agree."""

    candidate: Candidate
    names: Mapping[str, str]
    prefix: str
    ignored: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: tuple[str, ...]

    @property
    def wrong(self) -> int:
        """How many names or shapes do not agree."""
        return len(self.missing) + len(self.unexpected) + len(self.reshaped)

    def complaint(self) -> str:
        """What does not agree, with its counts and the first names of each sort."""
        sorts = {"missing": self.missing, "unexpected": self.unexpected, "of another shape": self.reshaped}
        return "; ".join(f"{len(names)} {sort}: {few(names)}" for sort, names in sorts.items() if names)


@runtime_checkable
class Spelt(Protocol):
    """A system some of whose public files spell their names in another way, or carry what the layout does not have."""

    spelling: ClassVar[Table]


def fit(candidate: Candidate, given: Shapes) -> Fit:
    """Holds a file's names and shapes against the layout of a candidate, to the last one."""
    wanted = candidate.layout()
    spelt = candidate.spelling().apply({name: name for name in given})  # as the layout spells it -> in the file
    prefix = _prefix(wanted, spelt)
    bare = {name.removeprefix(prefix): own for name, own in spelt.items()}
    ignored = tuple(sorted(name for name in bare.keys() - wanted.keys() if _ignorable(name)))
    kept = bare.keys() - set(ignored)
    ignored += tuple(sorted(given.keys() - set(spelt.values())))
    shared = sorted(kept & wanted.keys())
    sizes = [(name, tuple(given[bare[name]]), tuple(wanted[name])) for name in shared]
    return Fit(
        candidate,
        names={bare[name]: name for name in shared},
        prefix=prefix,
        ignored=ignored,
        missing=tuple(sorted(wanted.keys() - kept)),
        unexpected=tuple(sorted(kept - wanted.keys())),
        reshaped=tuple(f"{name} {list(is_)}, wanted {list(want)}" for name, is_, want in sizes if is_ != want),
    )


def _prefix(wanted: Shapes, given: Mapping[str, str]) -> str:
    """What stands before every name in the file and before none in the layout."""
    prefix = ""
    while True:
        longer = (prefix + each for each in PREFIXES if not any(name.startswith(each) for name in wanted))
        found = next((each for each in longer if all(name.startswith(each) for name in given)), None)
        if found is None or not given:
            return prefix
        prefix = found


def _ignorable(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in IGNORED)


def few(names: Iterable[str]) -> str:
    """At most five, and a sign that there are more."""
    ordered = list(names)
    return ", ".join(ordered[:SHOWN]) + (", …" if len(ordered) > SHOWN else "")


def by_name(candidates: Iterable[Candidate], file: str) -> list[Candidate]:
    """Candidates whose published file is called so; else those called so but for the digits of a hash."""
    pool = list(candidates)
    exact = [each for each in pool if each.file.lower() == file.lower()]
    return exact or [each for each in pool if _bare(each.file) == _bare(file)]


def _bare(file: str) -> str:
    return DIGITS.sub("", file.lower())


def digits(file: str) -> str:
    """What may be the first digits of its own sha256 in a file's name, as in SAM's and torch hub's; or nothing."""
    found = DIGITS.search(file)
    return found["digits"].lower() if found else ""


def by_layout(candidates: Iterable[Candidate], given: Shapes, file: str) -> Fit:
    """The one candidate whose layout the file has; several or none are a sentence that says what to do."""
    fits = list(_fits(candidates, given))
    good = [each for each in fits if not each.wrong]
    if len(good) == 1:
        return good[0]
    if good:
        raise undecided(good, file)
    if not fits:
        raise BadInput(f"{file} has {len(given)} tensors, and no system here takes a file of its own.")
    raise mismatch(min(fits, key=lambda each: each.wrong), file, "no system's file; the nearest is that of ")


def undecided(fits: Iterable[Fit], file: str) -> BadInput:
    """The sentence for a file that may be any of these."""
    names = [each.candidate.name for each in fits]
    return BadInput(
        f"{file} has the layout of {' and of '.join(names)}, and its name does not say which it is: "
        f"add --as {names[0]} (or another of these)."
    )


def _fits(candidates: Iterable[Candidate], given: Shapes) -> Iterator[Fit]:
    for candidate in candidates:
        try:
            yield fit(candidate, given)
        except (ImportError, Failed) as error:
            progress.say(f"not compared with {candidate.name}: {error}")


def mismatch(best: Fit, file: str, what: str) -> BadInput:
    """The sentence for a file whose tensors are not those of the candidate."""
    return BadInput(
        f"{file} is {what}{best.candidate.name}, and of its {len(best.candidate.layout())} tensors {best.complaint()}. "
        "Nothing was stored."
    )
