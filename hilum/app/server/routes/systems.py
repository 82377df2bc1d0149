"""What answers here: the server itself, and every system's card."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from ....values.notice import NOTICE
from ..house import House, house_of
from ..problems import RESPONSES

router = APIRouter(prefix="/api", tags=["systems"], responses=RESPONSES)
Here = Annotated[House, Depends(house_of)]


@router.get("/")
async def about(house: Here) -> dict[str, Any]:
    """The server: its version, its caps, and what it is not."""
    caps = house.settings.caps
    limits = {"body": caps.body, "voxels": caps.voxels, "sessions": caps.sessions, "objects": caps.objects}
    return {"name": "hilum", "version": version("hilum"), "notice": NOTICE, "caps": limits}


@router.get("/systems")
async def systems(house: Here) -> dict[str, Any]:
    """All systems: what each takes and gives, whether its weights are here, and if not, why and what to do."""
    return {"systems": await house.errand(house.systems.all), "notice": NOTICE}


@router.get("/systems/{name}")
async def system(name: str, house: Here) -> dict[str, Any]:
    """One system's card."""
    return await house.errand(house.systems.facts, name)
