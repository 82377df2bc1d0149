"""`hilum calibrate`: from a table of images with known labels to probabilities; two numbers for each label."""

import json as jsons
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from ..values.errors import BadInput
from ..values.notice import SENTENCE
from . import options, screen, table
from .command import Said

if TYPE_CHECKING:
    from ..adapt.calibrating import Calibration
    from ..adapt.scoring import Answered
    from ..io.reliability import Reliability

DATA = "A CSV table with the column file, and a column for each label (1, 0, empty) or a column labels (a|b)."
SCORE = "What is scaled; softmax for systems that compare a label with its opposite."


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrateOptions:
    """The system, the images whose labels are known, and where the calibration goes."""

    system: Annotated[str, Argument(metavar="SYSTEM", help="A system that takes labels.", show_default=False)]
    data: Annotated[Path, Option("--data", metavar="TABLE.csv", help=DATA)]
    labels: Annotated[str, Option("--labels", metavar='"A, B"', help="Names of labels, or FILE.json with their texts.")]
    output: Annotated[Path, Option("-o", "--output", metavar="FOLDER", help="Where the calibration goes.")]
    template: Annotated[
        list[str] | None, Option("--template", metavar='"A FILM OF {}"', help="How a label is said; may be repeated.")
    ] = None
    score: Annotated[str, Option(metavar="similarity|softmax", help=SCORE)] = "similarity"
    folds: Annotated[int, Option(min=2, help="Of the cross-validation, by patient.")] = 5
    draws: Annotated[int, Option(min=100, help="Of the bootstrap, by patient.")] = 1000
    seed: Annotated[int, Option(help="Of folds and draws.")] = 0
    modality: Annotated[str | None, Option(metavar="DX", help="Where the files do not say.")] = None
    device: Annotated[str, Option(metavar="auto|cpu|cuda", help="Where it runs.")] = "auto"
    backend: Annotated[str, Option(metavar="auto|torch|openvino", help="What runs it.")] = "auto"
    json: Annotated[bool, Option("--json", help="The calibration as JSON on stdout.")] = False
    force: Annotated[bool, Option("--force", help="Replace a calibration that is there.")] = False


def calibrate(given: CalibrateOptions, said: Said) -> None:
    """Fit probabilities to images whose labels are known, and say how true they are for patients not seen.

    hilum calibrate biomedclip --data table.csv --labels "pneumonia, effusion" -o calibration/

    hilum ask biomedclip film.png --labels "pneumonia, effusion" --calibration calibration/
    """
    from importlib.metadata import version

    from .. import registry
    from ..adapt import calibrating, scoring
    from ..bench.held_calibration import Plan, calibrated
    from ..capabilities.said import described
    from ..train import labelled
    from .ask import device

    scoring.check(registry.card(given.system))
    if given.score not in calibrating.SCORES:
        raise BadInput(f"--score {given.score}: choose {' or '.join(calibrating.SCORES)}.")
    labels = options.asked_labels(given.labels, given.template)
    calibrating.check_target(given.output, force=given.force)
    known = labelled.read(given.data, labels.names)
    calibrating.enough(labels.names, known.images)
    screen.tell(SENTENCE)
    with screen.shown():
        system = registry.load(given.system, device=device(given.device), backend=given.backend)
        found = list(scoring.answers(system, known.images, labels, modality=given.modality))
        failed = told_failures(found)
        scored = scoring.gathered(found)
        calibrating.enough(labels.names, scored.images)
    plan = Plan(given.folds, given.draws, given.seed)
    measured = list(calibrated(scored, labels.names, given.score, plan))
    made = calibrating.Calibration(
        system=system.tag,
        weights_sha256=system.weights_sha256,
        score=given.score,
        labels=tuple(label for label, _ in measured),
        asked=described(labels),
        data=known.path.name,
        data_sha256=known.sha256,
        images=len(scored.images),
        version=version("hilum"),
    )
    _write(made, [picture for _, picture in measured], given.output)
    typer.echo(jsons.dumps(asdict(made), indent=2, ensure_ascii=False) if given.json else _told(made, given))
    for label in made.labels:
        if label.platt.slope < 0:
            screen.tell(f"note: the more alike, the less often {label.name} is true here: read its texts again.")
    if failed:
        screen.tell(f"{failed} of {len(found)} images failed, as listed above.")
        raise typer.Exit(1)


def told_failures(found: "Sequence[Answered]") -> int:
    """Says what was wrong with single images, and counts them."""
    failures = [(image, answer) for image, answer in found if isinstance(answer, str)]
    for image, sentence in failures:
        screen.tell(f"{image.name}: {sentence}")
    return len(failures)


def _write(made: "Calibration", pictures: "Sequence[Reliability]", folder: Path) -> None:
    """The picture first, so that the folder is a calibration once its file is there."""
    from ..adapt import calibrating
    from ..io.reliability import reliability_sheet

    folder.mkdir(parents=True, exist_ok=True)
    line = f"{made.data}, {made.images} images; every probability by fits that saw none of its patient"
    reliability_sheet(pictures, folder / calibrating.PICTURE, title=made.system, line=line, force=True)
    calibrating.write(made, folder)


def _told(made: "Calibration", given: CalibrateOptions) -> str:
    """What the calibration does on patients not seen, and how it is asked."""
    head = ("label", "images", "with it", "patients", "calibration error", "by softmax", "log loss", "by softmax")
    body = []
    for label in made.labels:
        measures = [label.held[name] for name in ("calibration_error", "log_loss")]
        numbers = ["{:.3f} [{:.3f}, {:.3f}]".format(*each[when]) for each in measures for when in ("after", "before")]
        body.append((label.name, str(label.cases), str(label.positives), str(label.patients), *numbers))
    rows = table.rows(head, body, right=frozenset({1, 2, 3}))
    said = f"hilum ask {given.system} IMAGE --labels {given.labels!r} --calibration {given.output}/"
    return f"{rows}\n{given.output}: on patients not seen, with 95 % intervals; {said}"
