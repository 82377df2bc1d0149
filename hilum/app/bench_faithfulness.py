"""`hilum bench faithfulness`: whether the maps of --explain are true, on the user's own labelled pictures."""

from __future__ import annotations

import json as jsons
from pathlib import Path
from typing import Annotated

import typer

from ..values.errors import BadInput
from ..values.notice import SENTENCE
from . import bench_tables, options, screen
from .bench_matching import SYSTEM, TABLE


def faithfulness(
    system: Annotated[str, typer.Argument(metavar="SYSTEM", help=SYSTEM)],
    data: Annotated[Path, typer.Option(metavar="TABLE.csv", help=TABLE)],
    labels: Annotated[str, typer.Option(metavar='"A, B"', help="names of labels, or FILE.json with their texts")],
    out: Annotated[Path, typer.Option("-o", "--out", help="folder for table.md, records.jsonl and curves.png")],
    template: Annotated[list[str] | None, typer.Option(metavar='"A FILM OF {}"', help="how a label is said")] = None,
    most: Annotated[int, typer.Option(min=1, help="at most so many images with a true label, drawn by the seed")] = 40,
    seed: Annotated[int, typer.Option(help="of the images drawn, and of the random map")] = 0,
    modality: Annotated[str | None, typer.Option(metavar="DX", help="where the files do not say")] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="where it runs")] = "auto",
    backend: Annotated[str, typer.Option(metavar="auto|torch|openvino", help="what runs the look")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="the measures as JSON on stdout")] = False,
    force: Annotated[bool, typer.Option("--force", help="replace what is in the folder")] = False,
) -> None:
    """Are --explain's maps true? Deletion and insertion beside a random map and a Gaussian in the middle."""
    from .. import registry
    from ..adapt import scoring
    from ..bench import faithfulness as bench
    from ..bench import faithfulness_table, label_records
    from ..train import labelled
    from .ask import device as placed

    scoring.check(registry.card(system))
    asked = options.asked_labels(labels, template)
    table = labelled.read(data, asked.names)
    pairs = bench.chosen(table.images, asked, most, seed=seed)
    if not pairs:
        raise BadInput(f"{data}: none of {', '.join(asked.names)} is true of any image, so there is no map to judge.")
    for name in (label_records.TABLE, label_records.RECORDS, faithfulness_table.FIGURE):
        bench_tables.folder(out, name, force=force)
    screen.tell(SENTENCE)
    with screen.shown():
        loaded = registry.load(system, device=placed(device), backend=backend)
        found, failed = bench.collected(loaded, pairs, asked, modality=modality, seed=seed)
    faithfulness_table.write_records(found, out / label_records.RECORDS)
    faithfulness_table.draw(found, out / faithfulness_table.FIGURE, title=f"{loaded.tag}: {len(found.judged)} maps")
    seen = [image for image, label in pairs if image.name not in failed]
    head = [*bench_tables.head(loaded, table, seen), f"Labels: {', '.join(asked.names)}."]
    text = faithfulness_table.markdown(head, found)
    bench_tables.write(out / label_records.TABLE, text)
    typer.echo(jsons.dumps(faithfulness_table.facts(found), indent=2, ensure_ascii=False) if json else text)
    bench_tables.end(failed, len(pairs))
