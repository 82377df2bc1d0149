"""`hilum bench …`: measurements on the user's own labelled cases, side by side, in one run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .bench_adaptation import adaptation
from .bench_faithfulness import faithfulness
from .bench_matching import retrieval, zeroshot
from .bench_probe import probe

app = typer.Typer(help="Measure systems on labelled cases, beside floors that do not look.", no_args_is_help=True)
app.command("adaptation")(adaptation)
app.command("zeroshot")(zeroshot)
app.command("retrieval")(retrieval)
app.command("probe")(probe)
app.command("faithfulness")(faithfulness)


@app.command("segment")
def segment(
    data: Annotated[Path, typer.Option(help="FOLDER/<source>/images/* with label maps in <source>/labels/*")],
    system: Annotated[str, typer.Option(help="a system that segments, or its tag")] = "scout",
    prompts: Annotated[str, typer.Option(help="box, clicks=N, or both")] = "box,clicks=5",
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="folder for table.md, records.csv and curve.png")
    ] = None,
    objects: Annotated[int, typer.Option(help="at most this many objects of an image, drawn by the seed")] = 5,
    most: Annotated[int | None, typer.Option(help="at most this many cases of a source, drawn by the seed")] = None,
    seed: Annotated[int, typer.Option(help="of the cases and objects drawn")] = 0,
    force: Annotated[bool, typer.Option("--force", help="replace what is in the folder")] = False,
) -> None:
    """Dice, surface Dice and clicks to 90 % per source with 95 % intervals, beside the ellipse and Otsu in the box."""
    from rich.console import Console

    from .. import registry
    from ..bench import curve
    from ..bench import segment as bench
    from ..io.atomic import check_target, replacing
    from ..train import pairs

    plan = bench.plan_from(prompts, objects=objects, seed=seed)
    cases = pairs.some(pairs.pairs(data), most, seed=seed)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for name in ("table.md", "records.csv", "curve.png"):
            check_target(out / name, force=force)
    records = list(bench.measure(registry.load(system), cases, plan))
    text = bench.markdown(bench.table(records))
    Console().print(text, markup=False, soft_wrap=True)
    if out is not None:
        with replacing(out / "table.md", force=force) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
        bench.write_csv(records, out / "records.csv", force=force)
        curve.draw(
            records, out / "curve.png", title=f"{system}: Dice per source (dashed: ellipse in the box)", force=force
        )


@app.command("frequency")
def frequency(
    systems: Annotated[list[str], typer.Argument(metavar="SYSTEM...", help="Encoders or segmenters, or their tags.")],
    data: Annotated[Path, typer.Option(help="labelled pairs, as for hilum bench segment")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="folder for a table and records of each system, and curve.png")
    ] = None,
    most: Annotated[int | None, typer.Option(help="at most this many cases of a source, drawn by the seed")] = 12,
    seed: Annotated[int, typer.Option(help="of the cases drawn")] = 0,
    force: Annotated[bool, typer.Option("--force", help="replace what is in the folder")] = False,
) -> None:
    """What is lost as bands of the image are taken away: drift of the features, and Dice where masks are labelled."""
    from rich.console import Console

    from .. import registry
    from ..bench import frequency as bench
    from ..io.atomic import check_target, replacing
    from ..train import pairs

    cases = pairs.some(pairs.pairs(data), most, seed=seed)
    files = [f"{name}.{kind}" for name in systems for kind in ("md", "csv")] + ["curve.png"]
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for name in files:
            check_target(out / name, force=force)
    curves = {name: list(bench.measure(registry.load(name), cases)) for name in systems}
    for name, records in curves.items():
        text = f"{name}\n\n{bench.markdown(records)}"
        Console().print(text, markup=False, soft_wrap=True)
        if out is not None:
            with replacing(out / f"{name}.md", force=force) as temporary:
                temporary.write_text(text + "\n", encoding="utf-8")
            bench.write_csv(records, out / f"{name}.csv", force=force)
    if out is not None:
        bench.draw(dict(curves), out / "curve.png", force=force)


@app.command("zero-shot")
def zero_shot(
    system: Annotated[str, typer.Argument(metavar="SYSTEM", help="a system that segments, or its tag")],
    data: Annotated[Path, typer.Option(help="labelled pairs, PNG or NIfTI, as for hilum adapt")],
    prompts: Annotated[str, typer.Option(help="modes: everything, box, points=N")] = "everything,box,points=1,points=5",
    by: Annotated[str, typer.Option(metavar="source|label", help="a line of the table for each of these")] = "source",
    out: Annotated[Path | None, typer.Option("-o", "--out", help="folder for table.md and records.csv")] = None,
    planes: Annotated[int, typer.Option(help="at most this many planes of a volume")] = 5,
    objects: Annotated[int, typer.Option(help="at most this many objects of a plane, drawn by the seed")] = 20,
    most: Annotated[int | None, typer.Option(help="at most this many cases of a source, drawn by the seed")] = None,
    seed: Annotated[int, typer.Option(help="of the cases, objects and clicks drawn")] = 0,
    force: Annotated[bool, typer.Option("--force", help="replace what is in the folder")] = False,
) -> None:
    """Masks of a segmenter untrained (survey, row 1): all it proposes, by box, by clicks. Labels: zeroshot."""
    from dataclasses import replace

    from rich.console import Console

    from .. import registry
    from ..bench import zero_shot as bench
    from ..io.atomic import check_target, replacing
    from ..train import pairs
    from ..values.errors import BadInput

    if by not in ("source", "label"):
        raise BadInput(f"--by takes source or label; got {by!r}")
    wanted = replace(bench.plan_from(prompts), planes=planes, objects=objects, seed=seed)
    cases = pairs.some(pairs.pairs(data), most, seed=seed)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for name in ("table.md", "records.csv"):
            check_target(out / name, force=force)
    asked = registry.load(system)
    plan, said = bench.fitting(asked, wanted)
    records = list(bench.measure(asked, cases, plan))
    text = bench.markdown(bench.table(records, by), said)
    Console().print(text, markup=False, soft_wrap=True)
    if out is not None:
        with replacing(out / "table.md", force=force) as temporary:
            temporary.write_text(f"{asked.tag}\n\n{text}\n", encoding="utf-8")
        bench.write_csv(records, out / "records.csv", force=force)
