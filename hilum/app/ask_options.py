"""What `hilum ask` may be given. Annotations are evaluated here: typer reads them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

WORDS = (
    "A system's name or tag if you wish to choose it, image files or folders (or dicomweb://HOST/.../series/UID), "
    "and a question if it has a space."
)
POINT = "A click inside the object; may be said again."
POINT_OUT = "A click outside the object; may be said again."
BOX = (
    "A box around an object, both corners included, in voxels counted from 0. Each box is an object of its own; "
    "prompts that share a name are about one."
)
MM = "Boxes and points are in patient millimetres (LPS: x to the patient's left, y to the back, z to the head)."


@dataclass(frozen=True, slots=True, kw_only=True)
class AskOptions:
    """The options of one `hilum ask`."""

    words: Annotated[list[str], Argument(metavar="[SYSTEM] IMAGE... [QUESTION]", help=WORDS, show_default=False)]
    question: Annotated[str | None, Option("-q", "--question", metavar="TEXT", help="A question.")] = None
    box: Annotated[list[str] | None, Option("--box", metavar="[NAME=]X,Y[,Z]:X,Y[,Z]", help=BOX)] = None
    point: Annotated[list[str] | None, Option("--point", metavar="[NAME=]X,Y[,Z]", help=POINT)] = None
    point_out: Annotated[list[str] | None, Option("--point-out", metavar="[NAME=]X,Y[,Z]", help=POINT_OUT)] = None
    mask: Annotated[list[str] | None, Option("--mask", metavar="FILE", help="A first guess on the same grid.")] = None
    scribble: Annotated[
        list[str] | None,
        Option("--scribble", metavar="FILE", help="Strokes on the same grid: 1 or green inside, 2 or red outside."),
    ] = None
    labels: Annotated[
        list[str] | None, Option("--labels", metavar='"A, B"', help="Names of classes, or FILE.json with their texts.")
    ] = None
    template: Annotated[
        list[str] | None, Option("--template", metavar='"A FILM OF {}"', help="How a label is said; may be repeated.")
    ] = None
    calibration: Annotated[
        Path | None,
        Option(metavar="FOLDER", help="Probabilities of labels, by what hilum calibrate wrote for this system."),
    ] = None
    over: Annotated[
        str | None, Option(metavar="SYSTEM", help="Which system the named one asks, where it asks one (sam_u).")
    ] = None
    mm: Annotated[bool, Option("--mm", help=MM)] = False
    output: Annotated[
        Path | None,
        Option("-o", "--output", metavar="FILE", help=".nii.gz .nii .dcm (SEG) .nrrd .seg.nrrd .png .json"),
    ] = None
    push: Annotated[
        bool, Option("--push", help="Store the SEG of -o on the DICOMweb server that the image came from.")
    ] = False
    preview: Annotated[Path | None, Option(metavar="PNG", help="A picture of the answer to judge it by.")] = None
    explain: Annotated[
        Path | None,
        Option(
            metavar="PNG",
            help="Where the answer comes from, laid over the image; .nii.gz .nii .nrrd .npz: the maps themselves.",
        ),
    ] = None
    json: Annotated[bool, Option("--json", help="The answer as JSON on stdout.")] = False
    force: Annotated[bool, Option("--force", help="Replace files that exist.")] = False
    series: Annotated[str | None, Option(metavar="UID|NUMBER", help="Which DICOM series of several.")] = None
    frame: Annotated[int | None, Option(metavar="N", help="Which frame or volume of several, from 0.")] = None
    spacing: Annotated[
        str | None, Option(metavar="X,Y,Z", help="Millimetres between voxels, where the file does not say.")
    ] = None
    modality: Annotated[
        str | None, Option(metavar="CT", help="DICOM's code of the modality, where the file does not say.")
    ] = None
    device: Annotated[str, Option(metavar="auto|cpu|cuda", help="Where it runs.")] = "auto"
    backend: Annotated[str, Option(metavar="auto|torch|openvino", help="What runs it.")] = "auto"
    max_memory: Annotated[str | None, Option(metavar="8GB", help="Refuse what is predicted to need more.")] = None
    keep_looks: Annotated[
        Path | None, Option(metavar="FOLDER", help="Keep what was seen, so that the next question is quick.")
    ] = None
