"""A server on this very machine that behaves as badly as real ones do: for tests of fetching."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What is served, and how: each request takes the next trouble of the list, then all goes well."""

    content: bytes
    etag: str = '"one"'
    troubles: list[str] = field(default_factory=list)
    requests: list[tuple[str, str, str]] = field(default_factory=list)  # method, path, Range
    sent: int = 0
    ranges: bool = True
    hub: bool = False
    address: str = ""


class Handler(BaseHTTPRequestHandler):
    """Answers from `self.server.site`."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_) -> None: ...

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        site: Site = self.server.site  # type: ignore[attr-defined]
        site.requests.append((self.command, self.path, self.headers.get("Range", "")))
        trouble = site.troubles.pop(0) if site.troubles and (body or site.troubles[0].isdigit()) else ""
        if trouble.isdigit():
            return self.short(int(trouble), {"X-Error-Code": "GatedRepo"} if trouble == "403" else {})
        if trouble.startswith("http"):
            return self.short(302, {"Location": trouble})
        if trouble == "page":
            return self.whole(b"<html>sign in</html>", "text/html; charset=utf-8")
        if trouble == "changed":
            site.etag, site.content = '"two"', site.content[::-1]
        return self.file(site, trouble, body=body)

    def file(self, site: Site, trouble: str, *, body: bool) -> None:
        first = self.first(site)
        rest = site.content[first:]
        self.send_response(206 if first else 200)
        if first:
            total = len(site.content)
            self.send_header("Content-Range", f"bytes {first}-{total - 1}/{total}")
        self.send_header("Content-Type", "application/octet-stream")
        if trouble != "no length":
            self.send_header("Content-Length", str(len(rest)))
        if site.etag:
            self.send_header("ETag", site.etag)
        if site.hub:
            self.send_header("X-Repo-Commit", "a" * 40)
        self.close_connection = trouble in ("break", "no length")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if body:
            part = rest[: len(rest) // 2] if trouble == "break" else rest
            site.sent += len(part)
            self.wfile.write(part)

    def first(self, site: Site) -> int:
        wanted, since = self.headers.get("Range", ""), self.headers.get("If-Range", site.etag)
        if not site.ranges or not wanted or since != site.etag:
            return 0
        return int(wanted.removeprefix("bytes=").partition("-")[0])

    def short(self, code: int, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in {**headers, "Content-Length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()

    def whole(self, content: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def served(site: Site) -> Iterator[Site]:
    """The site, at `site.address`, while the block runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.site = site  # type: ignore[attr-defined]
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    site.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
