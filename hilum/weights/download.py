"""Fetches one file over https: with progress, resumed where it broke, and never over anything weaker than https."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from hilum.values import progress
from hilum.values.errors import BadInput, Failed

LOOPBACK = "HILUM_ALLOW_LOOPBACK_HTTP"  # for tests: plain http from this very machine
HOSTS = ("127.0.0.1", "localhost", "::1")
CHUNK = 1 << 20
ATTEMPTS = 6  # in a row that bring nothing new
TIMEOUT = 30.0  # seconds without a byte
PASSING = {408, 425, 429, 500, 502, 503, 504}
BROKEN = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)


class Refused(Failed):
    """The server wants a permission that we do not have."""


class Unreachable(Failed):
    """There is no way to the server."""


def checked(address: str) -> str:
    """The address, if it is https (or loopback http where the environment allows it for tests)."""
    parts = urlsplit(address)
    loopback = parts.scheme == "http" and parts.hostname in HOSTS and os.environ.get(LOOPBACK) == "1"
    if not loopback and (parts.scheme != "https" or not parts.hostname):
        raise BadInput(f"{address} is not an https address, and weights are fetched over https only.")
    return address


def reach(address: str) -> None:
    """Raises at once if there is no way to the server: some clients try for half a minute before they say so."""
    request = urllib.request.Request(checked(address), method="HEAD", headers={"User-Agent": "hilum"})
    try:
        urllib.request.build_opener(_SameSafety).open(request, timeout=TIMEOUT).close()
    except urllib.error.HTTPError as error:  # an answer, whatever it says
        error.close()
    except BROKEN as error:
        raise _unreachable(address, error) from error


def _unreachable(address: str, error: Exception) -> Unreachable:
    return Unreachable(f"{urlsplit(address).hostname} cannot be reached: {getattr(error, 'reason', error)}.")


class _SameSafety(urllib.request.HTTPRedirectHandler):
    """Redirects are held to the same rule as the first address."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        checked(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@dataclass(frozen=True, slots=True)
class Part:
    """What has come so far, and the validator that says whether the server's file is still the same."""

    path: Path

    @property
    def notes(self) -> Path:
        """Where the validator is kept."""
        return self.path.with_name(f"{self.path.name}.json")

    def validator(self) -> str:
        """The server's word for this version of the file; empty if it gave none, and then nothing is resumed."""
        try:
            return str(json.loads(self.notes.read_text())["validator"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def done(self) -> int:
        """Bytes that can be kept."""
        return self.path.stat().st_size if self.path.is_file() and self.validator() else 0

    def drop(self) -> None:
        """Begin again."""
        for path in (self.path, self.notes):
            path.unlink(missing_ok=True)


def fetch(address: str, target: Path, *, pause: Callable[[float], None] = time.sleep) -> Path:
    """The file at `address` as `target`. What came before a break stays in `target`.part and is not fetched again."""
    checked(address)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Part(target.with_name(f"{target.name}.part"))
    with _alone(target):
        _try_until_whole(address, part, pause)
        os.replace(part.path, target)
        part.drop()
    return target


def _try_until_whole(address: str, part: Part, pause: Callable[[float], None]) -> None:
    vain, reason = 0, ""
    while vain < ATTEMPTS:
        before = part.done()
        try:
            if _more(address, part):
                return
            reason = "the connection broke off"
        except urllib.error.HTTPError as error:
            reason = _answered(address, error, part)
        except BROKEN as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
            if not before and not part.done() and not vain:
                raise _unreachable(address, error) from error
        vain = 0 if part.done() > before else vain + 1
        pause(min(0.5 * 2**vain, 10.0))
    raise Failed(f"fetching {address} failed {ATTEMPTS} times in a row, the last time because {reason}.")


def _answered(address: str, error: urllib.error.HTTPError, part: Part) -> str:
    """Why the server said no; raises unless trying again may help."""
    if error.code in (401, 403):
        raise Refused(f"{urlsplit(address).hostname} wants a permission for this file (it answered {error.code}).")
    if error.code == 416:
        part.drop()
    elif error.code not in PASSING:
        raise Failed(f"{address} answered {error.code} {error.reason}: the file is not there (any more).")
    return f"the server answered {error.code}"


def _more(address: str, part: Part) -> bool:
    """Fetches what is missing; True if the file is whole."""
    done = part.done()
    request = urllib.request.Request(address, headers={"User-Agent": "hilum", "Accept-Encoding": "identity"})
    if done:
        request.add_header("Range", f"bytes={done}-")
        request.add_header("If-Range", part.validator())
    opener = urllib.request.build_opener(_SameSafety)
    with opener.open(request, timeout=TIMEOUT) as answer:
        first, total = _extent(answer, address)
        if first != done:
            part.drop()
        part.notes.write_text(json.dumps({"validator": _validator(answer), "address": address}))
        with part.path.open("ab" if first else "wb") as file:
            file.truncate(first)
            _pour(answer, file, (first, total))
    return total is None or part.path.stat().st_size == total


def _extent(answer: Any, address: str) -> tuple[int, int | None]:
    """First byte of this answer, and bytes of the whole file where the server says."""
    kind = answer.headers.get_content_type()
    if kind == "text/html":
        raise Failed(f"{address} gave a web page instead of a file: open it in a browser and download by hand.")
    length = answer.headers.get("Content-Length")
    if answer.status != 206:
        return 0, int(length) if length else None
    unit, _, rest = str(answer.headers.get("Content-Range", "")).partition(" ")
    span, _, total = rest.partition("/")
    first = span.partition("-")[0]
    if unit != "bytes" or not first.isdigit() or not total.isdigit():
        raise Failed(f"{address} answered with a range that cannot be read.")
    return int(first), int(total)


def _validator(answer: Any) -> str:
    tag = answer.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else str(answer.headers.get("Last-Modified", ""))


def _pour(answer: Any, file: BinaryIO, extent: tuple[int, int | None]) -> None:
    done, total = extent
    free = shutil.disk_usage(Path(file.name).parent).free
    if total is not None and total - done > free:
        raise Failed(f"the file has {total:,} bytes, and the disk has {free:,} left: $HILUM_WEIGHTS moves the folder.")
    while chunk := answer.read(CHUNK):
        file.write(chunk)
        done += len(chunk)
        if total is not None and done > total:
            raise Failed(f"the server sent more than the {total:,} bytes that it had announced.")
        progress.count(f"fetching {Path(file.name).name.removesuffix('.part')}", done, total or done)
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """One process at a time fetches a file; on systems without file locks the user is trusted."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    lock = target.with_name(f"{target.name}.lock")
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Failed(f"another process is fetching {target.name} already.") from error
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)
