"""`hilum bench zeroshot` and `hilum bench retrieval`: systems that compare pictures with texts, on the user's table."""

from __future__ import annotations

import json as jsons
from pathlib import Path
from typing import Annotated, cast

import typer

from ..values.errors import BadInput
from ..values.notice import SENTENCE
from . import bench_tables, options, screen

SYSTEM = "a system that takes labels, or its tag"
TABLE = "a CSV table: file, and a column for each label (1, 0, empty) or a column labels (a|b)"
RIVALS = "a table of other images: HOG + ridge and 8 × 8 thumbnails are fitted on it, and put beside the system"
SCORES = ("softmax", "similarity")


def zeroshot(
    system: Annotated[str, typer.Argument(metavar="SYSTEM", help=SYSTEM)],
    data: Annotated[Path, typer.Option(metavar="TABLE.csv", help=TABLE)],
    labels: Annotated[str, typer.Option(metavar='"A, B"', help="names of labels, or FILE.json with their texts")],
    out: Annotated[Path, typer.Option("-o", "--out", help="folder for table.md and records.jsonl; goes on with one")],
    template: Annotated[list[str] | None, typer.Option(metavar='"A FILM OF {}"', help="how a label is said")] = None,
    exclusive: Annotated[bool, typer.Option("--exclusive", help="exactly one label is true of each image")] = False,
    by: Annotated[str, typer.Option(metavar="view,sex,age,source", help="groups, by columns of the table")] = "",
    score: Annotated[str, typer.Option(metavar="softmax|similarity", help="what ranks the images")] = "softmax",
    rivals: Annotated[Path | None, typer.Option(metavar="TRAIN.csv", help=RIVALS)] = None,
    draws: Annotated[int, typer.Option(min=100, help="of the bootstrap, by patient")] = 1000,
    seed: Annotated[int, typer.Option(help="of the draws")] = 0,
    modality: Annotated[str | None, typer.Option(metavar="DX", help="where the files do not say")] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="where it runs")] = "auto",
    backend: Annotated[str, typer.Option(metavar="auto|torch|openvino", help="what runs it")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="the measures as JSON on stdout")] = False,
) -> None:
    """Labels without training (masks: zero-shot): AUROC, AUPRC, calibration error, intervals by patient, by group."""
    from .. import registry
    from ..adapt import scoring
    from ..bench import beside, fitted_rivals, label_measures, label_records, label_table
    from ..train import labelled
    from .ask import device as placed

    scoring.check(registry.card(system))
    label_measures.metrics()
    if score not in SCORES:
        raise BadInput(f"--score {score}: choose {' or '.join(SCORES)}.")
    asked, columns = options.asked_labels(labels, template), bench_tables.columns(by, labelled.GROUPS)
    table = labelled.read(data, asked.names, by=columns)
    if exclusive:
        label_measures.check_exclusive(table)
    train = None if rivals is None else labelled.read(rivals, asked.names)
    if train is not None:
        fitted_rivals.check(train, table, exclusive=exclusive)
    file = out / label_records.RECORDS
    bench_tables.folder(out, label_records.TABLE, force=file.is_file())  # a table beside its records is made anew
    screen.tell(SENTENCE)
    with screen.shown():
        loaded = registry.load(system, device=placed(device), backend=backend)
        settings = label_records.Settings.of(loaded, asked, modality=modality, backend=backend)
        scored, failed = label_records.scored(loaded, table.images, asked, settings, file)
        cases = label_measures.cases(scored, asked.names, score, exclusive=exclusive)
        whole = label_measures.measured(cases, draws=draws, seed=seed)
        groups = {
            column: label_measures.by_group(cases, scored.images, column, draws=draws, seed=seed) for column in columns
        }
        ways, notes = {loaded.tag: cases}, label_table.notes(scored, cases, score, draws)
        if train is not None:
            fit, unread = fitted_rivals.fitted(train, scored.images, exclusive=exclusive, modality=modality)
            failed, ways = failed | unread, ways | fit.cases(cases)
            notes.append(fit.note(train.path.name))
            fit.write(scored.images, asked.names, out / fitted_rivals.RECORDS)
        given = beside.Beside(ways, scored.images, draws, seed)
        measures = given.measures() if train is not None else {}
    shown = [*(["**Beside rivals, mean of labels**", ""] if measures else []), *beside.markdown(given, measures)]
    shown += [line for column in columns for line in beside.within_markdown(given, column)]
    head = bench_tables.head(loaded, table, scored.images)
    text = label_table.markdown(head, whole, groups, [*shown, *([""] if shown else []), *notes])
    bench_tables.write(out / label_records.TABLE, text)
    told = label_table.facts(whole, groups) | beside.facts(given, columns)
    told["rivals"] = {name: label_table.facts(one, {}) for name, one in list(measures.items())[1:]}
    typer.echo(jsons.dumps(told, indent=2, ensure_ascii=False) if json else text)
    bench_tables.end(failed, len(table.images) + (len(train.images) if train else 0))


def retrieval(
    system: Annotated[str, typer.Argument(metavar="SYSTEM", help="a system with vectors of pictures and of texts")],
    data: Annotated[Path, typer.Option(metavar="TABLE.csv", help="a CSV table with the columns file and text")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="folder for table.md and records.jsonl")] = None,
    by: Annotated[str, typer.Option(metavar="view,sex,age,source", help="groups, by columns of the table")] = "",
    draws: Annotated[int, typer.Option(min=100, help="of the bootstrap, by patient")] = 1000,
    seed: Annotated[int, typer.Option(help="of the draws")] = 0,
    modality: Annotated[str | None, typer.Option(metavar="DX", help="where the files do not say")] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="where it runs")] = "auto",
    backend: Annotated[str, typer.Option(metavar="auto|torch|openvino", help="what runs it")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="the measures as JSON on stdout")] = False,
    force: Annotated[bool, typer.Option("--force", help="replace the table in the folder")] = False,
) -> None:
    """Whose text, whose image: recall at 1, 5 and 10 both ways with chance beside it, also by group."""
    from .. import registry
    from ..bench import label_records
    from ..bench import retrieval as bench
    from ..train import labelled
    from .ask import device as placed

    _worded(system)
    columns = bench_tables.columns(by, labelled.GROUPS)
    table = labelled.read(data, by=columns, text=True)
    if out is not None:
        for name in (label_records.TABLE, label_records.RECORDS):
            bench_tables.folder(out, name, force=force)
    screen.tell(SENTENCE)
    with screen.shown():
        loaded = registry.load(system, device=placed(device), backend=backend)
        vectors, failed = bench.vectored(loaded, table.images, modality=modality)
        ranked = bench.Ranked.of(vectors)
        found = ranked.whole(draws=draws, seed=seed)
        groups = {column: ranked.by_group(column, draws=draws, seed=seed) for column in columns}
    text = bench.markdown(bench_tables.head(loaded, table, vectors.images), found, groups, draws)
    if out is not None:
        lines = [jsons.dumps(each, ensure_ascii=False) for each in ranked.records()]
        bench_tables.write(out / label_records.RECORDS, "\n".join(lines))
        bench_tables.write(out / label_records.TABLE, text)
    typer.echo(jsons.dumps(bench.facts(found, groups), indent=2, ensure_ascii=False) if json else text)
    bench_tables.end(failed, len(table.images))


def _worded(name: str) -> None:
    """Refuses, before its weights are loaded, a system without vectors of pictures or of texts."""
    from .. import registry
    from ..capabilities.match import Worded

    card, made = registry.card(name), registry.find(name).system_class()
    if "embed" not in card.capabilities or not isinstance(cast(object, made), Worded):
        both = [each for each in registry.names(capability="match") if "embed" in registry.card(each).capabilities]
        raise BadInput(f"{card.name} has no vectors of pictures beside vectors of texts. Choose of {', '.join(both)}.")
