"""The demo, `python -m hilum.app.demo`: the main job on real pictures, a line a step, one contact sheet at the end."""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..values.errors import HilumError
from ..values.notice import SENTENCE
from . import screen
from .asked import READERS
from .demo_cases import CASES, Case

if TYPE_CHECKING:
    from ..capabilities.system import System
    from ..io.sheet import SheetRow

SYSTEM = "scout"
SHEET = "contact.png"


def main(words: Sequence[str] | None = None) -> None:
    """Runs the demo; ends with an exit code, and with a sentence where something is wrong."""
    parser = argparse.ArgumentParser(
        prog="hilum.app.demo", description="Segment real pictures with the embedded model."
    )
    parser.add_argument("--out", type=Path, default=Path("demo"), help="the folder for masks and pictures")
    given = parser.parse_args(words)
    try:
        demo(given.out)
    except HilumError as error:
        screen.tell(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        screen.tell("stopped.")
        sys.exit(130)


def demo(out: Path) -> None:
    """Every case: read, ask, write, read back, draw; then the contact sheet and the command for one's own file."""
    begin = time.perf_counter()
    screen.tell(SENTENCE)
    out.mkdir(parents=True, exist_ok=True)
    system = _loaded()
    rows = [row for case in CASES if (row := _shown(system, case, out)) is not None]
    _sheet(rows, out / SHEET)
    _step(time.perf_counter() - begin, "in all")
    typer.echo(f"\nlook at {out / SHEET}; masks and previews lie beside it. The first of them, as a command:")
    typer.echo(f"  {command(CASES[0])}")
    typer.echo("the same for your own file, with a box around what you mean (both corners, voxels from 0):")
    typer.echo(f"  {program()} ask {SYSTEM} YOUR_FILE --box 40,52,18:81,90,18 -o mask.nii.gz --preview mask.png")


def _loaded() -> System:
    from .. import registry

    begin = time.perf_counter()
    system = registry.load(SYSTEM)
    _step(time.perf_counter() - begin, f"{system.tag} is loaded")
    return system


def _shown(system: System, case: Case, out: Path) -> SheetRow | None:
    """One case from file to files; None, and a sentence, where its package is not here."""
    from ..io.overlay import preview
    from ..io.read import read
    from ..io.sheet import SheetRow
    from ..io.write import write
    from ..values.answers import Segmentation
    from .results import line
    from .round_trip import confirmed

    path = case.file()
    if path is None:
        screen.tell(f"   left out: {case.title}; the picture is in {case.package}: pip install 'hilum[demo]'")
        return None
    begin = time.perf_counter()
    image = read(path, modality=case.modality)
    prompts = [READERS[option][1](text, "voxel") for option, text in case.prompts]
    answer = system.look(image).ask(*prompts)
    assert isinstance(answer, Segmentation)
    mask = write(answer, out / case.mask, force=True)
    seconds = time.perf_counter() - begin
    said = f"{case.title} -> {line(answer, mask)} ({confirmed(answer, mask)})"
    preview(answer, out / f"{case.mask.partition('.')[0]}_preview.png", prompts=prompts, force=True)
    _step(time.perf_counter() - begin, said)
    return SheetRow(case.title, answer, tuple(prompts), seconds)


def _sheet(rows: Sequence[SheetRow], path: Path) -> None:
    from ..io.sheet import contact_sheet

    begin = time.perf_counter()
    contact_sheet(rows, path, force=True)
    _step(time.perf_counter() - begin, f"{len(rows)} pictures on one sheet: {path}")


def _step(seconds: float, what: str) -> None:
    typer.echo(f"{seconds:7.2f} s  {what}")


def command(case: Case) -> str:
    """The command line that does a case."""
    words = [nearest(Path(str(case.file()))), *(word for prompt in case.prompts for word in prompt), "-o", case.mask]
    words += [] if case.modality is None else ["--modality", case.modality]
    return f"{program()} {shlex.join(['ask', SYSTEM, *words])}"


def program() -> str:
    """`hilum`, or where it lies if a shell would not find it."""
    beside = Path(sys.executable).with_name("hilum")
    return "hilum" if shutil.which("hilum") is not None or not beside.is_file() else nearest(beside)


def nearest(path: Path) -> str:
    """A path as one would type it from here."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


if __name__ == "__main__":
    main()
