"""`hilum bench zero-shot`: what a segmenter finds in labelled images that it was never trained for (survey, row 1).

As Shi et al. 2023 ask it: "everything" mode, where the system proposes masks and an oracle that knows the truth takes
the best of them for each target, and prompted modes: a tight box, the target's middle, five clicks said at once. The
oracle's column is an upper bound on what a user could pick, not what the system answers by itself. Volumes are shown
plane by plane, as pictures of 8 bit through the volume's own display window.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from ..capabilities.look import Look
from ..capabilities.segment import Everything
from ..capabilities.system import System
from ..io.atomic import replacing
from ..parts import interaction
from ..train.pairs import Pair
from ..values import progress
from ..values.answers import Segmentation
from ..values.errors import BadInput
from ..values.image import Display, Image
from ..values.prompts import Box, Points
from .measure import dice, ellipse, interval
from .segment import SMALLEST, Line, cell

ORACLE = "everything (oracle's choice)"
WORDS = "everything, box and points=N, such as everything,box,points=1,points=5"


@dataclass(frozen=True, slots=True)
class Plan:
    """Which modes, and how much of the data: planes of a volume, objects on a plane; each drawn by the seed."""

    everything: bool = True
    box: bool = True
    points: tuple[int, ...] = (1, 5)
    planes: int = 5
    objects: int = 20
    seed: int = 0


def plan_from(text: str) -> Plan:
    """The modes that `--prompts everything,box,points=1,points=5` means."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    counts = []
    for word in words:
        name, equals, number = word.partition("=")
        if name == "points" and number.isdigit() and int(number) > 0:
            counts.append(int(number))
        elif equals or name not in ("everything", "box"):
            raise BadInput(f"--prompts takes {WORDS}; got {word!r}")
    return Plan("everything" in words, "box" in words, tuple(counts))


def fitting(system: System, plan: Plan) -> tuple[Plan, list[str]]:
    """The part of the plan that the system can do, and a sentence for each mode that is not there."""
    card, asked = system.card, system
    there = replace(
        plan,
        everything=plan.everything and isinstance(asked, Everything),
        box=plan.box and "box" in card.accepts,
        points=plan.points if "points" in card.accepts else (),
    )
    lost = [("everything mode", plan.everything, there.everything), ("box", plan.box, there.box)]
    lost.append(("points", bool(plan.points), bool(there.points)))
    said = [f"{name}: not there, {card.name} does not have it" for name, wanted, has in lost if wanted and not has]
    if not (there.everything or there.box or there.points):
        raise BadInput(
            f"{card.name} has none of the modes asked for; it accepts {', '.join(card.accepts) or 'nothing'}"
        )
    return there, said


@dataclass(frozen=True, slots=True)
class Record:
    """One object in one mode. `prompt` is what was said, as JSON; `masks` of how many the answer was chosen."""

    source: str
    case: str
    plane: int
    label: int
    mode: str
    prompt: str
    dice: float
    ellipse: float
    masks: int = 1

    def target(self, by: str) -> str:
        """The name of what was looked for: the source, or the label value in it."""
        return self.source if by == "source" else f"{self.source}: {self.label}"


def measure(system: System, cases: Sequence[Pair], plan: Plan) -> Iterator[Record]:
    """Records of every object in every mode of a plan that fits the system."""
    for case in progress.track(cases, "cases"):
        image = case.image()
        rng = np.random.default_rng([plan.seed, *case.case.encode()[-8:]])
        for number, picture, labels in pictures(image, case.labels(image), plan.planes):
            for found in _picture(system, picture, labels, plan, rng):
                yield replace(found, source=case.source, case=case.case, plane=number)


def pictures(
    image: Image, labels: Int[np.ndarray, " *grid"], most: int
) -> Iterator[tuple[int, Image, Int[np.ndarray, "h w"]]]:
    """(number, picture of 8 bit, its label map): the picture itself, or planes of a volume, evenly over its objects."""
    section = image.section()
    planes = section.planes(labels.reshape(image.volume().shape[1:]))
    shown = np.flatnonzero((planes > 0).sum((1, 2)) >= SMALLEST)
    if len(shown) > most:
        shown = shown[np.linspace(0, len(shown) - 1, most + 2).round().astype(int)[1:-1]]
    for number in shown:
        plane = image.plane(section, int(number))
        if plane.array.dtype != np.uint8 or plane.display.inverted:
            grey = np.rint(plane.display(plane.array) * 255).astype(np.uint8)
            plane = plane.with_array(grey, Display(0.0, 255.0))
        yield int(number), plane, planes[number]


def _picture(
    system: System, picture: Image, labels: Int[np.ndarray, "h w"], plan: Plan, rng: np.random.Generator
) -> Iterator[Record]:
    """Records that do not know yet where the picture is from."""
    found = [int(value) for value in np.unique(labels[labels > 0]) if (labels == value).sum() >= SMALLEST]
    chosen = sorted(rng.permutation(len(found))[: plan.objects])
    look = system.look(picture)
    generated = masks(look) if plan.everything else None
    for label in (found[index] for index in chosen):
        truth = labels == label
        low, high = interaction.tight_box(truth)
        floor = dice(truth, ellipse(low, high, truth.shape))
        blank = Record("", "", 0, label, "", "", 0.0, floor)
        if generated is not None:
            best = max((dice(truth, mask) for mask in generated), default=0.0)
            yield replace(blank, mode=ORACLE, dice=best, masks=len(generated))
        for mode, prompt, said in prompts(truth, plan, rng):
            yield replace(blank, mode=mode, prompt=said, dice=dice(truth, masks(look, prompt)[0]))


def prompts(
    truth: Bool[np.ndarray, "h w"], plan: Plan, rng: np.random.Generator
) -> Iterator[tuple[str, Box | Points, str]]:
    """(mode, prompt, the prompt as JSON); clicks: the object's middle, then pixels of it, the deeper the likelier."""
    if plan.box:
        low, high = interaction.tight_box(truth)
        yield "box", Box(low, high), json.dumps({"box": [low.tolist(), high.tolist()]})
    for count in plan.points:
        more = [interaction.random_click(truth, rng).at for _ in range(count - 1)]
        at = [interaction.first_click(truth).at, *more]
        yield f"{count} point{'s' * (count > 1)}", Points(np.array(at)), json.dumps({"points": at})


def masks(look: Look, *given: Box | Points) -> Bool[np.ndarray, "n h w"]:
    """The masks that answer."""
    answer = look.ask(*given)
    if not isinstance(answer, Segmentation):
        raise BadInput(f"{look.system.card.name} answers {type(answer).__name__}, not masks")
    return answer.masks


def table(records: Sequence[Record], by: str = "source") -> list[Line]:
    """A line per target, then the mean over targets, each of which counts once."""
    names = list(dict.fromkeys(record.target(by) for record in records))
    lines = [_line(name, [record for record in records if record.target(by) == name]) for name in names]
    if len(lines) > 1:
        columns: dict[str, list[float]] = {}
        for line in lines:
            for mode, (mean, _, _) in line.numbers.items():
                columns.setdefault(mode, []).append(mean)
        overall = {mode: (float(np.mean(each)), min(each), max(each)) for mode, each in columns.items()}
        counts = sum(line.objects for line in lines), sum(line.images for line in lines)
        lines.append(Line("mean of targets (lowest, highest)", *counts, overall))
    return lines


def _line(name: str, records: Sequence[Record]) -> Line:
    objects = {(record.case, record.plane, record.label): record for record in records}
    numbers = {"ellipse": _interval([record.ellipse for record in objects.values()], list(objects.values()))}
    for mode in dict.fromkeys(record.mode for record in records):
        here = [record for record in records if record.mode == mode]
        numbers[mode] = _interval([record.dice for record in here], here)
    return Line(name, len(objects), len({record.case for record in records}), numbers)


def _interval(values: list[float], records: Sequence[Record]) -> tuple[float, float, float]:
    """Mean and 95 % interval over images."""
    return float(np.mean(values)), *interval(np.array(values), np.array([record.case for record in records]))


def markdown(lines: Sequence[Line], said: Sequence[str] = ()) -> str:
    """Targets down, modes across, the ellipse in the box first; then what the columns mean and what is not there."""
    modes = list(dict.fromkeys(mode for line in lines for mode in line.numbers))
    head = ["target", "objects", "images", *modes]
    rows = [head, ["---"] * len(head)]
    for line in lines:
        rows.append(
            [line.source, str(line.objects), str(line.images), *(cell(line.numbers.get(mode)) for mode in modes)]
        )
    notes = ["Dice, mean and 95 % interval over images; the ellipse in the tight box does not look at the image."]
    if ORACLE in modes:
        notes.append("The oracle knows the truth and takes, for each target, the best of the masks proposed.")
    return "\n".join([*("| " + " | ".join(row) + " |" for row in rows), "", *notes, *said])


def write_csv(records: Sequence[Record], path: Path, *, force: bool = False) -> Path:
    """A row per object and mode, with what was said."""
    names = Record.__slots__
    with replacing(path, force=force) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(names)
        rows.writerows([getattr(record, name) for name in names] for record in records)
    return path
