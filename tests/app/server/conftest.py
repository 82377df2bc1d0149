"""A server in process: a house of its own folder, asked by Starlette's client on loopback's name."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.testclient import TestClient

from hilum.app.cli import main
from hilum.app.server.application import application
from hilum.app.server.house import House
from hilum.app.server.settings import Caps, Settings

ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture(scope="session", autouse=True)
def torch_is_here() -> None:
    """Imported before the first request, whose wait it would use up."""
    import torch  # noqa: F401


class Starting:
    """Starts servers over folders of one place, and ends them."""

    def __init__(self, folder: Path):
        self.folder, self.opened = folder, list[TestClient]()

    def __call__(self, state: str = "state", caps: Caps | None = None, **given: Any) -> TestClient:
        """A server with these settings; over the same `state`, it goes on where the last one ended."""
        settings = Settings(state=self.folder / state, caps=caps or Caps(), **{"backend": "torch", **given})
        client = TestClient(application(House(settings)), base_url=ADDRESS, raise_server_exceptions=False)
        self.opened.append(client.__enter__())
        return client

    def end(self) -> None:
        """Ends those that run."""
        while self.opened:
            self.opened.pop().__exit__(None, None, None)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Starting]:
    """Starts servers of this test's own."""
    starting = Starting(tmp_path)
    yield starting
    starting.end()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A server as `hilum serve` starts it, shared by the tests of a file."""
    starting = Starting(tmp_path_factory.mktemp("served"))
    yield starting()
    starting.end()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server on a socket of this machine, for clients that bring their own way to speak."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        house = House(Settings(state=tmp_path_factory.mktemp("listening"), port=port, backend="torch"))
        server = uvicorn.Server(uvicorn.Config(application(house), log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://127.0.0.1:{port}"
        server.should_exit = True
        thread.join(60)


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def hilum_words(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Runs a command line in process."""

    def run(*words: str) -> Ended:
        capfd.readouterr()
        try:
            main(list(words))
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        return Ended(code, *capfd.readouterr())

    return run


@pytest.fixture
def hilum_run(hilum_words: Callable[..., Ended]) -> Callable[..., Any]:
    """Runs a command line in process and reads the JSON that it says."""
    return lambda *words: json.loads(hilum_words(*words).out)
