"""A server that runs until it is stopped: bound first, so that its address is known, then told, then served."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import typer
import uvicorn

from ...values.errors import BadInput
from .. import screen
from . import logged
from .application import application
from .house import House
from .settings import Settings


def run(settings: Settings, path: Path | None = None, reading: Mapping[str, Any] | None = None) -> None:
    """Serves until a signal; with a `path`, its image is registered first and the address leads to it."""
    logged.begin(logging.INFO if path is None else logging.WARNING)
    signal.signal(signal.SIGTERM, _stop)
    with _bound(settings) as listening:
        placed = replace(settings, port=listening.getsockname()[1])
        asyncio.run(_serve(House(placed), listening, path, reading or {}))


async def _serve(house: House, listening: socket.socket, path: Path | None, reading: Mapping[str, Any]) -> None:
    try:
        image = None if path is None else await house.images.read([path], reading, kept=True)
    except BaseException:
        await house.close()
        raise
    typer.echo(address(house.settings, image))
    if image is None:
        screen.tell("put this address into 3D Slicer (MONAI Label), OHIF or your program; Ctrl-C ends the server.")
        if house.settings.made_token:
            screen.tell(f"its token: {house.settings.token}")
    config = uvicorn.Config(
        application(house), access_log=False, log_config=None, server_header=False, timeout_graceful_shutdown=5
    )
    asyncio.get_running_loop().run_in_executor(None, import_module, "torch")  # the first prompt need not wait
    await uvicorn.Server(config).serve(sockets=[listening])


def address(settings: Settings, image: str | None = None) -> str:
    """What is put into a browser or a client: never 0.0.0.0, which is no address to go to."""
    host = settings.host
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    place = f"http://{f'[{host}]' if ':' in host else host}:{settings.port}/"
    return place if image is None else f"{place}?token={settings.token}#{image}"


def _bound(settings: Settings) -> socket.socket:
    try:
        return socket.create_server(
            (settings.host, settings.port),
            family=socket.AF_INET6 if ":" in settings.host else socket.AF_INET,
            backlog=512,
        )
    except OSError as error:
        raise BadInput(
            f"--host {settings.host} --port {settings.port} cannot be listened on ({error.strerror}): "
            "another program may be there; --port 0 takes a free one."
        ) from None


def _stop(number: int, frame: object) -> None:
    """SIGTERM ends the server as Ctrl-C does, so that what is temporary is taken away."""
    raise KeyboardInterrupt
