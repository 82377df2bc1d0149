"""Jobs: how far they are, what came of them, and how to stop them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query

from ....values.notice import NOTICE
from ..house import House, house_of
from ..jobs import Job
from ..problems import RESPONSES

router = APIRouter(prefix="/api/jobs", tags=["jobs"], responses=RESPONSES)
Here = Annotated[House, Depends(house_of)]
Id = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
Wait = Annotated[float, Query(ge=0, le=600, description="seconds to wait for the end")]


def viewed(house: House, job: Job) -> dict[str, Any]:
    """A job as a client sees it."""
    told = {"id": job.id, "kind": job.kind, "state": job.state, "progress": house.runner.progress(job.id)}
    return {**told, "result": job.result, "problem": job.problem, "notice": NOTICE}


@router.get("/{id}")
async def job(id: Id, house: Here, wait: Wait = 0.0) -> dict[str, Any]:
    """A job where it stands, or once it has ended."""
    return viewed(house, await house.runner.ended(id, wait))


@router.delete("/{id}")
async def cancel(id: Id, house: Here) -> dict[str, Any]:
    """Stops a job; what it would have changed stays as it was."""
    return viewed(house, house.runner.cancel(id))
