"""`hilum bench segment`: a promptable segmenter on labelled cases, prompts simulated, beside floors that do not look.

Per source: Dice by box, after corrections, by clicks alone; the same box with another case's image (what remains is
what the box alone gives away); surface Dice; clicks to 90 %; the ellipse and Otsu in the box. Pictures only.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from ..capabilities.look import Look
from ..capabilities.system import System
from ..io.atomic import replacing
from ..parts import interaction
from ..train.pairs import Pair
from ..values import progress
from ..values.answers import Segmentation
from ..values.errors import BadInput
from ..values.image import Image
from ..values.prompts import Box, Points, Spatial
from .measure import dice, ellipse, interval, otsu, surface_dice

SMALLEST = 16  # pixels; below that a box says nothing


@dataclass(frozen=True, slots=True)
class Plan:
    """What to simulate: `box` and how many corrections after it, `clicks` from nothing; how many objects per image."""

    box: bool = True
    corrections: int = 5
    clicks: int = 5
    objects: int = 5
    seed: int = 0


def plan_from(text: str, *, objects: int = 5, seed: int = 0) -> Plan:
    """The plan that `--prompts box,clicks=5` means: by box, and with that many clicks after it and from nothing."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    clicks = 0
    for word in words:
        name, _, number = word.partition("=")
        if name not in ("box", "clicks") or (name == "clicks" and not number.isdigit()):
            raise BadInput(f"--prompts takes box and clicks=N, such as box,clicks=5; got {word!r}")
        clicks = int(number) if name == "clicks" else clicks
    return Plan(box="box" in words, corrections=clicks, clicks=clicks, objects=objects, seed=seed)


@dataclass(frozen=True, slots=True)
class Record:
    """One object under one prompt series: Dice after each step; `steps` names them."""

    source: str
    case: str
    label: int
    series: str
    dice: tuple[float, ...]
    surface: float
    confidence: float
    extra: dict[str, float] = field(default_factory=dict)


def measure(system: System, cases: Sequence[Pair], plan: Plan) -> Iterator[Record]:
    """Records of every object; the image under a box is exchanged for the next case's of the source for the shuffle."""
    by_source: dict[str, list[Pair]] = {}
    for case in cases:
        by_source.setdefault(case.source, []).append(case)
    for case in progress.track(cases, "cases"):
        others = by_source[case.source]
        other = others[(others.index(case) + 1) % len(others)]
        yield from _case(system, case, other, plan)


def _case(system: System, case: Pair, other: Pair, plan: Plan) -> Iterator[Record]:
    image = case.image()
    if image.dimensions != 2:
        raise BadInput(f"{case.source}/{case.case} is a volume; this bench takes pictures (PNG), plane by plane")
    rng = np.random.default_rng([plan.seed, *case.case.encode()[:8]])
    found = [(label, mask) for label, mask in case.objects(image) if mask.sum() >= SMALLEST]
    chosen = sorted(rng.permutation(len(found))[: plan.objects])
    look = system.look(image)
    strange = system.look(_fitted(other.image(), image)) if plan.box and other != case else None
    for label, truth in (found[index] for index in chosen):
        if plan.box:
            yield _by_box(look, strange, case, (label, truth), plan)
        if plan.clicks:
            yield _by_clicks(look, case, (label, truth), plan)


def _fitted(other: Image, image: Image) -> Image:
    """Another image's pixels on this image's grid, mirrored at the edges or cropped; channels as they are."""
    pad = [(0, max(0, want - have)) for want, have in zip(image.grid, other.grid, strict=True)]
    array = np.pad(other.array, [(0, 0), *pad], mode="symmetric")[:, : image.grid[0], : image.grid[1]]
    from dataclasses import replace

    return replace(image, array=array, display=other.display)


def _by_box(look: Look, strange: Look | None, case: Pair, one: tuple[int, np.ndarray], plan: Plan) -> Record:
    label, truth = one
    low, high = interaction.tight_box(truth)
    box = Box(low, high)
    answers = list(_corrected(look, truth, [box], plan.corrections))
    grey = look.images[0].display(look.images[0].array).mean(axis=0)
    extra = {"ellipse": dice(truth, ellipse(low, high, truth.shape)), "otsu": dice(truth, otsu(grey, low, high))}
    if strange is not None:
        extra["shuffled"] = dice(truth, _asked(strange, box).masks[0])
    return _record(case, label, "box", truth, answers, extra)


def _by_clicks(look: Look, case: Pair, one: tuple[int, np.ndarray], plan: Plan) -> Record:
    label, truth = one
    first = interaction.first_click(truth)
    answers = list(_corrected(look, truth, [Points(np.array([first.at]), np.array([first.inside]))], plan.clicks - 1))
    return _record(case, label, "clicks", truth, answers, {})


def _corrected(look: Look, truth: np.ndarray, start: list[Spatial], rounds: int) -> Iterator[Segmentation]:
    """The first answer, then one after each correcting click; all that was said is said again."""
    answer = _asked(look, *start)
    yield answer
    said = [*start]
    for _ in range(rounds):
        click = interaction.correction_click(truth, answer.masks[0])
        if click is not None:
            said.append(Points(np.array([click.at]), np.array([click.inside])))
            answer = _asked(look, *said)
        yield answer


def _asked(look: Look, *prompts: Any) -> Segmentation:
    answer = look.ask(*prompts)
    if not isinstance(answer, Segmentation):
        raise BadInput(f"{look.system.card.name} answers {type(answer).__name__}, not masks")
    return answer


def _record(
    case: Pair,
    label: int,
    series: str,
    truth: Bool[np.ndarray, "h w"],
    answers: list[Segmentation],
    extra: dict[str, float],
) -> Record:
    first = answers[0]
    surface = surface_dice(truth, first.masks[0], step=(1.0, 1.0), tolerance=2.0)
    steps = tuple(dice(truth, answer.masks[0]) for answer in answers)
    return Record(case.source, case.case, label, series, steps, surface, first.scores[0], extra)


@dataclass(frozen=True, slots=True)
class Line:
    """One source's numbers: name -> (mean, low, high); counts of objects and images."""

    source: str
    objects: int
    images: int
    numbers: dict[str, tuple[float, float, float]]


def table(records: Sequence[Record]) -> list[Line]:
    """A line per source, then the mean over sources (each source counts once)."""
    lines = [
        _line(source, [r for r in records if r.source == source]) for source in sorted({r.source for r in records})
    ]
    names = list(dict.fromkeys(name for line in lines for name in line.numbers))
    mean = {name: [line.numbers[name][0] for line in lines if name in line.numbers] for name in names}
    if len(lines) > 1:
        overall = {
            name: (float(np.mean(values)), float(min(values)), float(max(values))) for name, values in mean.items()
        }
        total = sum(line.objects for line in lines), sum(line.images for line in lines)
        lines.append(Line("mean of sources (lowest, highest)", *total, overall))
    return lines


def _line(source: str, records: list[Record]) -> Line:
    numbers: dict[str, tuple[float, float, float]] = {}
    for name, (values, groups) in _columns(records).items():
        array, names = np.array(values), np.array(groups)
        numbers[name] = (float(array.mean()), *interval(array, names))
    return Line(source, len({(r.case, r.label) for r in records}), len({r.case for r in records}), numbers)


def _columns(records: list[Record]) -> dict[str, tuple[list[float], list[str]]]:
    columns: dict[str, tuple[list[float], list[str]]] = {}

    def add(name: str, value: float, record: Record) -> None:
        values, groups = columns.setdefault(name, ([], []))
        values.append(value)
        groups.append(record.case)

    for record in records:
        for name, value in record.extra.items():
            add(name, value, record)
        steps = record.dice
        for step, value in enumerate(steps):
            add(f"box +{step}" if record.series == "box" and step else _step_name(record.series, step), value, record)
        add(f"{record.series} NSD@2px", record.surface, record)
        reached = next((step for step, value in enumerate(steps) if value >= 0.9), len(steps))
        add(f"{record.series} clicks to 90 %", float(reached + (record.series == "clicks")), record)
        add(f"{record.series} |confidence - Dice|", abs(record.confidence - steps[0]), record)
    return columns


def _step_name(series: str, step: int) -> str:
    return "box" if series == "box" else f"{step + 1} click{'s' * (step > 0)}"


SHOWN = ("ellipse", "otsu", "shuffled", "box", "box +1", "box +3", "box +5", "1 click", "3 clicks", "5 clicks")


def markdown(lines: Sequence[Line]) -> str:
    """The table, sources down, measures across: mean and 95 % interval over images."""
    names = list(dict.fromkeys(name for line in lines for name in line.numbers))
    shown = [name for name in SHOWN if name in names] + [name for name in names if "NSD" in name or "90 %" in name]
    head = ["source", "objects", "images", *shown]
    rows = [head, ["---"] * len(head)]
    for line in lines:
        cells = [cell(line.numbers.get(name)) for name in shown]
        rows.append([line.source, str(line.objects), str(line.images), *cells])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def cell(number: tuple[float, float, float] | None) -> str:
    """Mean and interval, or nothing."""
    return "" if number is None else "{:.3f} [{:.3f}, {:.3f}]".format(*number)


def write_csv(records: Sequence[Record], path: Path, *, force: bool = False) -> Path:
    """Every record, one row a step: what the table and the curve are made of."""
    with replacing(path, force=force) as temporary, temporary.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(
            [
                "source",
                "case",
                "label",
                "series",
                "step",
                "dice",
                "surface",
                "confidence",
                "ellipse",
                "otsu",
                "shuffled",
            ]
        )
        for record in records:
            extra = [record.extra.get(name, "") for name in ("ellipse", "otsu", "shuffled")]
            for step, value in enumerate(record.dice):
                head = [record.source, record.case, record.label, record.series, step]
                rows.writerow([*head, f"{value:.5f}", f"{record.surface:.5f}", f"{record.confidence:.5f}", *extra])
    return path
