"""Images: upload, what is known of them, their planes as pictures, and a look ahead of the first prompt."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import UploadFile

from ....values.errors import BadInput
from ... import options
from .. import pictures, saving, viewed
from ..house import House, house_of
from ..images import GIVEN
from ..problems import RESPONSES

router = APIRouter(prefix="/api/images", tags=["images"], responses=RESPONSES)
Here = Annotated[House, Depends(house_of)]
Id = Annotated[str, InPath(pattern="^[0-9a-f]{32}$")]
Axis = Annotated[int, InPath(ge=0, le=2)]
Index = Annotated[int, InPath(ge=0, le=1_000_000)]
Finite = Annotated[float | None, Query(allow_inf_nan=False)]
PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}, "description": "a picture"}}
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


class Stated(BaseModel):
    """What the user says about the files, as on the command line."""

    model_config = ConfigDict(extra="forbid")
    series: Annotated[str | None, Query(max_length=200, description="which DICOM series of several")] = None
    frame: Annotated[int | None, Query(ge=0, le=10**6, description="which frame of several, from 0")] = None
    spacing: Annotated[str | None, Query(max_length=100, description="x,y,z in mm, where the file is silent")] = None
    modality: Annotated[str | None, Query(pattern="^[A-Za-z0-9]{1,16}$", description="DICOM's code")] = None

    def options(self) -> dict[str, Any]:
        """What `io.read.read` takes."""
        spacing = None if self.spacing is None else options.spacing(self.spacing)
        return {"series": self.series, "frame": self.frame, "spacing": spacing, "modality": self.modality}


class Seer(BaseModel):
    """Who is to look."""

    model_config = ConfigDict(extra="forbid")
    system: Annotated[str, Field(min_length=1, max_length=200)]


@router.post("", status_code=201, openapi_extra=BODY)
async def upload(request: Request, stated: Annotated[Stated, Query()], house: Here) -> dict[str, Any]:
    """An image: one file, or all files of a DICOM series, as parts called `file`; or one file as the body itself."""
    told = stated.options()
    place = house.images.place()
    try:
        files = await _received(request, place / GIVEN, house)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    id = await house.images.read(files[:1] if len(files) == 1 else [place / GIVEN] * bool(files), told, folder=place)
    registered = house.images.registered(id)
    house.audit.note("image", image=id, files=len(files), size=registered.facts["size"])
    return viewed.image(registered)


async def _received(request: Request, folder: Path, house: House) -> list[Path]:
    """What was sent, as files under names of ours."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        async with request.form(max_files=house.settings.caps.files, max_fields=20) as form:
            parts = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
            return [await house.errand(_saved, part, folder, number) for number, part in enumerate(parts)]
    path = folder / "000000"
    with path.open("wb") as file:
        async for piece in request.stream():
            file.write(piece)
    if path.stat().st_size == 0:
        raise BadInput("an upload without a file: send the image as the part `file`, or as the body itself.")
    return [path]


def _saved(part: UploadFile, folder: Path, number: int) -> Path:
    path = folder / f"{number:06d}"
    with path.open("wb") as file:
        shutil.copyfileobj(part.file, file, 1 << 20)
    return path


@router.get("")
async def images(house: Here) -> dict[str, Any]:
    """All registered images."""
    return {"images": [viewed.image(each) for each in house.images.all()]}


@router.get("/{id}")
async def image(id: Id, house: Here) -> dict[str, Any]:
    """Size, spacing, orientation, window, how planes are shown, and which systems take such an image."""
    return viewed.image(house.images.registered(id))


@router.delete("/{id}", status_code=204)
async def delete(id: Id, house: Here) -> Response:
    """Forgets an image: its values, the files it came in, and its sessions."""
    house.forget(id)
    house.audit.note("image deleted", image=id)
    return Response(status_code=204)


@router.get("/{id}/planes/{axis}/{index}.png", response_class=Response, responses=PNG)
async def plane(id: Id, axis: Axis, index: Index, house: Here, low: Finite = None, high: Finite = None) -> Response:
    """A plane in radiological orientation; `low` and `high` are the window, in the image's own values."""
    if (low is None) != (high is None):
        raise BadInput("a window has a low and a high end: give both, or none.")
    window = None if low is None or high is None else (low, high)

    def drawn() -> bytes:
        return pictures.plane(house.images.get(id), axis, index, window)

    return Response(await house.errand(drawn), media_type="image/png")


@router.get("/{id}/volume.nii.gz", response_class=Response, responses={200: {"content": {"application/gzip": {}}}})
async def volume(id: Id, house: Here) -> Response:
    """The image as NIfTI, for a viewer."""
    content = await house.errand(lambda: saving.volume(house.images.get(id)))
    return Response(content, media_type="application/gzip")


@router.post("/{id}/looks", status_code=202)
async def look(
    id: Id, seer: Seer, house: Here, idempotency_key: Annotated[str | None, Header(max_length=200)] = None
) -> dict[str, Any]:
    """A job that lets a system see all of an image before the first prompt."""
    from .jobs import viewed as job_viewed

    house.images.registered(id)
    house.systems.card(seer.system)
    spec = {"image": id, "system": seer.system}
    return job_viewed(house, house.runner.add("look", f"look {id} {seer.system}", spec, idempotency_key))
