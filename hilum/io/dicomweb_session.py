"""A conversation with a DICOMweb server: who asks, how much may come, and one sentence for each way it can fail."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hilum.io import limits
from hilum.io.dicom_quiet import quiet
from hilum.io.dicomweb_address import Address
from hilum.values.errors import BadInput, Failed, HilumError, MissingExtra, TooLarge

if TYPE_CHECKING:
    from dicomweb_client import DICOMwebClient
    from requests import Response, Session

VARIABLE = "HILUM_DICOMWEB_"
MAX_FETCHED_BYTES = 8 * 2**30  # of one series, as it travels; HILUM_MAX_FETCHED_BYTES raises it
MAX_LISTING_BYTES = 64 * 2**20  # of a server's answer that is no image
PATIENCE = (10.0, 60.0)  # seconds: to connect, and between two pieces of an answer
ATTEMPTS, PAUSE = 3, 100  # of a server that says it is busy; milliseconds, doubled each time
AWAY = (408, 429, 502, 503, 504)


def client(address: Address) -> DICOMwebClient:
    """A client of the address's server; used within `talking`."""
    try:
        from dicomweb_client import DICOMwebClient
    except ImportError as error:
        raise MissingExtra("reading dicomweb://", "dicomweb-client", "dicomweb") from error
    made = DICOMwebClient(address.root, session=_session(address), timeout=PATIENCE)
    made.set_http_retry_params(max_attempts=ATTEMPTS, wait_exponential_multiplier=PAUSE)
    return made


def _session(address: Address) -> Session:
    from requests import Session
    from requests.utils import get_netrc_auth

    session = Session()
    token, user = os.environ.get(f"{VARIABLE}TOKEN"), os.environ.get(f"{VARIABLE}USER")
    found = get_netrc_auth(address.root)
    if token:
        session.auth = Bearer(token)
    elif user:
        session.auth = (user, os.environ.get(f"{VARIABLE}PASSWORD", ""))
    elif found:
        session.auth = found
    if session.auth and address.readable and os.environ.get(f"{VARIABLE}CLEAR") != "1":
        raise BadInput(
            f"the credentials for {address.host} would travel readable over http: write dicomweb+https://, or set "
            f"{VARIABLE}CLEAR=1 if the network between is trusted."
        )
    session.hooks["response"] = [_capped]
    return session


class Bearer:
    """A token in the header of each request."""

    def __init__(self, token: str):
        self.token = token

    def __call__(self, request: Any) -> Any:
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request


def _capped(response: Response, *_: Any, **__: Any) -> None:
    """Counts what comes, unpacked, and ends it above the cap."""
    pieces = response.iter_content
    image = response.headers.get("Content-Type", "").lower().startswith(("multipart/related", "application/dicom"))
    listing = "json" in response.headers.get("Content-Type", "").lower()
    most = limits.limit("MAX_FETCHED_BYTES", MAX_FETCHED_BYTES) if image and not listing else MAX_LISTING_BYTES

    def counted(*given: Any, **named: Any) -> Iterator[Any]:
        seen = 0
        for piece in pieces(*given, **named):
            seen += len(piece)
            if seen > most:
                raise TooLarge(
                    f"the server sends more than {most:,} bytes"
                    + (": set HILUM_MAX_FETCHED_BYTES to raise the cap." if image else " that are no image.")
                )
            yield piece

    response.iter_content = counted  # type: ignore[method-assign]


@contextmanager
def talking(address: Address) -> Iterator[None]:
    """Within this block nothing of the libraries is logged, and their errors become sentences."""
    with quiet():
        try:
            yield
        except HilumError:
            raise
        except Exception as error:  # the library's ways to say that it cannot read an answer, which may quote it
            raise _sentence(address, error) from error


def _sentence(address: Address, error: Exception) -> HilumError:
    import requests

    host = address.host
    match error:
        case requests.HTTPError(response=requests.Response(status_code=status)):
            return _refused(host, status)
        case requests.exceptions.SSLError():
            return BadInput(
                f"{host} shows no certificate that is trusted here: set REQUESTS_CA_BUNDLE to the file of who "
                "signed it, or write dicomweb:// if it speaks no TLS."
            )
        case requests.exceptions.ChunkedEncodingError() | requests.exceptions.ContentDecodingError():
            return BadInput(f"{host} broke off in the middle of its answer: ask again.")
        case requests.Timeout():
            return BadInput(f"{host} does not answer in time: is the server well, and the address right?")
        case requests.ConnectionError():
            return BadInput(f"nobody answers at {host}: is the server running, and the address right?")
        case _:
            return _unreadable(host, error)


def _refused(host: str, status: int) -> HilumError:
    if status in (401, 407):
        return BadInput(
            f"{host} wants credentials, or other ones (401): put a line for it into ~/.netrc, or set "
            f"{VARIABLE}USER and {VARIABLE}PASSWORD, or {VARIABLE}TOKEN."
        )
    if status == 403:
        return BadInput(f"{host} does not let these credentials do that (403).")
    if status in (404, 410):
        return BadInput(f"{host} has no such study, series or instance (404): check the address after its host.")
    if status in AWAY:
        return BadInput(f"{host} is there but does not serve now ({status}): ask again later.")
    return Failed(f"{host} could not do that, it says {status}: its own log tells why.")


def _unreadable(host: str, error: Exception) -> BadInput:
    from pydicom.errors import InvalidDicomError
    from retrying import RetryError

    if isinstance(error, RetryError):
        return BadInput(f"{host} is there but too busy to serve: ask again later.")
    if isinstance(error, InvalidDicomError):
        return BadInput(f"what {host} sent as an image is not a DICOM file.")
    return BadInput(
        f"{host} answers, but not as a DICOMweb server does ({type(error).__name__}): check the path before /studies."
    )
