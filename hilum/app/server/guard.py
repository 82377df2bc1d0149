"""The guard: who may ask at all. It stands before every route and reads nothing but the request's head and its length.

Refused are a Host that is not the server's own name (DNS rebinding), a page of another origin, a missing or wrong
token, and a body over the cap. Every answer carries headers that let a browser do nothing but show it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse, Response

from . import logged
from .problems import answered, problem, said

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from .settings import Settings

COOKIE, QUERY = "hilum_token", "token"
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self'; script-src 'self'; worker-src 'self' blob:; "
    "connect-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "x-hilum-notice": "research use only, not a medical device",
}


class _TooMuch(Exception):
    """The body went over the cap while it was read."""


class Guard:
    """ASGI middleware. `open_paths` answer without a token: what a client must ask before it can send one."""

    def __init__(self, application: ASGIApp, settings: Settings, open_paths: Iterable[str] = ()):
        self.application, self.settings, self.open_paths = application, settings, frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets the request through, or answers it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.application(scope, receive, send)
            return
        headers, sent = Headers(scope=scope), _Sent(send)
        begun = time.perf_counter()
        try:
            refusal = self._refusal(scope, headers)
            if refusal is not None:
                await refusal(scope, receive, sent)
            else:
                await self._through(scope, receive, sent, self._most(headers))
        except Exception as error:  # whatever it is, its text stays out of the answer and of the log
            logged.broken(error)
            if not sent.status:
                await answered(problem(error))(scope, receive, sent)
        logged.request(scope, sent.status, time.perf_counter() - begun)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        if not self.settings.called(_name(host)):
            detail = "this server is not called so: use the address that it printed, or start it with --name NAME."
            return answered(said(403, detail))
        origin = headers.get("origin")
        if origin is not None and not self._own(origin, host):
            return answered(said(403, "a page of another origin may not use this server."))
        if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
            return answered(said(403, "a page of another origin may not use this server."))
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or int(length) > self._most(headers):
            return _too_large(self._most(headers))
        return self._unknown(scope, headers)

    def _own(self, origin: str, host: str) -> bool:
        """Whether the page was served by this very address."""
        return urlsplit(origin).netloc.lower() == host.lower()

    def _unknown(self, scope: Scope, headers: Headers) -> Response | None:
        token = self.settings.token
        if token is None or scope["path"] in self.open_paths:
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = dict(query).get(QUERY)
        if given is not None and scope["method"] in ("GET", "HEAD") and _same(given, token):
            return self._welcome(scope, [(key, value) for key, value in query if key != QUERY], token)
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        kept = cookie_parser(headers.get("cookie", "")).get(self.cookie, "")
        if (kind.lower() == "bearer" and _same(bearer.strip(), token)) or _same(kept, token):
            return None
        detail = "this server wants its token: open the address that it printed, or send Authorization: Bearer TOKEN."
        return answered(said(401, detail, title="A token is wanted"), {"WWW-Authenticate": "Bearer"})

    @property
    def cookie(self) -> str:
        """Browsers do not tell ports apart: each server's cookie has a name of its own."""
        return f"{COOKIE}_{self.settings.port}"

    def _welcome(self, scope: Scope, query: list[tuple[str, str]], token: str) -> Response:
        """The token leaves the address line and becomes a cookie that no script can read."""
        path = "/" + scope["path"].lstrip("/\\")
        response = RedirectResponse(path + (f"?{urlencode(query)}" if query else ""), 303)
        response.set_cookie(self.cookie, token, httponly=True, samesite="lax", path="/")
        return response

    def _most(self, headers: Headers) -> int:
        """How large a body may be: files are written to disk as they come, JSON is held in memory."""
        kind = headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        caps = self.settings.caps
        return caps.json if kind.endswith("json") else caps.body

    async def _through(self, scope: Scope, receive: Receive, sent: _Sent, most: int) -> None:
        count = 0

        async def counted() -> Message:
            nonlocal count
            message = await receive()
            count += len(message.get("body", b""))
            if count > most:
                raise _TooMuch
            return message

        try:
            await self.application(scope, counted, sent)
        except _TooMuch:
            if not sent.status:
                await _too_large(most)(scope, receive, sent)


class _Sent:
    """Sends, with headers that let a browser do nothing but show it; knows the status once it is on its way."""

    def __init__(self, send: Send):
        self.send, self.status = send, 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("cache-control", "no-store")
        await self.send(message)


def _too_large(most: int) -> Response:
    return answered(said(413, f"a request like this has at most {most:,} bytes here."))


def _name(host: str) -> str:
    """The name in a Host header, without the port."""
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdigit() else host.lower()


def _same(given: str, token: str) -> bool:
    return secrets.compare_digest(given.encode(), token.encode())
