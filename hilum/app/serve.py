"""`hilum serve` and `hilum open`: a server on this machine, for programs and for a person's browser."""

import os
import secrets
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from ..values.errors import BadInput, MissingExtra
from ..values.notice import SENTENCE
from . import options, screen
from .command import Said

AUTO = "auto"
HOUR = 3600.0
STATE = "Folder of jobs, sessions, images and the audit log (HILUM_STATE; else ~/.local/state/hilum)."
DEVICE = "Where systems run: auto, cpu, cuda."


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """Where the server listens, who may ask, and what it keeps."""

    host: Annotated[str, Option(metavar="ADDRESS", help="Address; any but loopback needs --token.")] = "127.0.0.1"
    port: Annotated[int, Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000
    token: Annotated[str | None, Option(metavar="TEXT|auto", help="What every request must bring.")] = None
    name: Annotated[list[str] | None, Option(metavar="NAME", help="A further name it may be called by.")] = None
    max_body: Annotated[str, Option(metavar="1GB", help="The largest request that is taken.")] = "1GB"
    state: Annotated[Path | None, Option(metavar="FOLDER", help=STATE)] = None
    keep: Annotated[float, Option(metavar="HOURS", min=0.01, help="How long what nobody uses is kept.")] = 12.0
    device: Annotated[str, Option(help=DEVICE)] = AUTO
    backend: Annotated[str, Option(help="What runs the costly pass: auto, torch, openvino.")] = AUTO


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOptions:
    """What is opened, and how it is read."""

    path: Annotated[Path, Argument(metavar="FILE|FOLDER", help="An image, or a folder of DICOM.", show_default=False)]
    port: Annotated[int, Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 0
    state: Annotated[Path | None, Option(metavar="FOLDER", help="Keep sessions here, not until the end only.")] = None
    series: Annotated[str | None, Option(metavar="UID|NUMBER", help="Which DICOM series of several.")] = None
    frame: Annotated[int | None, Option(metavar="N", help="Which frame or volume of several, from 0.")] = None
    spacing: Annotated[str | None, Option(metavar="X,Y,Z", help="Millimetres, where the file does not say.")] = None
    modality: Annotated[str | None, Option(metavar="CT", help="DICOM's code, where the file does not say.")] = None
    device: Annotated[str, Option(help=DEVICE)] = AUTO
    backend: Annotated[str, Option(help="What runs the costly pass: auto, torch, openvino.")] = AUTO


def serve(given: ServeOptions, said: Said) -> None:
    """Serve systems to programs: JSON, and the protocols that other programs' clients speak.

    hilum serve

    hilum serve --host 0.0.0.0 --token auto
    """
    _needed("hilum serve")
    _runs(given.device, given.backend)
    from .server.running import run
    from .server.settings import Caps, Settings

    body = options.memory(given.max_body, "--max-body")
    screen.tell(SENTENCE)
    token = secrets.token_urlsafe(24) if given.token == AUTO else given.token
    settings = Settings(
        state=given.state or state_folder(),
        host=given.host,
        port=given.port,
        token=token,
        made_token=given.token == AUTO,
        names=tuple(given.name or ()),
        keep=given.keep * HOUR,
        device=given.device,
        backend=given.backend,
        caps=Caps(body=body),
    )
    run(settings)


def open_(given: OpenOptions, said: Said) -> None:
    """Open an image in the browser: prints one address, which only this machine can reach and which holds a token.

    hilum open scan.nii.gz

    hilum open ct_folder/
    """
    from .words import existing

    path = existing(str(given.path)).absolute()
    spacing = None if given.spacing is None else options.spacing(given.spacing)
    reading = {"series": given.series, "frame": given.frame, "spacing": spacing, "modality": given.modality}
    _needed("hilum open")
    _runs(given.device, given.backend)
    from .server.running import run
    from .server.settings import Settings

    screen.tell(SENTENCE)
    with ExitStack() as kept:
        state = given.state or Path(kept.enter_context(tempfile.TemporaryDirectory(prefix="hilum-open-")))
        token = secrets.token_urlsafe(24)
        settings = Settings(state=state, port=given.port, token=token, device=given.device, backend=given.backend)
        run(settings, path, reading)


def state_folder() -> Path:
    """Where a server keeps what outlives it, unless it is told."""
    chosen, home = os.environ.get("HILUM_STATE"), os.environ.get("XDG_STATE_HOME", "")
    if chosen:
        return Path(chosen).expanduser().absolute()
    return (Path(home) if os.path.isabs(home) else Path.home() / ".local" / "state") / "hilum"


def _runs(device: str, backend: str) -> None:
    """Refuses now what would otherwise fail at the first prompt."""
    if (device, backend) == (AUTO, AUTO):
        return
    import torch

    from ..backends.choose import choose
    from .ask import device as known

    choose(backend, torch.device("cpu" if device == AUTO else known(device)))


def _needed(need: str) -> None:
    """One sentence where the extra is not installed."""
    from importlib.util import find_spec

    if os.name != "posix":
        raise BadInput(f"{need} runs on Linux and macOS: its decoder limits itself by what these systems have.")
    for package in ("fastapi", "uvicorn", "python_multipart"):
        if find_spec(package) is None:
            raise MissingExtra(need, package.replace("_", "-"), "serve")
