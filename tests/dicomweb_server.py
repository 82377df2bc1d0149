"""A DICOMweb server on this very machine: QIDO-RS, WADO-RS and STOW-RS over a folder, as well or as badly as told."""

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pydicom

ROOT = "/dicom-web"
BOUNDARY = "between"
ROUTE = re.compile(ROOT + r"/studies(?:/([^/]+))?(?:/series(?:/([^/]+))?)?(?:/instances(?:/([^/]+))?)?")


@dataclass
class Archive:
    """What is stored, who may ask, and what goes wrong with the files that are sent."""

    folder: Path
    authorization: str | None = None  # the header that is wanted
    status: int | None = None  # of every answer
    page: bool = False  # a web page instead of an answer
    trouble: str = ""  # "short": one file less; "break": the line breaks; "junk": no DICOM; "as sent": no * is taken
    failing: str | None = None  # reason for which STOW takes nothing
    said_count: int | None = None
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    stored: list[bytes] = field(default_factory=list)
    host: str = ""

    def files(self, *uids: str | None) -> list[Path]:
        """Of the study, series and instance; None asks nothing."""
        keywords = "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"
        found = []
        for path in sorted(self.folder.rglob("*.dcm")):
            head = pydicom.dcmread(path, specific_tags=list(keywords), force=True)
            if all(uid in (None, head[keyword].value) for uid, keyword in zip(uids, keywords, strict=True)):
                found.append(path)
        return found

    def listing(self, study: str | None, series: str | None) -> list[dict]:
        """QIDO's series."""
        groups: dict[str, list[pydicom.Dataset]] = {}
        for path in self.files(study, series, None):
            head = pydicom.dcmread(path, stop_before_pixels=True)
            groups.setdefault(str(head.SeriesInstanceUID), []).append(head)
        return [self.row(uid, heads) for uid, heads in groups.items()]

    def row(self, uid: str, heads: list[pydicom.Dataset]) -> dict:
        """One series in DICOM's JSON; like many servers it tells more than it was asked for."""
        said = pydicom.Dataset()
        said.SeriesInstanceUID, said.Modality = uid, heads[0].Modality
        said.PatientName = heads[0].get("PatientName", "")
        said.NumberOfSeriesRelatedInstances = self.said_count or len(heads)
        return said.to_json_dict()

    def address(self, *uids: str) -> str:
        """dicomweb:// of the study, series and instance."""
        names = "studies", "series", "instances"
        return f"dicomweb://{self.host}{ROOT}" + "".join(
            f"/{name}/{uid}" for name, uid in zip(names, uids, strict=False)
        )


class Handler(BaseHTTPRequestHandler):
    """Answers from `self.server.archive`."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_) -> None: ...

    def refused(self) -> bool:
        """Whether the request ended here."""
        archive: Archive = self.server.archive  # type: ignore[attr-defined]
        archive.requests.append((self.command, self.path, dict(self.headers)))
        if archive.authorization and self.headers.get("Authorization") != archive.authorization:
            self.whole(401, b"", "text/plain")
        elif archive.status:
            self.whole(archive.status, b"", "text/plain")
        elif archive.page:
            self.whole(200, b"<html>sign in, Canary^Yellow</html>", "text/html")
        else:
            return False
        return True

    def do_GET(self) -> None:
        if self.refused():
            return
        archive: Archive = self.server.archive  # type: ignore[attr-defined]
        path, _, query = self.path.partition("?")
        route = ROUTE.fullmatch(path)
        if route is None:
            return self.whole(404, b"", "text/plain")
        study, series, instance = route.groups()
        if path.endswith("/series"):
            wanted = re.search(r"(?:SeriesInstanceUID|0020000E)=([0-9.]+)", query)
            rows = archive.listing(study, wanted and wanted[1])
            return self.whole(200, json.dumps(rows).encode(), "application/dicom+json")
        if archive.trouble == "as sent" and "transfer-syntax=*" in self.headers["Accept"]:
            return self.whole(406, b"", "text/plain")
        return self.parts(archive, archive.files(study, series, instance))

    def parts(self, archive: Archive, files: list[Path]) -> None:
        if not files:
            return self.whole(404, b"", "text/plain")
        contents = [path.read_bytes() for path in files]
        if archive.trouble == "short":
            contents.pop()
        if archive.trouble == "junk":
            contents[0] = b"Canary^Yellow, and no DICOM"
        body = b"".join(
            f"\r\n--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode() + each for each in contents
        )
        body += f"\r\n--{BOUNDARY}--".encode()
        kind = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
        self.whole(200, body, kind, sent=len(body) // 2 if archive.trouble == "break" else None)

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        if self.refused():
            return
        archive: Archive = self.server.archive  # type: ignore[attr-defined]
        boundary = re.search(r'boundary="?([^";]+)', self.headers["Content-Type"])
        assert boundary
        for part in content.split(f"--{boundary[1]}".encode())[1:-1]:
            archive.stored.append(part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n"))
        answer = pydicom.Dataset()
        if archive.failing:
            item = pydicom.Dataset()
            item.FailureReason = int(archive.failing, 16)
            answer.FailedSOPSequence = [item]
        self.whole(
            202 if archive.failing else 200, json.dumps(answer.to_json_dict()).encode(), "application/dicom+json"
        )

    def whole(self, code: int, content: bytes, kind: str, *, sent: int | None = None) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:sent])
        self.close_connection = sent is not None


def basic(user: str, password: str) -> str:
    """The header that such credentials make."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@contextmanager
def serving(folder: Path) -> Iterator[Archive]:
    """The archive of a folder, served at `archive.host` while the block runs."""
    archive = Archive(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.archive = archive  # type: ignore[attr-defined]
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    archive.host = f"127.0.0.1:{server.server_address[1]}"
    try:
        yield archive
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
