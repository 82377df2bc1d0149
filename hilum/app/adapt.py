"""`hilum adapt`: a system and the user's own labelled cases; `hilum adapt merge`: several sites' adapters as one."""

import json as jsons
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from ..values.errors import BadInput
from . import screen, table
from .command import Said

DATA = "Labelled pairs: images/ and labels/, or NAME.png beside NAME_mask.png; PNG or NIfTI."


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptOptions:
    """What is adapted, from what, how, and where to."""

    words: Annotated[
        list[str], Argument(metavar="SYSTEM | merge ADAPTER ADAPTER...", help="Who is adapted.", show_default=False)
    ]
    data: Annotated[Path | None, Option("--data", metavar="FOLDER", help=DATA)] = None
    output: Annotated[Path | None, Option("-o", "--output", metavar="FOLDER", help="Where the adapter goes.")] = None
    method: Annotated[str, Option(metavar="paper|lora|head|wavelet", help="What is trained.")] = "lora"
    held: Annotated[float, Option(help="Share of the patients that is held back.")] = 0.2
    rank: Annotated[int, Option(help="Of the low-rank updates; width of the wavelet branch.")] = 8
    steps: Annotated[int, Option(help="At most this many steps.")] = 300
    minutes: Annotated[float, Option(help="At most this long, all sittings together.")] = 8.0
    batch: Annotated[int, Option(help="Samples in a step.")] = 4
    rate: Annotated[float | None, Option(help="Learning rate; each method has its own.")] = None
    seed: Annotated[int, Option(help="Of the split and of every step.")] = 0
    weights: Annotated[str | None, Option(metavar="N,N", help="merge: how many cases stand behind each adapter.")] = (
        None
    )
    device: Annotated[str, Option(metavar="auto|cpu|cuda", help="Where it runs.")] = "auto"
    json: Annotated[bool, Option("--json", help="What was measured, as JSON on stdout.")] = False
    force: Annotated[bool, Option("--force", help="Replace an adapter that is there.")] = False


def adapt(given: AdaptOptions, said: Said) -> None:
    """Adapt a system to your own labelled cases; a run that was stopped goes on where it was.

    hilum adapt scout --data my_cases/ -o my_adapter/     then: hilum ask my_adapter/ film.png --box 12,40:90,80

    hilum adapt merge site_a/ site_b/ --weights 120,45 -o all/     averages adapters of sites whose images stay there
    """
    if given.output is None:
        raise BadInput("hilum adapt wants -o FOLDER, where the adapter goes.")
    if given.words[0] == "merge":
        _merge(given, given.output)
        return
    if len(given.words) != 1 or given.data is None:
        raise BadInput(
            "hilum adapt wants one system and --data FOLDER: hilum adapt scout --data my_cases/ -o my_adapter/"
        )
    facts = _adapted(given, given.data, given.output)
    held = facts["held_dice"]
    if given.json:
        typer.echo(jsons.dumps(facts, indent=2, ensure_ascii=False))
        return
    typer.echo(
        f"{given.output}: Dice of held cases {held['before']:.3f} before, {held['after']:.3f} after; see report.html"
    )
    typer.echo(f"hilum ask {given.output}/ YOUR_IMAGE --box x,y:x,y")


def _adapted(given: AdaptOptions, data: Path, output: Path) -> dict:
    from .. import registry
    from ..adapt.adaptation import Wish
    from ..adapt.adaptation import adapt as adapted
    from ..adapt.methods import RATES
    from ..train.loop import Course, Plan
    from .ask import device

    rate = given.rate if given.rate is not None else RATES.get(given.method, 1e-3)
    plan = Plan(given.steps, given.batch, rate, minutes=given.minutes, seed=given.seed)
    wish = Wish(data, given.method, given.held, given.rank, plan)

    def heard(course: Course) -> None:
        step, score = course.held[-1]
        screen.tell(f"step {step}: Dice of held cases {score:.3f} (best {course.best_score:.3f})")

    screen.tell("Research use only: judge an adapted model on cases that it has not seen.")
    with screen.shown():
        system = registry.load(given.words[0], device=device(given.device), backend="torch")
        return adapted(system, wish, output, force=given.force, heard=heard)


def _merge(given: AdaptOptions, output: Path) -> None:
    from ..adapt.merge import merge

    folders = [Path(word) for word in given.words[1:]]
    merged = merge(folders, _shares(given.weights, len(folders)), output, force=given.force)
    sites = merged.trained["merged"]
    rows = [(site["folder"], f"{site['share']:.3f}", _told(site)) for site in sites]
    typer.echo(table.rows(("site", "share", "its own held Dice, membership AUROC"), rows, right=frozenset({1})))
    typer.echo(f"{output}: {merged.system}.{merged.weights}, {merged.method}, of {len(sites)} sites")


def _told(site: dict) -> str:
    trained = site["trained"]
    if "held_dice" not in trained:
        return "merged itself"
    attack = trained["membership"]
    return f"{trained['held_dice']['after']:.3f}, {attack['auroc']:.2f} [{attack['low']:.2f}, {attack['high']:.2f}]"


def _shares(text: str | None, count: int) -> list[float]:
    if text is None:
        return [1.0] * count
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise BadInput(f"--weights {text}: wanted numbers separated by commas, such as 120,45") from None
