"""The address of a series on a DICOMweb server: dicomweb://HOST[:PORT]/ROOT/studies/UID[/series/UID[/instances/UID]]."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from hilum.values.errors import BadInput

SCHEMES = {"dicomweb": "http", "dicomweb+http": "http", "dicomweb+https": "https"}
FORM = "dicomweb://HOST[:PORT]/ROOT/studies/UID/series/UID"
UID = r"[0-9]+(?:\.[0-9]+)*"
PLACE = re.compile(
    rf"(?P<root>(?:/[\w.~%+-]+)*)/studies/(?P<study>{UID})"
    rf"(?:/series/(?P<series>{UID})(?:/instances/(?P<instance>{UID}))?)?/?"
)
LONGEST_UID = 64
SHOWN_DIGITS = 12
LOOPBACK = ("127.0.0.1", "localhost")


@dataclass(frozen=True, slots=True)
class Address:
    """What was typed, and what it means: the server's root as a URL, and UIDs; `series` None: the study's only one."""

    text: str
    root: str
    study: str
    series: str | None = None
    instance: str | None = None

    def __str__(self) -> str:
        return self.text

    @property
    def host(self) -> str:
        """HOST or HOST:PORT, as messages name the server."""
        return urlsplit(self.root).netloc

    @property
    def readable(self) -> bool:
        """Whether others on the way could read along: plain http beyond this machine."""
        parts = urlsplit(self.root)
        return parts.scheme == "http" and parts.hostname not in LOOPBACK

    @property
    def stem(self) -> str:
        """A name for files that are made of it: no more of a UID than messages show."""
        return f"series_{(self.instance or self.series or self.study)[-SHOWN_DIGITS:]}"


def is_address(word: str) -> bool:
    """Whether a word is meant as an address, be it right or wrong."""
    return word.lower().partition("://")[0] in SCHEMES and "://" in word


def parsed(word: str) -> Address:
    """The address; no sentence repeats the word, which may hold a password."""
    try:
        parts = urlsplit(word)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise BadInput(f"a DICOMweb address is {FORM}, and this one has no host or port that can be read.") from error
    _check(parts)
    place = PLACE.fullmatch(parts.path)
    if not host or place is None:
        raise BadInput(f"a DICOMweb address is {FORM}; studies, series and instances are followed by UIDs.")
    uids = [place["study"], place["series"], place["instance"]]
    if any(len(uid or "") > LONGEST_UID for uid in uids):
        raise BadInput(f"a DICOMweb address has UIDs of at most {LONGEST_UID} letters, and this one has a longer one.")
    root = f"{SCHEMES[parts.scheme]}://{host}{'' if port is None else f':{port}'}{place['root']}"
    return Address(word, root, *uids)


def _check(parts: SplitResult) -> None:
    """What an address may not hold."""
    if "@" in parts.netloc:
        raise BadInput(
            "a DICOMweb address holds no user and no password: put them into ~/.netrc, or into the environment as "
            "HILUM_DICOMWEB_USER and HILUM_DICOMWEB_PASSWORD."
        )
    if parts.query or parts.fragment:
        raise BadInput(f"a DICOMweb address has nothing after a ? or #: {FORM}.")
