"""Pulls a published file into the store: the only part of hilum that opens a socket, and only when it is called."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hilum.values import progress
from hilum.values.card import WeightsEntry
from hilum.values.errors import BadInput, Failed, HilumError, WeightsUnavailable
from hilum.weights import companions, download, store, tensor_file
from hilum.weights.importer import Imported, Wish, import_file, stored
from hilum.weights.recognise import Candidate

DOWNLOADS = ".downloads"
PLACE = re.compile(r"hf:(?P<repository>[\w.-]+/[\w.-]+)/(?P<file>[^@]+)(@(?P<revision>.+))?")


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file on the hub: "hf:org/repository/file@revision"."""

    repository: str
    file: str
    revision: str


def hub_file(entry: WeightsEntry) -> HubFile | None:
    """Where on the hub the entry lies; None if it lies elsewhere."""
    found = PLACE.fullmatch(entry.source)
    if found is None:
        return None
    return HubFile(found["repository"], found["file"], found["revision"] or entry.revision or "main")


def pull(candidate: Candidate, entry: WeightsEntry, *, again: bool = False) -> tuple[Imported, ...]:
    """Fetches the entry's file, checks its sha256, imports it; what is stored and verified is not fetched again."""
    there = None if again else stored(candidate)
    if there is not None and not companions.lacking(entry.beside, there.weights.path.parent):
        return (there,)
    if entry.shipped:
        raise BadInput(f"{candidate.name} ships with the package; there is nothing to pull.")
    if entry.trained:
        raise BadInput(f"{candidate.name} cannot be pulled: {store.how_to_get(candidate.system, entry)}")
    progress.say(f"{candidate.name}: licence {entry.licence}; from {entry.source}")
    folder = store.folder() / DOWNLOADS / candidate.name
    try:
        _accompany(entry, folder)
        if there is not None:
            brought = companions.bring(entry.beside, folder, there.weights.path.parent)
            shutil.rmtree(folder, ignore_errors=True)
            return (replace(there, brought=brought),)
        path = _fetched(entry, folder)
        _gathered(entry, folder, path.parent)
    except HilumError as error:
        with suppress(OSError):
            folder.rmdir()  # what came in part stays, to be resumed
        raise type(error)(f"{error} {_by_hand(entry)}") from error
    _checked(path, entry, folder)
    wish = Wish(name=candidate.name, source=entry.source, replace=again)
    imported = import_file(path, (candidate,), wish)
    shutil.rmtree(folder, ignore_errors=True)
    return imported


def _accompany(entry: WeightsEntry, folder: Path) -> None:
    """Fetches the small files that the weights are used with, each from its own place on the hub."""
    for name, source in entry.beside.items():
        where = hub_file(replace(entry, source=source, revision=""))
        if where is None:
            raise WeightsUnavailable(f"{name} cannot be pulled: get it from {source} by hand.")
        path = _from_hub(where, replace(entry, file=name, source=source), folder / f"beside-{name}")
        path.replace(folder / name)


def _gathered(entry: WeightsEntry, folder: Path, beside: Path) -> None:
    """Puts the small files into the folder that the weights' own file came to lie in."""
    for name in entry.beside:
        if beside != folder:
            (folder / name).replace(beside / name)


def _by_hand(entry: WeightsEntry) -> str:
    return f"With a browser: {store.page(entry)}, then `hilum weights import {entry.file}`."


def _fetched(entry: WeightsEntry, folder: Path) -> Path:
    where = hub_file(entry)
    if where is not None:
        return _from_hub(where, entry, folder)
    if entry.gated or not store.direct(entry):
        raise WeightsUnavailable(f"{entry.file} cannot be pulled: its publisher gives it out by hand.")
    return download.fetch(entry.source, folder / entry.file)


def _from_hub(where: HubFile, entry: WeightsEntry, folder: Path) -> Path:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import errors, hf_hub_download

    endpoint = os.environ.get("HF_ENDPOINT", store.HUB).rstrip("/")
    download.reach(endpoint)
    progress.say(f"asking {endpoint} for {where.repository}, revision {where.revision}")
    try:
        path = hf_hub_download(
            where.repository,
            where.file,
            revision=where.revision,
            local_dir=folder,
            endpoint=endpoint,
            tqdm_class=_counting(),
        )
    except errors.GatedRepoError as error:
        raise _gated(entry) from error
    except (errors.RepositoryNotFoundError, errors.RemoteEntryNotFoundError, errors.RevisionNotFoundError) as error:
        if entry.gated:
            raise _gated(entry) from error
        raise Failed(f"{store.page(entry)} has no {where.file} at the revision {where.revision} (any more).") from error
    except _transport(errors.HfHubHTTPError) as error:
        raise download.Unreachable(f"{endpoint} cannot be reached, or broke off: {_short(error)}.") from error
    return Path(path)


def _transport(error: type[Exception]) -> tuple[type[Exception], ...]:
    """What a broken connection raises: OSError, or the error of the HTTP library that the hub's client uses."""
    return OSError, *(each for each in error.__mro__ if issubclass(each, Exception) and each.__name__ == "HTTPError")


def _gated(entry: WeightsEntry) -> WeightsUnavailable:
    return WeightsUnavailable(
        f"{entry.file} is gated: accept its conditions at {store.page(entry)}, then `hf auth login`, and pull again."
    )


def _short(error: Exception) -> str:
    first = str(error).strip().splitlines()
    return first[0][:160].rstrip(".") if first else type(error).__name__


def _counting() -> Any:
    """The hub's progress bar, told to whoever listens instead of drawn."""
    from tqdm import tqdm

    class Counting(tqdm):  # type: ignore[type-arg]
        def __init__(self, *_: Any, **given: Any):
            super().__init__(disable=True)
            self.what = given.get("desc") or "fetching"
            self.seen, self.size = int(given.get("initial") or 0), int(given.get("total") or 0)

        def update(self, n: float | None = 1) -> None:
            self.seen += int(n or 0)
            progress.count(f"fetching {self.what}", self.seen, max(self.size, self.seen))

    return Counting


def _checked(path: Path, entry: WeightsEntry, folder: Path) -> None:
    digest = tensor_file.sha256(path)
    if entry.sha256 and not digest.startswith(entry.sha256.lower()):
        shutil.rmtree(folder, ignore_errors=True)
        raise Failed(
            f"what came from {entry.source} has the sha256 {digest[:16]}…, and {entry.sha256[:16]} is pinned: "
            f"it was thrown away. Try again; if it stays so, the publisher has changed the file. {_by_hand(entry)}"
        )
