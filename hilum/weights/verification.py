"""Are the stored weights what they claim to be? Their hash, tensors and shapes again, and what equals them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hilum.values.card import Card
from hilum.values.errors import BadInput, WeightsUnavailable
from hilum.weights import store, tensor_file
from hilum.weights.recognise import Candidate, few, fit
from hilum.weights.store import MODEL, Record


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `sound` is False only where something is wrong, not where nothing is known."""

    sentence: str
    sound: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """All checks of one tag."""

    name: str
    path: Path
    sha256: str
    checks: tuple[Check, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return all(check.sound for check in self.checks)


def verify(card: Card, tag: str | None, candidates: Iterable[Candidate]) -> Verdict:
    """Reads the whole file of a tag (the first one that is there if None) and holds it against record and layout."""
    there = store.available(card)
    chosen = tag or next(iter(there), None)
    if chosen is None or chosen not in there:
        store.find(card, tag)  # says how to get them
        raise WeightsUnavailable(f"{card.name} has no weights here.")
    pool = list(candidates)
    own = next((each for each in pool if (each.system, each.tag) == (card.name, chosen)), None)
    path = store.shipped(card).get(chosen, store.place(card.name, chosen) / MODEL)
    kept = None if chosen in store.shipped(card) else store.record(card.name, chosen)
    digest = tensor_file.sha256(path)
    entry = card.entry(chosen)
    promised = entry.sha256 if entry and entry.shipped else kept.sha256 if kept else ""
    checks = [_hash(digest, promised, "the card" if kept is None else "the record"), *_tensors(path, own, kept)]
    if kept is not None:
        checks += [*_origin(kept, own), *_doubles(kept, own, {each.name: each for each in pool})]
    elif chosen not in store.shipped(card):
        checks.append(
            Check("its record.json is missing or cannot be read: import it again with --replace", sound=False)
        )
    return Verdict(f"{card.name}.{chosen}", path, digest, tuple(checks))


def _hash(digest: str, promised: str, where: str) -> Check:
    if not promised:
        return Check(f"sha256 {digest}; {where} pins none to compare it with")
    if digest.startswith(promised.lower()):
        return Check(f"sha256 {digest}, as {where} says")
    return Check(f"sha256 {digest}, and {where} says {promised}: the file has changed", sound=False)


def _tensors(path: Path, own: Candidate | None, kept: Record | None) -> list[Check]:
    if path.suffix == store.RULE:
        return [Check("a rule: its module is all there is, and nothing is loaded")]
    try:
        shapes = tensor_file.shapes(path)
    except BadInput as error:
        return [Check(str(error), sound=False)]
    count = Check(f"{len(shapes)} tensors, {path.stat().st_size:,} bytes")
    if kept is not None and kept.tensors != len(shapes):
        count = Check(f"{len(shapes)} tensors, and the record says {kept.tensors}", sound=False)
    if own is None:
        return [count, Check("no layout is known for this tag")]
    found = fit(own, shapes)
    if found.wrong or found.ignored or found.prefix:
        return [count, Check(f"names and shapes are not those of {own.name}: {found.complaint()}", sound=False)]
    return [count, Check(f"names and shapes are those of {own.name}, to the last one")]


def _origin(kept: Record, own: Candidate | None) -> list[Check]:
    came = f"imported on {kept.date} from {kept.file}, sha256 {kept.file_sha256}"
    if own is None or not own.sha256:
        published = "the card pins no sha256 of the published file"
    elif own.pins(kept.file_sha256):
        published = f"the published file: its sha256 begins with {own.sha256}"
    else:
        published = f"not the published file: that one's sha256 begins with {own.sha256}"
    taken = [*kept.wrappers, *filter(None, kept.prefix.split("."))]
    checks = [Check(came), Check(published)]
    checks += [Check(f"was taken out of the wrappers {', '.join(taken)}")] if taken else []
    checks += [Check(f"{len(kept.ignored)} tensors were ignored: {few(kept.ignored)}")] if kept.ignored else []
    return checks


def _doubles(kept: Record, own: Candidate | None, known: dict[str, Candidate]) -> list[Check]:
    """Other stored files with the same bytes: right where the same file is published for both, else one is wrong."""
    pinned = own is not None and own.pins(kept.file_sha256)
    checks = []
    for other in store.records():
        if other.sha256 != kept.sha256 or other.name == kept.name:
            continue
        theirs = known.get(other.name)
        if own is not None and theirs is not None and theirs.file == own.file:
            checks.append(Check(f"the same file as {other.name}, as published"))
        else:
            wrong = "that one is not what it is called" if pinned else "one of the two is not what it is called"
            checks.append(Check(f"byte for byte equal to {other.name} ({other.file}): {wrong}", sound=pinned))
    return checks
