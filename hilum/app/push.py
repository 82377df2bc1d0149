"""`--push`: the SEG that was written goes to the server that its image came from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..io.dicomweb_address import Address
from ..values.errors import BadInput, Failed, HilumError
from .words import Place


def refuse(images: Sequence[Place], output: Path | None) -> None:
    """Refuses, before anything costs time, an answer that could not be pushed."""
    if not all(isinstance(image, Address) for image in images):
        raise BadInput("--push sends the SEG to where its image came from, and this image is no dicomweb:// address.")
    single = len(images) == 1
    if output is None or (single and not output.name.lower().endswith(".dcm")):
        raise BadInput("--push sends the file of -o, a DICOM SEG: give -o FILE.dcm with it.")


def push(output: Path, image: Place) -> str:
    """Sends the file; the sentence about it."""
    from ..io import dicomweb_store

    assert isinstance(image, Address)
    try:
        dicomweb_store.push(output, image)
    except HilumError as error:
        kind = BadInput if isinstance(error, BadInput) else Failed
        raise kind(f"{output} is written, but was not pushed: {error}") from error
    return f"{output} is stored at {image.host}."
