"""`hilum compare`: one picture, the same labels, several systems side by side."""

import json as jsons
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from typer import Argument, Option

from ..values.errors import BadInput, Failed, HilumError, WeightsUnavailable
from ..values.notice import NOTICE, SENTENCE
from . import options, screen, table
from .command import Said
from .words import place

if TYPE_CHECKING:
    from ..adapt.calibrating import Calibration
    from ..values.answers import Scores
    from ..values.image import Image
    from ..values.prompts import Labels

SHEET, REPORT = "compare.png", "compare.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareOptions:
    """The picture, the labels, and who is asked."""

    image: Annotated[str, Argument(metavar="IMAGE", help="A picture, or a volume with --frame.", show_default=False)]
    labels: Annotated[str, Option("--labels", metavar='"A, B"', help="Names of labels, or FILE.json with their texts.")]
    systems: Annotated[
        str | None, Option(metavar="X,Y,Z", help="Systems that take labels; without it all whose weights are here.")
    ] = None
    template: Annotated[
        list[str] | None, Option("--template", metavar='"A FILM OF {}"', help="How a label is said; may be repeated.")
    ] = None
    calibration: Annotated[
        list[Path] | None, Option(metavar="FOLDER", help="What hilum calibrate wrote for one of them; may be repeated.")
    ] = None
    output: Annotated[
        Path | None, Option("-o", "--output", metavar="FOLDER", help=f"A folder for {SHEET} and {REPORT}.")
    ] = None
    json: Annotated[bool, Option("--json", help="The answers as JSON on stdout.")] = False
    force: Annotated[bool, Option("--force", help="Replace files that exist.")] = False
    frame: Annotated[int | None, Option(metavar="N", help="Which frame or volume of several, from 0.")] = None
    modality: Annotated[str | None, Option(metavar="DX", help="Where the file does not say.")] = None
    device: Annotated[str, Option(metavar="auto|cpu|cuda", help="Where it runs.")] = "auto"
    backend: Annotated[str, Option(metavar="auto|torch|openvino", help="What runs it.")] = "auto"


@dataclass(slots=True)
class Comparison:
    """Of one image: whose weights are not here; the answers in the order asked; who failed, and why."""

    image: str
    absent: list[str]
    answers: "list[Scores]" = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def compare(given: CompareOptions, said: Said) -> None:
    """Ask several systems for the same labels of one picture, and set their answers side by side.

    hilum compare film.png --labels "pneumonia, effusion" --systems biomedclip,chexzero -o compare/
    """
    from ..io.read import read

    labels, names = options.asked_labels(given.labels, given.template), _systems(given)
    calibrations, path = _calibrations(given), place(given.image)
    if given.output is not None:
        _free(given.output, force=given.force)
    screen.tell(SENTENCE)
    there, absent = _there(names)
    if not there:
        raise WeightsUnavailable("no system is left to ask: hilum weights list says how weights are got.")
    with screen.shown():
        image = read(path, frame=given.frame, modality=given.modality)
        found = Comparison(str(path), absent)
        for name in there:
            _ask(found, name, (image, labels), calibrations, given)
    _tell(found, calibrations)
    if given.output is not None:
        _write(found, image, given.output, force=given.force)
    typer.echo(_json(found) if given.json else side_by_side(found.answers))
    if found.failed:
        raise typer.Exit(1)


def _systems(given: CompareOptions) -> list[str]:
    """Those that are asked, each once; one that takes no labels is refused."""
    from .. import registry
    from ..adapt import scoring

    if given.systems is None:
        return registry.names(capability="match", accepts="labels")
    names = list(dict.fromkeys(word.strip() for word in given.systems.split(",") if word.strip()))
    if not names:
        raise BadInput("--systems: wanted names of systems, such as --systems biomedclip,chexzero.")
    for name in names:
        scoring.check(registry.card(name))
    return names


def _calibrations(given: CompareOptions) -> "dict[str, Calibration]":
    """By the tag of the system that each is for."""
    from ..adapt import calibrating

    found: dict[str, Calibration] = {}
    for folder in given.calibration or []:
        each = calibrating.read(folder)
        if each.system in found:
            raise BadInput(f"--calibration {folder}: there is one of {each.system} already.")
        found[each.system] = each
    return found


def _there(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Whose weights are here, and whose are not; the latter are told in one sentence."""
    from .. import registry

    absent = []
    for name in names:
        try:
            registry.weights_of(name)
        except WeightsUnavailable:
            absent.append(name)
    if absent:
        told = ", ".join(absent)
        screen.tell(f"left out, since their weights are not on this machine (hilum weights list says more): {told}.")
    return [name for name in names if name not in absent], absent


def _ask(
    found: Comparison,
    name: str,
    asked: "tuple[Image, Labels]",
    calibrations: "dict[str, Calibration]",
    given: CompareOptions,
) -> None:
    """One system, which is gone again afterwards; what goes wrong with it is noted, and the others are asked."""
    from .. import registry
    from .ask import device
    from .cost import refuse

    image, labels = asked
    where = device(given.device)
    try:
        refuse(name, given.backend, None)
        system = registry.load(name, device=where, backend=given.backend)
        calibration = calibrations.get(system.tag)
        if calibration is not None:
            calibration.refuse(system.tag, system.weights_sha256, labels.names)
        answer = cast("Scores", system.ask(image, labels))
        found.answers.append(answer if calibration is None else calibration.applied(answer))
    except HilumError as error:
        found.failed[name] = str(error)


def _tell(found: Comparison, calibrations: "dict[str, Calibration]") -> None:
    """What went wrong, and what is worth knowing about what went well."""
    for name, sentence in found.failed.items():
        screen.tell(f"{name}: {sentence}")
    if not found.answers:
        raise Failed("no system answered, as told above.")
    for tag in calibrations.keys() - {answer.provenance.weights for answer in found.answers}:
        screen.tell(f"the calibration of {tag} was not used: it did not answer.")
    if len(found.answers) > 1:
        screen.tell("Similarity and softmax are on a scale of each system's own; only probabilities are on one.")


def side_by_side(answers: "Sequence[Scores]") -> str:
    """A line for each label; of each system the similarity, the softmax, and the probability where it is calibrated."""
    head, columns = ["label"], []
    for answer in answers:
        values = {"similarity": answer.similarity, "softmax": answer.softmax}
        values |= {} if answer.probability is None else {"probability": answer.probability}
        columns += list(values.values())
        head += [f"{answer.provenance.weights} similarity", *list(values)[1:]]
    names = answers[0].names
    body = [[name, *(f"{column[place]:.3f}" for column in columns)] for place, name in enumerate(names)]
    return table.rows(head, body, right=frozenset(range(1, len(head))))


def _json(found: Comparison) -> str:
    from ..io.report import report

    said: dict[str, Any] = {"schema": "hilum.compare/1", "notice": NOTICE, "image": found.image}
    said |= {"answers": [report(answer) for answer in found.answers]}
    said |= {"without_weights": found.absent, "failed": found.failed}
    return jsons.dumps(said, indent=2, ensure_ascii=False, allow_nan=False)


def _free(folder: Path, *, force: bool) -> None:
    """Refuses now the files that could not be written later."""
    from ..io.atomic import check_target

    if folder.is_file():
        raise BadInput(f"{folder} is a file: -o names a folder")
    for name in (SHEET, REPORT):
        if folder.is_dir():
            check_target(folder / name, force=force)


def _write(found: Comparison, image: "Image", folder: Path, *, force: bool) -> None:
    from ..io.atomic import replacing
    from ..io.comparison import comparison_sheet

    folder.mkdir(parents=True, exist_ok=True)
    comparison_sheet(image, found.answers, folder / SHEET, title=Path(found.image).name, force=force)
    with replacing(folder / REPORT, force=force) as temporary:
        temporary.write_text(_json(found) + "\n", encoding="utf-8")
    screen.tell(f"the sheet is {folder / SHEET}, what each compared and assumed is in {folder / REPORT}")
