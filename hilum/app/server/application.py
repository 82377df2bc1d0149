"""The application: the house behind the guard, our own routes, and those of the protocols that other programs speak."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from fastapi import APIRouter, FastAPI
from starlette.staticfiles import StaticFiles

from ...values.notice import SENTENCE
from . import problems
from .guard import Guard
from .house import House
from .routes import images, jobs, saving, sessions, systems


class Spoken(Protocol):
    """A module of routes: its router, and the paths that answer without a token."""

    router: APIRouter
    OPEN_PATHS: tuple[str, ...]


WEB = Path(__file__).parents[1] / "web"  # the page's files
OWN = (systems.router, images.router, sessions.router, saving.router, jobs.router)
PROTOCOLS: tuple[Spoken, ...] = ()  # modules of routes/ that speak what other programs' clients speak


def application(house: House) -> FastAPI:
    """The ASGI application of a house; it opens and closes the house with itself."""

    @asynccontextmanager
    async def living(app: FastAPI) -> AsyncIterator[None]:
        await house.open()
        try:
            yield
        finally:
            await house.close()

    made = FastAPI(
        title="hilum",
        version=version("hilum"),
        description=f"One door to the foundation models of medical imaging. {SENTENCE}",
        lifespan=living,
        docs_url=None,  # its page loads scripts from another host
        redoc_url=None,
        redirect_slashes=False,
    )
    made.state.house = house
    problems.install(made)
    for router in OWN:
        made.include_router(router)
    open_paths: list[str] = []
    for protocol in PROTOCOLS:
        made.include_router(protocol.router)
        open_paths += protocol.OPEN_PATHS
    if (WEB / "index.html").is_file():
        made.mount("/", StaticFiles(directory=WEB, html=True), name="page")
    made.add_middleware(Guard, settings=house.settings, open_paths=tuple(open_paths))
    return made
