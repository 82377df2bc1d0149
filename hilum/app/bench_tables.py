"""What the benches of a table of images share at the door: groups, the folder that is written to, the head, the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..values.errors import BadInput
from . import screen

if TYPE_CHECKING:
    from ..capabilities.system import System
    from ..train.labelled import Labelled, LabelledImage


def columns(text: str, known: Sequence[str]) -> tuple[str, ...]:
    """What --by names, each once."""
    named = tuple(dict.fromkeys(word.strip().casefold() for word in text.split(",") if word.strip()))
    strange = [column for column in named if column not in known]
    if strange:
        raise BadInput(f"--by {strange[0]}: choose {', '.join(known)}.")
    return named


def folder(out: Path, table: str, *, force: bool) -> None:
    """The folder, which is there then; a table in it is left as it is."""
    from ..io.atomic import check_target

    if out.is_file():
        raise BadInput(f"{out} is a file: -o names a folder")
    out.mkdir(parents=True, exist_ok=True)
    check_target(out / table, force=force)


def head(system: System, table: Labelled, images: Sequence[LabelledImage]) -> list[str]:
    """What was measured on what."""
    weights = f", weights sha256 {system.weights_sha256[:16]}…" if system.weights_sha256 else ""
    count = len({image.patient for image in images})
    data = f"{table.path.name} (sha256 {table.sha256[:16]}…), {len(images)} images of {count} patients"
    return [f"{system.tag}{weights}; {data}."]


def write(path: Path, text: str) -> None:
    """The page, whole or not at all."""
    from ..io.atomic import replacing

    with replacing(path, force=True) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def end(failed: Mapping[str, str], count: int) -> None:
    """Says what was wrong with single images; then the exit code is 1."""
    for name, sentence in failed.items():
        screen.tell(f"{name}: {sentence}")
    if failed:
        screen.tell(f"{len(failed)} of {count} images failed, as listed above.")
        raise typer.Exit(1)
