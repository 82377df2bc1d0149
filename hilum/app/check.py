"""`hilum check`: load a system and ask it about four small pictures whose answer is known, beside an ellipse in a box.

Weights can load without an error and still be the wrong ones. An ellipse drawn in the box, without looking, is what any
segmenter should reach; one that stays far below it has learned nothing of images, or lost it on the way.
"""

import json
import time
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from . import screen, table
from .command import Said

if TYPE_CHECKING:
    from ..capabilities.system import System

FOLDER = Path(__file__).parent / "pairs"
LOST = 0.2  # Dice below the ellipse, on the mean, from which on an answer looks like that of random weights


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """Who is checked, and where it runs."""

    name: Annotated[str, Argument(metavar="NAME", help="A system's name or tag.", show_default=False)]
    device: Annotated[str, Option(metavar="auto|cpu|cuda", help="Where it runs.")] = "auto"
    backend: Annotated[str, Option(metavar="auto|torch|openvino", help="What runs it.")] = "auto"
    json: Annotated[bool, Option("--json", help="As JSON.")] = False


@dataclass(frozen=True, slots=True)
class Checked:
    """One picture: Dice of the system's mask and of the ellipse, and the confidence it gave."""

    pair: str
    object: str
    prompt: str
    dice: float
    ellipse: float
    confidence: float
    seconds: float


def check(given: CheckOptions, said: Said) -> None:
    """Load a system and ask it about small pictures whose answer is known."""
    from .. import registry
    from .ask import device

    with screen.shown():
        system = registry.load(given.name, device=device(given.device), backend=given.backend)
        found = checked(system)
    verdict, sound = judged(system.tag, found)
    if given.json:
        typer.echo(
            json.dumps({"sound": sound, "verdict": verdict, "pairs": [asdict(each) for each in found]}, indent=2)
        )
    else:
        typer.echo("\n".join([*_rows(found), verdict]))
    if not sound:
        raise typer.Exit(1)


def _rows(found: list[Checked]) -> list[str]:
    head = ("picture", "prompt", "Dice", "ellipse in its box", "confidence", "seconds")
    numbers = [(each.dice, each.ellipse, each.confidence, each.seconds) for each in found]
    body = [
        (each.object, each.prompt, *(f"{value:.2f}" for value in row)) for each, row in zip(found, numbers, strict=True)
    ]
    return [table.rows(head, body, right=frozenset({2, 3, 4, 5}))] if body else []


def checked(system: "System") -> list[Checked]:
    """The pairs that fit the system, each asked by a box where it takes one, else by a click."""
    from .choose import fits

    card = system.card
    kind = next((kind for kind in ("box", "points") if kind in card.accepts), None)
    if kind is None or "segment" not in card.capabilities:
        return []
    about = tomllib.loads((FOLDER / "pairs.toml").read_text(encoding="utf-8"))["pair"]
    return [_one(system, pair, kind) for pair in about if fits(card, pair["modality"])]


def _one(system: "System", pair: dict[str, Any], kind: str) -> Checked:
    from ..bench.measure import dice, ellipse
    from ..io.read import read
    from ..parts.interaction import first_click, tight_box
    from ..values.prompts import Box, Points

    image = read(FOLDER / f"{pair['name']}.png", modality=pair["modality"])
    truth = read(FOLDER / f"{pair['name']}_mask.png").array[0] > 0
    low, high = tight_box(truth)
    prompt = Box(low, high) if kind == "box" else Points([first_click(truth).at])  # type: ignore[arg-type]
    begin = time.perf_counter()
    answer: Any = system.look(image).ask(prompt)
    seconds = time.perf_counter() - begin
    floor = dice(truth, ellipse(low, high, truth.shape))
    return Checked(
        pair["name"], pair["object"], kind, dice(truth, answer.masks[0]), floor, float(answer.scores[0]), seconds
    )


def judged(tag: str, found: list[Checked]) -> tuple[str, bool]:
    """A sentence, and whether the system is sound."""
    if not found:
        return f"{tag} loads; no picture is shipped that it could be asked about.", True
    mean, floor = (
        sum(values) / len(found) for values in zip(*((each.dice, each.ellipse) for each in found), strict=True)
    )
    numbers = f"Dice {mean:.2f}, the ellipse in its box {floor:.2f}"
    if mean < floor - LOST:
        return f"{tag} loads, but answers like random weights ({numbers}): is it the right file for this system?", False
    if mean < floor:
        return f"{tag} loads and answers, on these pictures below an ellipse that does not look ({numbers}).", True
    return f"{tag} loads and answers as it should ({numbers}).", True
