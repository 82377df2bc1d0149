"""`hilum bench probe`: a frozen encoder's vectors beside two rivals, on folds that keep a patient together."""

from __future__ import annotations

import json as jsons
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..values.errors import BadInput, HilumError
from ..values.notice import SENTENCE
from . import bench_tables, options, screen

if TYPE_CHECKING:
    from ..bench.probe_table import Material
    from ..capabilities.system import System
    from ..train.labelled import Labelled

GROUPS = ("patient", "alike")
DATA = "a folder of pictures for each class (patient__name.png), or a CSV table: file, and columns of labels"


def probe(
    system: Annotated[str, typer.Argument(metavar="SYSTEM", help="a system that embeds, or its tag")],
    data: Annotated[Path, typer.Option(metavar="FOLDER|TABLE.csv", help=DATA)],
    out: Annotated[Path, typer.Option("-o", "--out", help="folder for table.md and records.jsonl")],
    labels: Annotated[
        str | None, typer.Option(metavar='"A, B"', help="of a table the classes: exactly one is true of each image")
    ] = None,
    by: Annotated[str, typer.Option(metavar="view,sex,age,source", help="groups, by columns of the table")] = "",
    groups: Annotated[
        str,
        typer.Option(
            metavar="patient|alike", help="what stays in one fold: patients, or with them pictures that look alike"
        ),
    ] = "patient",
    folds: Annotated[int, typer.Option(min=2, help="of the cross-validation")] = 5,
    draws: Annotated[int, typer.Option(min=100, help="of the bootstrap, by group")] = 1000,
    seed: Annotated[int, typer.Option(help="of folds and draws")] = 0,
    modality: Annotated[str | None, typer.Option(metavar="DX", help="where the files do not say")] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="where it runs")] = "auto",
    backend: Annotated[str, typer.Option(metavar="auto|torch|openvino", help="what runs it")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="the measures as JSON on stdout")] = False,
    force: Annotated[bool, typer.Option("--force", help="replace what is in the folder")] = False,
) -> None:
    """A linear probe and neighbours on frozen vectors, beside HOG + ridge and 8 × 8 thumbnails on the same folds."""
    from .. import registry
    from ..bench import beside, label_measures, label_records, label_table, probe_table
    from ..train import labelled
    from .ask import device as placed

    card = registry.card(system)
    if "embed" not in card.capabilities:
        able = ", ".join(registry.names(capability="embed"))
        raise BadInput(f"{card.name} gives no vectors. Systems that embed: {able}.")
    if groups not in GROUPS:
        raise BadInput(f"--groups {groups}: choose {' or '.join(GROUPS)}.")
    label_measures.metrics()
    columns = bench_tables.columns(by, labelled.GROUPS)
    table, broken = _labelled(data, labels, columns)
    label_measures.check_exclusive(table)
    bench_tables.folder(out, label_records.TABLE, force=force)
    screen.tell(SENTENCE)
    with screen.shown():
        loaded = registry.load(system, device=placed(device), backend=backend)
        material, failed = _material(loaded, table, groups, modality)
        held = probe_table.held_out(material, folds=folds, seed=seed)
        given = probe_table.beside(held, draws=draws, seed=seed)
        found = given.measures()
        ours = held.cases(probe_table.OURS[0])
        by_group = {
            column: label_measures.by_group(ours, material.images, column, draws=draws, seed=seed) for column in columns
        }
    probe_table.write_records(held, out / label_records.RECORDS)
    count = f"{folds} folds, {len(set(material.groups.tolist()))} groups by {groups}"
    head = [*bench_tables.head(loaded, table, material.images), f"Classes: {', '.join(table.labels)}; {count}."]
    text = probe_table.markdown(head, given, found, by_group)
    bench_tables.write(out / label_records.TABLE, text)
    told = {way: label_table.facts(one, by_group if way == probe_table.OURS[0] else {}) for way, one in found.items()}
    told |= beside.facts(given, columns)
    typer.echo(jsons.dumps(told, indent=2, ensure_ascii=False) if json else text)
    bench_tables.end(broken | failed, len(table.images) + len(broken))


def _labelled(data: Path, labels: str | None, columns: tuple[str, ...]) -> tuple[Labelled, dict[str, str]]:
    """A table with its classes, or folders named after them; and what looks like a picture and is broken."""
    from ..adapt import class_folders
    from ..train import labelled

    if not data.is_dir():
        if labels is None:
            raise BadInput(
                f"{data}: of a table say which labels are the classes, with --labels; a folder names its own."
            )
        return labelled.read(data, options.asked_labels(labels, None).names, by=columns), {}
    if labels is not None or columns:
        given = "--by" if labels is None else "--labels"
        raise BadInput(f"{given} is for a table; {data} is a folder, whose folders are the classes.")
    return class_folders.read(data)


def _material(system: System, table: Labelled, groups: str, modality: str | None) -> tuple[Material, dict[str, str]]:
    """Vectors (of a volume: the mean over its planes), squares, classes and groups of all images that could be read."""
    import numpy as np

    from ..bench import probe_table, rivals
    from ..capabilities.embed import embed
    from ..io.read import read
    from ..train.labelled import patients
    from ..values import progress

    there, vectors, squares, failed = [], [], [], dict[str, str]()
    for image in progress.track(table.images, "images"):
        try:
            found = read(image.file, modality=modality)
            vectors.append(embed(system.look(found), ()).vectors.mean(axis=0))
        except HilumError as error:
            failed[image.name] = str(error)
            continue
        squares.append(rivals.square(found))
        there.append(image)
    if not there:
        raise BadInput(f"none of {len(table.images)} images could be read, as listed above.")
    together = patients(there)
    if groups == "alike":
        together = np.array(probe_table.alike(squares, together.tolist()))
    labels = np.array([image.truth.index(True) for image in there])
    return probe_table.Material(tuple(there), table.labels, labels, together, np.stack(vectors), squares), failed
