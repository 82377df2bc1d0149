"""`hilum ask`: read, load, look, ask, write. What can be refused is refused before anything costs time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

from ..values.errors import BadInput, HilumError
from ..values.notice import SENTENCE
from . import explaining, screen
from .ask_options import AskOptions
from .asked import Asked, understood
from .command import Said

if TYPE_CHECKING:
    from ..adapt.calibrating import Calibration
    from ..capabilities.system import System
    from ..values.answers import Answer, Scores
    from ..values.explanation import Explanation
    from ..values.image import Image

SUFFIX = {"dicom": ".dcm", "nifti": ".nii.gz", "nrrd": ".nrrd", "metaimage": ".nrrd"}  # pictures: .png


@dataclass(frozen=True, slots=True)
class Target:
    """One image (or several that are asked about together), and the files that its answer goes to."""

    images: tuple[Path, ...]
    output: Path | None
    preview: Path | None
    explain: Path | None


def ask(given: AskOptions, said: Said) -> None:
    """Ask a system about an image: a box or clicks give a mask on the image's own grid, a question gives a reply."""
    asked = understood(given, said)
    screen.tell(SENTENCE)
    with screen.shown():
        paths = asked.words.images
        if len(paths) > 1 and not _together(asked):
            _each(asked)
            return
        target = Target(paths, given.output, given.preview, given.explain)
        _free(target, given)
        images = [_read(asked, path) for path in paths]
        _finish(asked, target, _system(asked, images[0], target), images)


def _together(asked: Asked) -> bool:
    """Whether the images are asked about as one: by a question, or with labels by a system that takes several."""
    if "question" in asked.kinds or asked.words.system is None or "labels" not in asked.kinds:
        return "question" in asked.kinds
    from .. import registry
    from ..capabilities.match import Several

    made: object = registry.find(asked.words.system).system_class()
    return isinstance(made, Several) and (made.together == 0 or 1 < len(asked.words.images) <= made.together)


def _each(asked: Asked) -> None:
    """Several images, asked about one by one with one system; what failed is listed and the rest is done."""
    targets = [_beside(asked, path) for path in asked.words.images]
    system, failed = None, 0
    for target in targets:
        try:
            _free(target, asked.options)
            image = _read(asked, target.images[0])
            system = system or _system(asked, image, target)
            _finish(asked, target, system, [image])
        except HilumError as error:
            failed += 1
            screen.tell(f"{target.images[0]}: {error}")
    if failed:
        screen.tell(f"{failed} of {len(targets)} images failed, as listed above.")
        raise typer.Exit(1)


def _beside(asked: Asked, image: Path) -> Target:
    """The files of one image of several: the options name folders, and the files in them are named after the image."""
    given = asked.options
    for option, folder in (("-o", given.output), ("--preview", given.preview), ("--explain", given.explain)):
        if folder is not None and not folder.is_dir():
            raise BadInput(f"with several images {option} names a folder that is there; {folder} is none.")
    stem = image.name.removesuffix(".gz").rsplit(".", 1)[0] if image.is_file() else image.resolve().name
    output = None if given.output is None else given.output / f"{stem}_mask{_suffix(image)}"
    preview = None if given.preview is None else given.preview / f"{stem}_preview.png"
    explain = None if given.explain is None else given.explain / f"{stem}_explained.png"
    return Target((image,), output, preview, explain)


def _suffix(image: Path) -> str:
    from ..io.read import kind_of

    return SUFFIX.get("dicom" if image.is_dir() else kind_of(image), ".png")


def _free(target: Target, given: AskOptions) -> None:
    """Refuses now the files that could not be written later."""
    from ..io.atomic import check_target
    from ..io.page import check_picture

    if target.output is not None:
        check_target(target.output, force=given.force)
    if target.preview is not None:
        check_picture(target.preview, force=given.force)
    if target.explain is not None:
        explaining.check(target.explain, force=given.force)


def _read(asked: Asked, path: Path) -> Image:
    from ..io.read import read

    return read(path, **asked.reading())


def _system(asked: Asked, image: Image, target: Target) -> System:
    """The system, named or chosen; refused before its weights are loaded if its answer could not be written."""
    from .. import registry
    from .cost import refuse

    given, name = asked.options, asked.words.system
    if name is None:
        from .choose import best

        choice = best(asked.kinds, image.source.modality)
        name = choice.name
        screen.tell(f"{name} answers: {choice.reason}.")
    card = registry.card(name)
    if target.output is not None:
        _writable(card.returns, target.output, given.force)
        _referable(target.output, image)
    source = name if given.over is None else registry.asked(name, given.over)
    registry.weights_of(source)
    refuse(source, given.backend, asked.most_memory())
    return registry.load(name, over=given.over, device=device(given.device), backend=given.backend)


def device(name: str) -> str:
    """The device's name, once it is known to be here."""
    import torch

    count = torch.cuda.device_count()
    known = ["auto", "cpu", *(["cuda"] if count else []), *(f"cuda:{number}" for number in range(count))]
    if name not in known:
        raise BadInput(f"--device {name}: on this machine choose {', '.join(known)}.")
    return name


def _writable(returns: Sequence[str], output: Path, force: bool) -> None:
    from ..io.write import check_write
    from ..values import answers

    kinds = [getattr(answers, word.capitalize()) for word in returns]
    refusals = []
    for kind in kinds:
        try:
            check_write(kind, output, force=force)
        except BadInput as error:
            refusals.append(error)
    if len(refusals) == len(kinds):
        raise refusals[0]


def _referable(output: Path, image: Image) -> None:
    """A SEG refers to the files of its image: said before the look, which may take minutes."""
    if output.name.lower().endswith(".dcm"):
        from ..io.segmentation_sources import check_dicom

        check_dicom(image)


def _finish(asked: Asked, target: Target, system: System, images: Sequence[Image]) -> None:
    """Look, ask, write, and say what came of it."""
    given, prompts = asked.options, asked.about(images[0])
    calibration = _calibration(asked, system, len(images))
    if target.explain is not None:
        explaining.refuse(system)
    look = system.look(*images, keep=given.keep_looks)
    answer = look.ask(*prompts)
    explanation = None if target.explain is None else explaining.made(look, prompts, answer)
    if calibration is not None:
        answer = calibration.applied(cast("Scores", answer))
    for note in answer.provenance.notes:
        screen.tell(f"note: {note}")
    written = _written(answer, target, given, prompts)
    if explanation is not None:
        explaining.write(explanation, cast(Path, target.explain), force=given.force)
    from . import results

    if given.json:
        typer.echo(_json(answer, explanation, target, len(asked.words.images) == 1))
    elif written:
        typer.echo(results.line(answer, written[0]))
        for path in written[1:]:
            typer.echo(str(path))
    else:
        several = len(asked.words.images) > 1
        typer.echo((f"{target.images[0]}\n" if several else "") + results.text(answer))
    if explanation is not None and not given.json:
        typer.echo(f"{results.text(explanation)}\n{target.explain}")


def _calibration(asked: Asked, system: System, pictures: int) -> Calibration | None:
    """The calibration, once it is known to be for this system, these weights and these labels."""
    found = asked.calibration()
    if found is not None:
        from ..adapt.scoring import check
        from ..values.prompts import Labels

        check(system.card)
        names = [name for prompt in asked.prompts if isinstance(prompt, Labels) for name in prompt.names]
        found.refuse(system.tag, system.weights_sha256, names, pictures)
    return found


def _written(answer: Answer, target: Target, given: AskOptions, prompts: Sequence[Any]) -> list[Path]:
    """The files that were written, the answer's own first."""
    from ..io.overlay import preview
    from ..io.write import write
    from ..values.answers import Segmentation

    written = [] if target.output is None else [write(answer, target.output, force=given.force)]
    if target.preview is not None:
        if not isinstance(answer, Segmentation):
            raise BadInput(f"--preview draws masks; {answer.provenance.system} answered without any.")
        written.append(preview(answer, target.preview, prompts=prompts, force=given.force))
    return written


def _json(answer: Answer, explanation: Explanation | None, target: Target, alone: bool) -> str:
    """The report, with the files as the user named them; one line each where there are several."""
    from ..io.report import report

    files = {"image": [str(path) for path in target.images]}
    files |= {"written": [str(path) for path in (target.output, target.preview, target.explain) if path is not None]}
    whole = {**report(answer), **explaining.reported(explanation), **files}
    return json.dumps(whole, indent=2 if alone else None, ensure_ascii=False, allow_nan=False)
