"""`hilum mcp`: what the user registers at the start is all that an agent will ever reach."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from ...values.errors import BadInput, MissingExtra
from ...values.notice import SENTENCE
from .. import options, screen
from ..command import Said
from ..words import place

WORDS = "Images for the agent: files, folders of DICOM, or series at dicomweb://. It sees ids, never these words."
BLIND = "Give the agent numbers only, no pictures: for images with names burned in."


@dataclass(frozen=True, slots=True, kw_only=True)
class McpOptions:
    """Which images an agent may ask about, how they are read, and where it may leave masks."""

    images: Annotated[list[str], Argument(metavar="FILE...", help=WORDS, show_default=False)]
    output: Annotated[
        Path | None, Option("-o", "--output", metavar="FOLDER", help="Where answers may be saved, under their ids.")
    ] = None
    without_pictures: Annotated[bool, Option("--without-pictures", help=BLIND)] = False
    series: Annotated[str | None, Option(metavar="UID|NUMBER", help="Which DICOM series of several.")] = None
    frame: Annotated[int | None, Option(metavar="N", help="Which frame or volume of several, from 0.")] = None
    spacing: Annotated[str | None, Option(metavar="X,Y,Z", help="Millimetres, where the file does not say.")] = None
    modality: Annotated[str | None, Option(metavar="CT", help="DICOM's code, where the file does not say.")] = None
    device: Annotated[str, Option(metavar="auto|cpu|cuda", help="Where it runs.")] = "auto"
    backend: Annotated[str, Option(metavar="auto|torch|openvino", help="What runs it.")] = "auto"


def mcp(given: McpOptions, said: Said) -> None:
    """Serve these images and all systems to an agent, by MCP on stdin and stdout; it ends when the agent does.

    hilum mcp scan.nii.gz ct_folder/ -o masks/
    """
    try:
        from mcp.server import mcpserver  # noqa: F401
    except ImportError as error:
        raise MissingExtra("hilum mcp", "mcp", "mcp") from error
    from .desk import Desk
    from .server import serving
    from .shelf import Shelf

    if given.output is not None and not given.output.is_dir():
        raise BadInput(f"-o names a folder that is there; {given.output} is none. Create it first.")
    spacing = None if given.spacing is None else options.spacing(given.spacing)
    reading = {"series": given.series, "frame": given.frame, "spacing": spacing, "modality": given.modality}
    screen.tell(SENTENCE)
    with screen.shown():
        shelf = Shelf([place(word, first=not number) for number, word in enumerate(given.images)], reading)
    for id, where in shelf.places.items():
        screen.tell(f"{id}: {where}")
    desk = Desk(shelf, given.output, device=given.device, backend=given.backend)
    serving(desk, pictures=not given.without_pictures).run("stdio")
