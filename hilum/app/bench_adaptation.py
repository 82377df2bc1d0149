"""`hilum bench adaptation`: the survey's comparison, run again on the user's machine; goes on where it stopped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..values.errors import BadInput, Failed

if TYPE_CHECKING:
    from ..bench.adaptation import Cell, Study

CURVE = "0,4:medsam,samed,autosam decoder:breast_lesion,retina_vessels"


def adaptation(
    data: Annotated[Path, typer.Option(help="FOLDER/<target>/images and labels; python recipes/study_pairs.py")],
    out: Annotated[Path, typer.Option("-o", "--out", help="folder for results.jsonl; an old one is gone on with")],
    system: Annotated[str, typer.Option(help="the SAM that all begin from")] = "sam_study.pocket",
    page: Annotated[Path | None, typer.Option(help="where table and figure go: docs/adaptation-study.md")] = None,
    cases: Annotated[int, typer.Option(help="cases to learn from")] = 16,
    seeds: Annotated[int, typer.Option(help="draws of these cases")] = 3,
    steps: Annotated[int, typer.Option(help="of every method")] = 150,
    methods: Annotated[str, typer.Option(help="only these, by comma")] = "",
    curve: Annotated[str, typer.Option(help="COUNTS:METHODS:TARGETS; 0 is all; nothing for none")] = CURVE,
    processes: Annotated[int, typer.Option(help="of one thread each")] = 1,
) -> None:
    """Every way of adapting a SAM on a few cases of each target: Dice, NSD, parameters, minutes, memory, bytes."""
    from rich.console import Console

    from .. import registry
    from ..bench import adaptation as bench
    from ..bench import adaptation_table as table
    from ..train.pairs import pairs

    out.mkdir(parents=True, exist_ok=True)
    file, study = out / "results.jsonl", bench.Study(steps=steps)
    start = bench.Start.of(registry.load(system, backend="torch"))
    counts = {cases: (_words(methods), ())} | _counts(curve)
    targets = list(dict.fromkeys(pair.source for pair in pairs(data)))
    done = {result.cell for result in bench.results(file, study)}
    todo = [cell for cell in bench.cells(start, targets, counts, seeds) if cell not in done]
    Console(stderr=True).print(f"{len(done)} cells are there, {len(todo)} to measure", markup=False)
    _measure(system, data, todo, study, file, processes)
    found = bench.results(file, study)
    text = f"{table.markdown(found, cases, study)}\n{table.curve(found)}"
    Console().print(text, markup=False, soft_wrap=True)
    if page is not None:
        picture = page.parent / "pictures" / f"{page.stem}.png"
        table.draw(found, cases, picture)
        table.write(page, f"{text}\n\n![Dice of every method](pictures/{picture.name})")


def _measure(system: str, data: Path, todo: Sequence[Cell], study: Study, file: Path, processes: int) -> None:
    """Each process takes every n-th cell; they share nothing but the file."""
    import multiprocessing
    import os

    if processes == 1:
        _share(system, data, todo, study, file, os.getppid())
        return
    context = multiprocessing.get_context("spawn")
    shares = (todo[number::processes] for number in range(processes))
    running = [context.Process(target=_share, args=(system, data, share, study, file, os.getpid())) for share in shares]
    for each in running:
        each.start()
    for each in running:
        each.join()
    if any(each.exitcode for each in running):
        raise Failed("a process of the study ended early; the same command goes on with what is missing")


def _share(system: str, data: Path, todo: Sequence[Cell], study: Study, file: Path, parent: int) -> None:
    """One process of one thread, which ends after its cell when its parent is gone."""
    import os

    import torch

    from .. import registry
    from ..bench.adaptation import Start, work

    torch.set_num_threads(1)
    start = Start.of(registry.load(system, backend="torch"))
    work(start, data, todo, (study, file), alive=lambda: os.getppid() == parent)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _counts(text: str) -> dict[int, tuple[tuple[str, ...], tuple[str, ...]]]:
    if not text:
        return {}
    parts = text.split(":")
    if len(parts) != 3 or not all(word.isdigit() for word in _words(parts[0])):
        raise BadInput(f"--curve {text}: wanted COUNTS:METHODS:TARGETS, such as {CURVE}")
    return {int(word): (_words(parts[1]), _words(parts[2])) for word in _words(parts[0])}
