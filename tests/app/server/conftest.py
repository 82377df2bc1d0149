"""A server in process: a house of its own folder, asked by Starlette's client on loopback's name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from hilum.app.cli import main
from hilum.app.server.application import application
from hilum.app.server.house import House
from hilum.app.server.settings import Caps, Settings

ADDRESS = "http://127.0.0.1:8000"

Start = Callable[..., TestClient]


@pytest.fixture(scope="session", autouse=True)
def torch_is_here() -> None:
    """Imported before the first request, whose wait it would use up."""
    import torch  # noqa: F401


def starts(folder: Path) -> Iterator[Start]:
    """Starts a server with these settings; asked again with the same `state`, it goes on where the last one ended."""
    opened: list[TestClient] = []

    def start(state: str = "state", caps: Caps | None = None, **given: Any) -> TestClient:
        settings = Settings(state=folder / state, caps=caps or Caps(), **{"backend": "torch", **given})
        client = TestClient(application(House(settings)), base_url=ADDRESS, raise_server_exceptions=False)
        opened.append(client.__enter__())
        return client

    yield start
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Start]:
    """Starts servers of this test's own."""
    yield from starts(tmp_path)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A server as `hilum serve` starts it, shared by the tests of a file."""
    for start in starts(tmp_path_factory.mktemp("served")):
        yield start()


@pytest.fixture
def hilum_run(capfd: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs a command line in process and reads the JSON that it says."""

    def run(*words: str) -> Any:
        capfd.readouterr()
        with suppress(SystemExit):
            main(list(words))
        return json.loads(capfd.readouterr().out)

    return run
