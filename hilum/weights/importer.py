"""Imports a weights file that the user brings: recognised, checked, converted once to safetensors, recorded."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from hilum.io import limits
from hilum.values.errors import BadInput
from hilum.weights import companions, limited, staging, store, tensor_file
from hilum.weights.recognise import Candidate, Fit, by_layout, by_name, digits, few, fit, mismatch, undecided
from hilum.weights.store import MODEL, Record, Weights

RAW = "as-it-came.safetensors"
MAX_WEIGHTS_BYTES = 64 << 30
NOT_WEIGHTS = {
    b"<!doctype html": "a web page, not weights: open its address in a browser and download the file itself",
    b"<html": "a web page, not weights: open its address in a browser and download the file itself",
    b"version https://git-lfs": "a Git LFS pointer, not weights: fetch the file itself with `git lfs pull`",
    b"\x1f\x8b": "compressed: unpack it first",
    b"Rar!": "an archive: unpack it first",
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user said: `name` which tag it is; `accept_hash`, `replace` what would be refused otherwise."""

    name: str | None = None
    accept_hash: bool = False
    replace: bool = False
    source: str = ""


AS_IT_IS = Wish()


@dataclass(frozen=True, slots=True)
class Imported:
    """Weights that are in the store now, their record, and whether they had been there already.

    `brought` are the small files that came with them just now, `lacking` those that are not here yet.
    """

    weights: Weights
    record: Record
    already: bool = False
    brought: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()

    def sentences(self) -> list[str]:
        """What was recognised, taken and left out."""
        kept = self.record
        besides = [f"{name} came with it." for name in self.brought]
        besides += [f"{name} is not here: put it beside {kept.file} and import again." for name in self.lacking]
        if self.already:
            done = "" if self.brought else "; nothing was done"
            return [f"{kept.name} is already here, imported from {kept.file}{done}.", *besides]
        said = [f"{kept.file} is {kept.name}: {kept.tensors} tensors, {kept.size:,} bytes, sha256 {kept.file_sha256}."]
        peeled = [*kept.wrappers, *filter(None, kept.prefix.split("."))]
        told = {
            "taken out of": peeled,
            "ignored": kept.ignored,
            "left out": kept.left_out,
            "not run, met as inert stubs": kept.refused,
        }
        said += [f"{what} ({len(names)}): {few(names)}." for what, names in told.items() if names]
        return [*said, *kept.notes, *besides]


def import_file(path: Path, candidates: Iterable[Candidate], wish: Wish = AS_IT_IS) -> tuple[Imported, ...]:
    """Stores the file under each tag that it is the published file of, usually one, with what lies beside it."""
    pool = list(candidates)
    beside = {each.name: each.beside for each in pool}
    return tuple(_accompanied(each, path.parent, beside[each.record.name]) for each in _imported(path, pool, wish))


def _accompanied(imported: Imported, folder: Path, names: tuple[str, ...]) -> Imported:
    """With the small files that the weights are used with, where they lie in the folder that the file came from."""
    place = imported.weights.path.parent
    brought = companions.bring(names, folder, place)
    return replace(imported, brought=brought, lacking=companions.lacking(names, place))


def _imported(path: Path, pool: list[Candidate], wish: Wish) -> tuple[Imported, ...]:
    size = _sized(path)
    digest = tensor_file.sha256(path)
    named = _named(pool, path.name, digest, wish)
    promised = _promised(named, path.name, digest)
    if promised and not wish.accept_hash:
        raise BadInput(
            f"{path.name} should have a sha256 that begins with {promised[:16]}, and has {digest[:16]}…: it is broken "
            "or another file. Download it again; if you trust it, add --accept-hash, which is recorded."
        )
    there = [each for each in map(stored, named or pool) if each and each.record.file_sha256 == digest]
    if there and not wish.replace and len(there) >= len(named):
        return tuple(there)
    with staging.stage(2 * size + (1 << 20)) as stage:
        raw, report = _readable(path, stage)
        given = tensor_file.shapes(raw)
        fits = _fitted(named, given, path.name) if named else [by_layout(pool, given, path.name)]
        _free(fits, digest, wish)
        _settled(raw, stage, fits[0])
        first = _record(stage / MODEL, path.name, (fits[0], report))
        notes = (*_doubts(fits, digest, promised), *_doubles(first, fits))
        first = replace(first, file_sha256=digest, source=wish.source or first.source, notes=notes)
        model = staging.settle(stage, first)
    return (Imported(_weights(first, model), first), *(_shared(model, first, each) for each in fits[1:]))


def _sized(path: Path) -> int:
    if not path.is_file():
        raise BadInput(f"no such file: {path}")
    size, most = path.stat().st_size, limits.limit("MAX_WEIGHTS_BYTES", MAX_WEIGHTS_BYTES)
    if not 0 < size <= most:
        raise BadInput(f"{path.name} has {size:,} bytes; 1 to {most:,} are taken (HILUM_MAX_WEIGHTS_BYTES).")
    start = _start(path)
    for mark, what in ({} if _is_safetensors(start) else NOT_WEIGHTS).items():
        if start.lstrip().lower().startswith(mark.lower()):
            raise BadInput(f"{path.name} is {what}.")
    return size


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(64)


def _is_safetensors(start: bytes) -> bool:
    """By the brace after the header's length; the length itself may look like any other format's mark."""
    return start[8:9] == b"{"


def _named(pool: list[Candidate], file: str, digest: str, wish: Wish) -> list[Candidate]:
    """Candidates that the user, the pinned hash or the file's name says it is; none leaves it to the layout."""
    if wish.name is None:
        return [each for each in pool if each.pins(digest)] or by_name(pool, file)
    chosen = [each for each in pool if wish.name in (each.name, each.system)]
    if len(chosen) != 1:
        names = ", ".join(each.name for each in chosen or pool)
        raise BadInput(f"--as {wish.name} does not name one of the files that can be imported: {names or 'none'}")
    return chosen


def _promised(named: list[Candidate], file: str, digest: str) -> str:
    """First digits of the sha256 that the file's own name, or the card for this very name, promises in vain."""
    own = digits(file) if any(digits(each.file) for each in named) else ""
    if own and not digest.startswith(own):
        return own
    pins = [each.sha256.lower() for each in named if each.sha256 and each.file.lower() == file.lower()]
    return "" if not pins or any(digest.startswith(pin) for pin in pins) else pins[0]


def _doubts(fits: list[Fit], digest: str, promised: str) -> tuple[str, ...]:
    """What the record says where the file is not the pinned one."""
    if promised:
        return (f"Its sha256 does not begin with {promised[:16]}, and was accepted by the user.",)
    pins = [each.candidate.sha256 for each in fits if each.candidate.sha256 and not each.candidate.pins(digest)]
    return tuple(f"It is not the published file: that one's sha256 begins with {pin[:16]}." for pin in pins[:1])


def stored(candidate: Candidate) -> Imported | None:
    """What the store holds under this tag, if it is whole by its size; no byte of it is read."""
    kept = store.record(candidate.system, candidate.tag)
    model = store.place(candidate.system, candidate.tag) / MODEL
    if kept is None or not model.is_file() or model.stat().st_size != kept.size:
        return None
    return Imported(_weights(kept, model), kept, already=True)


def _readable(path: Path, stage: Path) -> tuple[Path, limited.Report]:
    """A safetensors file with the file's own names: the file itself, or what the limited process made of it."""
    if path.suffix == store.SUFFIX or _is_safetensors(_start(path)):
        return path, limited.Report((), (), (), "safetensors", len(tensor_file.slots(path)), 0)
    return stage / RAW, limited.unpickle(path, stage / RAW)


def _fitted(named: list[Candidate], given: tensor_file.Shapes, file: str) -> list[Fit]:
    fits = [fit(candidate, given) for candidate in named]
    good = [each for each in fits if not each.wrong]
    if not good:
        raise mismatch(min(fits, key=lambda each: each.wrong), file, "taken for ")
    if len({each.candidate.source for each in good if not each.candidate.sha256}) > 1:  # files of one name and layout
        raise undecided(good, file)
    return good


def _free(fits: list[Fit], digest: str, wish: Wish) -> None:
    """Another file under the same tag is replaced only when the user says so."""
    for each in fits:
        kept = store.record(each.candidate.system, each.candidate.tag)
        if kept is not None and kept.file_sha256 != digest and not wish.replace:
            raise BadInput(
                f"{kept.name} is already here, from {kept.file} with sha256 {kept.file_sha256[:16]}…; "
                "add --replace to put the new file in its place."
            )


def _settled(raw: Path, stage: Path, best: Fit) -> None:
    """The model in the stage, under upstream names alone."""
    if raw.parent == stage and not best.ignored and all(old == new for old, new in best.names.items()):
        os.rename(raw, stage / MODEL)
        return
    tensor_file.copy(raw, stage / MODEL, best.names)
    (stage / RAW).unlink(missing_ok=True)


def _record(model: Path, file: str, made: tuple[Fit, limited.Report]) -> Record:
    best, report = made
    return Record(
        system=best.candidate.system,
        tag=best.candidate.tag,
        file=file,
        file_sha256="",
        sha256=tensor_file.sha256(model),
        size=model.stat().st_size,
        tensors=len(best.names),
        licence=best.candidate.licence,
        source=best.candidate.source,
        date=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        wrappers=report.wrappers,
        prefix=best.prefix,
        ignored=best.ignored,
        left_out=report.left_out,
        refused=report.refused,
        reader=report.reader,
    )


def _doubles(first: Record, fits: list[Fit]) -> tuple[str, ...]:
    """Said when the same tensors are already here under a tag whose published file is another one."""
    own = {each.candidate.name for each in fits}
    same = [kept for kept in store.records() if kept.sha256 == first.sha256 and kept.name not in own]
    return tuple(f"Its tensors are byte for byte those of {kept.name} ({kept.file})." for kept in same)


def _shared(model: Path, first: Record, other: Fit) -> Imported:
    """The same file under another tag that it is published for."""
    candidate = other.candidate
    with staging.stage(0) as stage:
        staging.share(model, stage / MODEL)
        kept = replace(first, system=candidate.system, tag=candidate.tag)
        path = staging.settle(stage, kept)
    return Imported(_weights(kept, path), kept)


def _weights(kept: Record, model: Path) -> Weights:
    return Weights(kept.system, kept.tag, model, kept.sha256)
