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
from . import explaining, push, screen
from .ask_options import AskOptions
from .asked import Asked, understood
from .command import Said
from .words import Address, Place

if TYPE_CHECKING:
    from ..adapt.calibrating import Calibration
    from ..capabilities.look import Look
    from ..capabilities.system import System
    from ..values.answers import Answer, Scores
    from ..values.explanation import Explanation
    from ..values.image import Image
    from ..values.prompts import Prompt

SUFFIX = {"dicom": ".dcm", "nifti": ".nii.gz", "nrrd": ".nrrd", "metaimage": ".nrrd"}  # pictures: .png


@dataclass(frozen=True, slots=True)
class Target:
    """One image (or several that are asked about together), and the files that its answer goes to."""

    images: tuple[Place, ...]
    output: Path | None
    preview: Path | None
    explain: Path | None


def ask(given: AskOptions, said: Said) -> None:
    """Ask a system about an image: a box or clicks give a mask on the image's own grid, a question gives a reply."""
    asked = understood(given, said)
    screen.tell(SENTENCE)
    with screen.shown():
        paths = asked.words.images
        if given.push:
            push.refuse(paths, given.output)
        if len(paths) > 1 and not together(asked):
            _each(asked)
            return
        target = Target(paths, given.output, given.preview, given.explain)
        _free(target, given)
        images = [read_image(asked, path) for path in paths]
        _finish(asked, target, _system(asked, images[0], target), images)


def together(asked: Asked) -> bool:
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
            image = read_image(asked, target.images[0])
            system = system or _system(asked, image, target)
            _finish(asked, target, system, [image])
        except HilumError as error:
            failed += 1
            screen.tell(f"{target.images[0]}: {error}")
    if failed:
        screen.tell(f"{failed} of {len(targets)} images failed, as listed above.")
        raise typer.Exit(1)


def _beside(asked: Asked, image: Place) -> Target:
    """The files of one image of several: the options name folders, and the files in them are named after the image."""
    given = asked.options
    for option, folder in (("-o", given.output), ("--preview", given.preview), ("--explain", given.explain)):
        if folder is not None and not folder.is_dir():
            raise BadInput(f"with several images {option} names a folder that is there; {folder} is none.")
    name = stem(image)
    output = None if given.output is None else given.output / f"{name}_mask{suffix(image)}"
    preview = None if given.preview is None else given.preview / f"{name}_preview.png"
    explain = None if given.explain is None else given.explain / f"{name}_explained.png"
    return Target((image,), output, preview, explain)


def stem(image: Place) -> str:
    """What files that are made of an image are called after."""
    if isinstance(image, Address):
        return image.stem
    return image.name.removesuffix(".gz").rsplit(".", 1)[0] if image.is_file() else image.resolve().name


def suffix(image: Place) -> str:
    """How the file of a mask ends: in the image's own format."""
    if isinstance(image, Address) or image.is_dir():
        return SUFFIX["dicom"]
    from ..io.read import kind_of

    return SUFFIX.get(kind_of(image), ".png")


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


def read_image(asked: Asked, path: Place) -> Image:
    """The image, with what the user says about its file."""
    from ..io.read import read

    return read(path, **asked.reading())


def _system(asked: Asked, image: Image, target: Target) -> System:
    """The system, named or chosen; refused before its weights are loaded if its answer could not be written."""
    name = answering(asked, image)
    refuse_target(name, target, image, force=asked.options.force)
    return loaded(name, asked)


def answering(asked: Asked, image: Image) -> str:
    """Who answers: the system that was named, or the best one for these prompts and this image, which is told."""
    if asked.words.system is not None:
        return asked.words.system
    from ..values import progress
    from .choose import best

    choice = best(asked.kinds, image.source.modality)
    progress.say(f"{choice.name} answers: {choice.reason}.")
    return choice.name


def refuse_target(name: str, target: Target, image: Image, *, force: bool) -> None:
    """Refuses a file that no answer of this system about this image could be written to."""
    from .. import registry
    from ..io.atomic import check_target

    if target.output is not None:
        check_returns(registry.card(name).returns, target.output)
        check_target(target.output, force=force)
        _referable(target.output, image)


def loaded(name: str, asked: Asked) -> System:
    """The system with its weights, once a look is known to fit into memory."""
    from .. import registry
    from .cost import refuse

    given = asked.options
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


def check_returns(returns: Sequence[str], output: Path) -> None:
    """Refuses a file whose suffix none of these answers is written to."""
    from ..io.write import check_suffix
    from ..values import answers

    kinds = [getattr(answers, word.capitalize()) for word in returns]
    refusals = []
    for kind in kinds:
        try:
            check_suffix(kind, output)
        except BadInput as error:
            refusals.append(error)
    if len(refusals) == len(kinds):
        raise refusals[0]


def _referable(output: Path, image: Image) -> None:
    """A SEG refers to the files of its image: said before the look, which may take minutes."""
    if output.name.lower().endswith(".dcm"):
        from ..io.segmentation_sources import check_dicom

        check_dicom(image)


@dataclass(frozen=True, slots=True)
class Query:
    """What a look is asked: prompts that lie on the image's grid, and the calibration of the answer."""

    prompts: tuple[Prompt, ...]
    calibration: Calibration | None


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer, what explains it, and the files of the answer that were written, its own first."""

    answer: Answer
    explanation: Explanation | None
    written: tuple[Path, ...]


def query(asked: Asked, target: Target, system: System, images: Sequence[Image]) -> Query:
    """What the look will be asked; what can be refused is refused before there is one."""
    found = Query(asked.about(images[0]), _calibration(asked, system, len(images)))
    if target.explain is not None:
        explaining.check_place(target.explain, images[0])
        explaining.refuse(system)
    return found


def answered(look: Look, wanted: Query, target: Target, *, force: bool) -> Answered:
    """The answer of a look, its explanation where one is wanted, and their files."""
    answer = look.ask(*wanted.prompts)
    explanation = None if target.explain is None else explaining.made(look, wanted.prompts, answer)
    if wanted.calibration is not None:
        answer = wanted.calibration.applied(cast("Scores", answer))
    written = _written(answer, target, wanted.prompts, force=force)
    if explanation is not None:
        explaining.write(explanation, cast(Path, target.explain), force=force)
    return Answered(answer, explanation, tuple(written))


def _finish(asked: Asked, target: Target, system: System, images: Sequence[Image]) -> None:
    """Look, ask, write, and say what came of it."""
    from . import results

    given, wanted = asked.options, query(asked, target, system, images)
    found = answered(system.look(*images, keep=given.keep_looks), wanted, target, force=given.force)
    answer, explanation = found.answer, found.explanation
    for note in answer.provenance.notes:
        screen.tell(f"note: {note}")
    if given.json:
        typer.echo(_json(answer, explanation, target, len(asked.words.images) == 1))
    elif found.written:
        typer.echo(results.line(answer, found.written[0]))
        for path in found.written[1:]:
            typer.echo(str(path))
    else:
        several = len(asked.words.images) > 1
        typer.echo((f"{target.images[0]}\n" if several else "") + results.text(answer))
    if explanation is not None and not given.json:
        typer.echo(f"{results.text(explanation)}\n{target.explain}")
    if given.push and target.output is not None:
        screen.tell(push.push(target.output, target.images[0]))


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


def _written(answer: Answer, target: Target, prompts: Sequence[Any], *, force: bool) -> list[Path]:
    """The files that were written, the answer's own first."""
    from ..io.overlay import preview
    from ..io.write import write
    from ..values.answers import Segmentation

    written = [] if target.output is None else [write(answer, target.output, force=force)]
    if target.preview is not None:
        if not isinstance(answer, Segmentation):
            raise BadInput(f"--preview draws masks; {answer.provenance.system} answered without any.")
        written.append(preview(answer, target.preview, prompts=prompts, force=force))
    return written


def _json(answer: Answer, explanation: Explanation | None, target: Target, alone: bool) -> str:
    """The report, with the files as the user named them; one line each where there are several."""
    from ..io.report import report

    files = {"image": [str(path) for path in target.images]}
    files |= {"written": [str(path) for path in (target.output, target.preview, target.explain) if path is not None]}
    whole = {**report(answer), **explaining.reported(explanation), **files}
    return json.dumps(whole, indent=2 if alone else None, ensure_ascii=False, allow_nan=False)
