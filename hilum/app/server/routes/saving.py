"""What a session made, as bytes: masks for a viewer, layers for a plane, files to save."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Response

from ....values.errors import BadInput
from ....values.notice import NOTICE
from .. import explaining, pictures, saving
from ..answers import segmentation
from ..house import House, house_of
from ..problems import RESPONSES
from .images import PNG, Axis, Index

router = APIRouter(prefix="/api/sessions/{id}", tags=["answers"], responses=RESPONSES)
Here = Annotated[House, Depends(house_of)]
Id = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
Number = Annotated[int, Path(ge=1, le=10**6)]
Suffix = Literal[".nii.gz", ".nii", ".nrrd", ".seg.nrrd", ".dcm", ".png", ".preview.png", ".json", ".npz"]
FILE: dict[int | str, dict[str, Any]] = {
    200: {"description": "the file", "content": {media: {} for media in sorted(set(saving.MEDIA.values()))}}
}


@router.get("/save", response_class=Response, responses=FILE)
async def save(id: Id, house: Here, suffix: Annotated[Suffix, Query(alias="as")] = ".nii.gz") -> Response:
    """All objects as a file, by the writers of the command line."""
    session = house.sessions.get(id)
    content = await house.errand(saving.written, house, session, suffix)
    house.audit.note("saved", session=id, suffix=suffix, bytes=len(content))
    headers = {"Content-Disposition": f'attachment; filename="{"scores" if session.step.scores else "mask"}{suffix}"'}
    return Response(content, media_type=saving.MEDIA[suffix], headers=headers)


@router.get("/mask.raw", response_class=Response, responses={200: {"content": {"application/octet-stream": {}}}})
async def raw(id: Id, house: Here) -> Response:
    """All objects as one byte a voxel, x fastest, 0 for none and else the place of the object; gzip on the way.

    `X-Shape` is the size x,y[,z], `X-Revision` the session's.
    """
    session = house.sessions.get(id)
    content, shape = await house.errand(lambda: saving.raw(segmentation(house, session)))
    headers = {"Content-Encoding": "gzip", "X-Shape": ",".join(map(str, shape)), "X-Revision": str(session.revision)}
    return Response(content, media_type="application/octet-stream", headers=headers)


@router.get("/objects/{number}/runs")
async def runs(id: Id, number: Number, house: Here) -> dict[str, Any]:
    """One object as runs over the grid (x fastest), alternately outside and inside."""
    session = house.sessions.get(id)
    found = session.step.numbered(number)
    answer = await house.errand(segmentation, house, session, [number])
    lengths = await house.errand(saving.runs, answer.masks[0])
    size = list(answer.image.grid[::-1])
    return {"number": number, "name": found.name, "size": size, "runs": lengths, "notice": NOTICE}


@router.get("/planes/{axis}/{index}.png", response_class=Response, responses=PNG)
async def layer(
    id: Id, axis: Axis, index: Index, house: Here, of: Literal["masks", "uncertainty"] = "masks"
) -> Response:
    """The masks on a plane, or how unsure they are: RGBA, of the size and orientation of the image's own plane."""
    session = house.sessions.get(id)

    def drawn() -> bytes:
        answer = segmentation(house, session)
        if of == "masks":
            colours = [each.colour for each in session.step.objects if each.answer is not None]
            return pictures.layer(answer.image, list(answer.masks), colours, axis, index)
        if answer.uncertainty is None:
            raise BadInput(f"{session.system} does not say how unsure it is.")
        return pictures.heat(answer.image, answer.uncertainty.max(axis=0), axis, index)

    return Response(await house.errand(drawn), media_type="image/png")


@router.get("/explanation/{number}/planes/{axis}/{index}.png", response_class=Response, responses=PNG)
async def explanation(
    id: Id, number: Annotated[int, Path(ge=0, le=10**4)], axis: Axis, index: Index, house: Here
) -> Response:
    """One map of the last explanation on a plane, RGBA: hot and dense where it speaks for the name."""
    content = await house.errand(explaining.picture, house, house.sessions.get(id), number, axis, index)
    return Response(content, media_type="image/png")
