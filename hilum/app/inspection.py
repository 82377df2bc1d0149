"""`hilum inspect`: what a file or folder holds, as hilum reads it; nothing that names a patient."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from . import options, screen, table
from .command import Said
from .words import place

if TYPE_CHECKING:
    from ..values.image import Image

PATH = "A file, a folder of DICOM files, or a series at dicomweb://."


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectOptions:
    """What is looked at, and how it is shown."""

    path: Annotated[str, Argument(metavar="PATH", help=PATH, show_default=False)]
    sheet: Annotated[Path | None, Option(metavar="PNG", help="Write the planes and a histogram as a picture.")] = None
    force: Annotated[bool, Option("--force", help="Replace the sheet if it exists.")] = False
    json: Annotated[bool, Option("--json", help="As JSON.")] = False
    series: Annotated[str | None, Option(metavar="UID|NUMBER", help="Which DICOM series of several.")] = None
    frame: Annotated[int | None, Option(metavar="N", help="Which frame or volume of several, from 0.")] = None
    spacing: Annotated[str | None, Option(metavar="X,Y,Z", help="Millimetres, where the file does not say.")] = None
    modality: Annotated[str | None, Option(metavar="CT", help="DICOM's code, where the file does not say.")] = None


def inspection(given: InspectOptions, said: Said) -> None:
    """Show what a file holds, and which systems take it."""
    from ..io.read import read

    path = place(given.path)
    if given.sheet is not None:
        from ..io.page import check_picture

        check_picture(given.sheet, force=given.force)
    spacing = None if given.spacing is None else options.spacing(given.spacing)
    with screen.shown():
        image = read(path, series=given.series, frame=given.frame, spacing=spacing, modality=given.modality)
    found = facts(image)
    if given.json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        typer.echo(table.fields([(name.replace("_", " "), text) for name, text in worded(found).items()]))
    if given.sheet is not None:
        from ..io.sheet import inspect_sheet

        screen.tell(f"sheet: {inspect_sheet(image, given.sheet, force=given.force)}")


def facts(image: "Image") -> dict[str, Any]:
    """Plain types: what `--json` gives."""
    import numpy as np

    from ..values import geometry

    source, patient = image.source, image.space == "patient"
    finite = image.array[np.isfinite(image.array)] if image.array.dtype.kind == "f" else image.array
    sizes = image.grid[::-1]
    return {
        "format": source.format,
        "files": len(source.files),
        "size": list(sizes),
        "channels": len(image.array),
        "spacing_mm": None if image.spacing is None else [round(step, 6) for step in image.spacing],
        "orientation": "".join(geometry.letters(image.affine, axis)[1] for axis in range(3)) if patient else None,
        "runs": [geometry.letters(image.affine, axis) for axis in range(3)] if patient else None,
        "plane": _plane(image),
        "shear_degrees": round(_shear(image), 3) if patient else None,
        "affine_lps": image.affine.tolist() if patient else None,
        "modality": source.modality,
        "unit": source.unit,
        "values": [float(finite.min()), float(finite.max())] if finite.size else None,
        "stored_as": str(image.array.dtype),
        "window": {"low": image.display.low, "high": image.display.high, "inverted": image.display.inverted},
        "notes": list(source.notes),
        "systems": _takers(source.modality),
    }


def worded(found: dict[str, Any]) -> dict[str, str]:
    """The same facts for a person."""
    runs = found["runs"] or []
    low, high = found["values"] or (float("nan"), float("nan"))
    window, unit = found["window"], "voxels" if len(found["size"]) == 3 else "pixels"
    return {
        "format": found["format"] + (f", {found['files']} files" if found["files"] > 1 else ""),
        "size": f"{_times(found['size'])} {unit}" + (" in colour" if found["channels"] == 3 else ""),
        "spacing": f"{_times(found['spacing_mm'])} mm" if found["spacing_mm"] else "not stated: no millimetres",
        "orientation": ", ".join(f"{axis} from {a} to {b}" for axis, (a, b) in zip("xyz", runs, strict=False)),
        "planes": found["plane"] or "",
        "shear": _tilted(found["shear_degrees"]),
        "modality": found["modality"] or "not stated",
        "values": f"{low:g} to {high:g} {found['unit'] or ''}".rstrip() + f" ({found['stored_as']})",
        "window": f"{window['low']:g} to {window['high']:g}" + (", inverted" if window["inverted"] else ""),
        "notes": "\n".join(found["notes"]),
        "systems": "\n".join(f"{name}: {', '.join(takes)}" for name, takes in found["systems"].items()),
    }


def _plane(image: "Image") -> str | None:
    from ..io.view import orientation

    words = orientation(image, image.section().normal)
    return words[0] if words else None


def _shear(image: "Image") -> float:
    """How far the axes are from square, in degrees."""
    import numpy as np

    from ..values import geometry

    return float(np.degrees(np.arcsin(min(1.0, geometry.shear(image.affine)))))


def _tilted(degrees: float | None) -> str:
    tilted = degrees is not None and degrees > 0.05
    return f"the axes are {degrees:.1f}° from square (gantry tilt), and are kept so" if tilted else ""


def _takers(modality: str | None) -> dict[str, list[str]]:
    """Systems that are meant for such an image, and the prompts they take."""
    from .. import registry

    return {name: list(registry.card(name).accepts) for name in registry.names(modality=modality)}


def _times(numbers: list[float]) -> str:
    return " × ".join(f"{number:g}" for number in numbers)
