"""Problems: errors as RFC 9457 JSON, with the same sentences that the command line says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from ...values.errors import (
    BadInput,
    HilumError,
    MissingExtra,
    TooLarge,
    UnknownSystem,
    UnsupportedPrompt,
    WeightsUnavailable,
)
from ..outcome import sentence, unexpected
from .absent import Absent, Cancelled, Full, Moved

if TYPE_CHECKING:
    from starlette.responses import Response

MEDIA = "application/problem+json"
KINDS: tuple[tuple[type[Exception], int, str, str], ...] = (  # the first that fits: status, name, title
    (Absent, 404, "absent", "Not here"),
    (UnknownSystem, 404, "unknown-system", "No such system"),
    (Moved, 409, "moved", "The session has moved on"),
    (TooLarge, 413, "too-large", "Too large"),
    (UnsupportedPrompt, 422, "unsupported-prompt", "The system does not take this prompt"),
    (Cancelled, 409, "cancelled", "Cancelled"),
    (Full, 503, "full", "No room at the moment"),
    (WeightsUnavailable, 503, "weights-unavailable", "The weights are not on this machine"),
    (MissingExtra, 501, "missing-extra", "Something is not installed"),
    (BadInput, 422, "bad-input", "The request cannot be answered as it is"),
    (HilumError, 500, "failed", "Something failed"),
    (Exception, 500, "unexpected", "Something failed that should not"),
)
STATUS = {400: "bad-request", 401: "token-wanted", 403: "forbidden", 404: "absent", 405: "method", 413: "too-large"}


class Problem(BaseModel):
    """RFC 9457: what kind of error it is, and in `detail` one sentence that says what to do."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[dict[str, Any]] | None = None


RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {"description": "A problem (RFC 9457)", "content": {MEDIA: {"schema": Problem.model_json_schema()}}}
}


def problem(error: Exception) -> dict[str, Any]:
    """An error as the document that a client reads."""
    _, status, name, title = next(kind for kind in KINDS if isinstance(error, kind[0]))
    detail = sentence(error) if isinstance(error, HilumError) else unexpected(error)
    return said(status, detail, name=name, title=title)


def said(status: int, detail: str, *, name: str | None = None, title: str = "", **more: Any) -> dict[str, Any]:
    """A problem document."""
    kind = name or STATUS.get(status, "http")
    return {"type": f"urn:hilum:problem:{kind}", "title": title or detail, "status": status, "detail": detail, **more}


def answered(document: dict[str, Any], headers: dict[str, str] | None = None) -> JSONResponse:
    """The document as a response."""
    later = {"Retry-After": "5"} if document["status"] == 503 else {}
    return JSONResponse(document, document["status"], headers={**later, **(headers or {})}, media_type=MEDIA)


def install(application: FastAPI) -> None:
    """Every error of the application leaves it as a problem."""
    application.add_exception_handler(RequestValidationError, _invalid)
    application.add_exception_handler(HTTPException, _http)
    application.add_exception_handler(HilumError, _known)


async def _known(request: Request, error: Exception) -> Response:
    return answered(problem(error))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = {404: "there is nothing at this address.", 405: "this address does not take this method."}
    text = detail.get(error.status_code, str(error.detail))
    return answered(said(error.status_code, text), dict(error.headers or {}))


async def _invalid(request: Request, error: Exception) -> Response:
    """What was sent is not repeated: it may name somebody."""
    assert isinstance(error, RequestValidationError)
    found = [{"at": ".".join(map(str, each["loc"])), "wanted": _wanted(each)} for each in error.errors()]
    first = f"{found[0]['at']}: {found[0]['wanted']}" if found else "the request does not fit"
    return answered(said(422, f"{first}.", name="bad-input", title="The request does not fit", errors=found[:20]))


def _wanted(found: Any) -> str:
    """pydantic's words for what was wanted; those that quote the input are replaced."""
    quoting = {"json_invalid": "this is not JSON", "union_tag_invalid": "this kind is not known"}
    return quoting.get(found["type"], str(found["msg"]))
