"""What a server is started with: where it listens, who may ask, and its caps. Frozen: nothing changes while it runs."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass, field
from pathlib import Path

HOUR = 3600.0
SHORTEST = 8  # characters of a token
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, slots=True)
class Caps:
    """What is refused before it costs anything, and what is kept at most."""

    body: int = 1 << 30  # bytes of one request
    json: int = 64 << 20  # bytes of one that is held in memory
    files: int = 5_000  # of one upload
    voxels: int = 400_000_000  # of one image, before it is decoded
    decoded: int = 4 << 30  # bytes of one image's values
    decoder_seconds: int = 120  # of processor time
    decoder_memory: int = 12 << 30  # bytes of address space
    images: int = 500  # registered at a time
    stored: int = 32 << 30  # bytes of all registered images on disk
    sessions: int = 1_000  # open at a time
    objects: int = 255  # of one session: what an 8-bit label map can hold
    prompts: int = 1_000  # said of one object
    steps: int = 100  # that can be undone
    jobs: int = 1_000  # waiting at a time
    images_memory: int = 2 << 30  # bytes of decoded images kept at hand
    looks_memory: int = 4 << 30  # bytes of features kept at hand
    looks: int = 64  # kept at hand
    systems: int = 4  # loaded at a time


@dataclass(frozen=True, slots=True)
class Settings:
    """Address, token, the folder that outlives the process, for how long uploads are kept, and the caps."""

    state: Path
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    made_token: bool = False  # nobody knows it yet: it is to be told
    names: tuple[str, ...] = ()  # further names under which the server may be called
    keep: float = 12 * HOUR  # seconds that an upload or session outlives its last use
    threads: int = 2  # asks that run at a time
    device: str = "auto"
    backend: str = "auto"
    caps: Caps = field(default_factory=Caps)

    def __post_init__(self) -> None:
        from ...values.errors import BadInput

        if self.token is not None and len(self.token) < SHORTEST:
            raise BadInput(f"--token has at least {SHORTEST} characters; --token auto makes one.")
        if not self.loopback and not self.token:
            raise BadInput(
                f"--host {self.host} lets other machines ask this one: give a --token that they must send "
                "(or --token auto to have one made), or stay on 127.0.0.1."
            )

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def called(self, name: str) -> bool:
        """Whether a request's Host header (without the port) means this server. A number is never a trick of DNS, so
        where other machines may ask, any will do."""
        if name in self.hosts:
            return True
        try:
            return not self.loopback and ipaddress.ip_address(name.strip("[]")) is not None
        except ValueError:
            return False

    @property
    def hosts(self) -> frozenset[str]:
        """Names that a request's Host header may carry, without the port."""
        own = f"[{self.host}]" if ":" in self.host else self.host
        names = self.names if self.loopback else (*self.names, socket.gethostname())
        return frozenset({*LOOPBACK_NAMES, own.lower(), *(name.lower() for name in names)})
