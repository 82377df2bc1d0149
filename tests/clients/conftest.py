"""Programs that people already have, unmodified, against hilum: PACS, viewers' clients, browsers.

What belongs here: one file for each client, `test_<client>.py`, that runs the client as it is published (a Debian
package, or a package of its own folder) against hilum's own door. Nothing here imports a stand-in; stand-ins live with
the ordinary tests. `make test-clients` installs what it can and runs this folder; `make test` runs it with what is
there.

The manner: every test here bears the marker `client` by itself. A test that wants

* a program asks the fixture `program("Orthanc", package="orthanc")`: its path, or a skip that names Debian's package;
* a Python client that must not share hilum's environment writes a line into `requirements.txt` beside this file
  (`name==version`, installed without its dependencies) and asks `unmodified("name")`: a folder for PYTHONPATH of a
  process of its own, or a skip;
* a Python client that may share it lists it in the extra `test` and says `pytest.importorskip`.

Servers listen on loopback only, on ports that the system gives; what a test starts it ends by its process id.
"""

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
UNMODIFIED = Path(os.environ.get("HILUM_CLIENTS", HERE.parents[1] / ".venv" / "clients"))


def pytest_collection_modifyitems(items):
    """Everything in this folder is about a client."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.client)


@pytest.fixture(scope="session")
def program() -> Callable[..., str]:
    """The path of a program; where there is none, the test is skipped with the package's name."""

    def found(*names: str, package: str) -> str:
        for name in names:
            path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
            if path:
                return path
        pytest.skip(f"{names[0]} is not installed: make test-clients, or apt-get install {package}")

    return found


@pytest.fixture(scope="session")
def unmodified() -> Callable[[str], Path]:
    """The folder of a Python client as published, by the name of its line in requirements.txt."""

    def found(name: str) -> Path:
        folder = UNMODIFIED / name
        if not folder.is_dir():
            pytest.skip(f"the client {name} is not installed: make test-clients puts it into .venv/clients")
        return folder

    return found


@pytest.fixture
def port() -> int:
    """A port of loopback that was free a moment ago."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
