"""`hilum embed`: a vector for each picture, and for each plane of each volume, of all images given; one file out."""

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from .. import registry
from ..values.errors import BadInput, HilumError
from ..values.notice import SENTENCE
from . import options, screen
from .command import Said
from .words import existing, names_system

if TYPE_CHECKING:
    from ..backends.gathered import Stages
    from ..capabilities.system import System
    from ..io.folder import Item, Listing
    from ..values.answers import Embedding
    from ..values.provenance import Provenance

WORDS = "A system's name or tag, then image files and folders; folders are searched to their ends."
OUT = ".npz, .parquet or .json; or INDEX/, a folder that grows and can be searched (hilum find)"
MOST_ROWS, ROW_VALUES = 8, 3 * 224 * 224  # rows of a batch, for pictures of that many values or fewer
MOST_NOTES = 20  # different sentences that the provenance of many images keeps


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedOptions:
    """The options of one `hilum embed`."""

    words: Annotated[list[str], Argument(metavar="SYSTEM IMAGE|FOLDER...", help=WORDS, show_default=False)]
    output: Annotated[Path, Option("-o", "--output", metavar="FILE", help=OUT)]
    json: Annotated[bool, Option("--json", help="A summary as JSON on stdout.")] = False
    force: Annotated[bool, Option("--force", help="Replace the file if it exists.")] = False
    modality: Annotated[
        str | None, Option(metavar="OP", help="DICOM's code of the modality, where the files do not say.")
    ] = None
    spacing: Annotated[
        str | None, Option(metavar="X,Y,Z", help="Millimetres between voxels, where the files do not say.")
    ] = None
    device: Annotated[str, Option(metavar="auto|cpu|cuda", help="Where it runs.")] = "auto"
    backend: Annotated[str, Option(metavar="auto|torch|openvino[:int8]", help="What runs it.")] = "auto"
    max_memory: Annotated[str | None, Option(metavar="8GB", help="Refuse what is predicted to need more.")] = None


def embed(given: EmbedOptions, said: Said) -> None:
    """Write the vectors of many images: one row for each picture and each plane of a volume, with their names.

    hilum embed retfound photos/ -o vectors.npz
    """
    name, paths = _words(given.words)
    reading = {"modality": given.modality, "spacing": given.spacing and options.spacing(given.spacing)}
    if not given.output.suffix:
        _indexed(name, paths, given, reading)
        return
    _writable(given)
    screen.tell(SENTENCE)
    with screen.shown():
        found = _found(paths)
        system = _system(name, given)
        answers = list(_made(system, found, reading, spent := {}))
        if not answers:
            raise BadInput(f"nothing was embedded: {len(found.broken)} images failed, as listed above.")
        answer = _joined(answers)
        from ..io.write import write

        began = time.perf_counter()
        write(answer, given.output, force=given.force)
        spent["writing"] = round(time.perf_counter() - began, 2)
    for note in answer.provenance.notes:
        screen.tell(f"note: {note}")
    screen.tell(_seconds(spent))
    typer.echo(_summary(answer, given, found, spent) if given.json else _line(answer, len(answers), given.output))
    if found.broken:
        screen.tell(f"{len(found.broken)} of {len(answers) + len(found.broken)} images failed, as listed above.")
        raise typer.Exit(1)


def _indexed(name: str, paths: Sequence[Path], given: EmbedOptions, reading: dict[str, Any]) -> None:
    """Into an index, image by image; those that are there already and have not changed are passed by."""
    from ..io.vector_index import Row, VectorIndex, stamp

    screen.tell(SENTENCE)
    with screen.shown():
        found = _found(paths)
        stamps = {item.name: stamp(item.files) for item in found.items}
        system, index = _system(name, given), None
        if (given.output / "index.json").is_file():
            index = VectorIndex.begin(given.output, {"weights_sha256": system.weights_sha256})
            there = {(row.item, row.stamp) for row in index.rows}
            found.items = [item for item in found.items if (item.name, stamps[item.name]) not in there]
            screen.tell(f"{len({row.item for row in index.rows})} images are there, {len(found.items)} are new.")
        done, writing, spent = 0, 0.0, dict[str, float]()
        for item, answer in _made(system, found, reading, spent):
            index = index or VectorIndex.begin(given.output, _about(system, answer))
            began = time.perf_counter()
            files, mark = tuple(str(path.resolve()) for path in item.files), stamps[item.name]
            index.append(answer.vectors, [Row(item.name, files, plane, mark) for plane in range(len(answer.vectors))])
            done, writing = done + 1, writing + time.perf_counter() - began
    if index is None:
        raise BadInput(f"nothing was embedded: {len(found.broken)} images failed, as listed above.")
    spent["writing"] = round(writing, 2)
    screen.tell(_seconds(spent))
    said = {"schema": "hilum.embed/1", "index": str(given.output), "rows": len(index.rows), "new_images": done}
    said |= {"seconds": spent}
    words = f"{given.output}: {len(index.rows)} vectors of {index.about['dim']} numbers, {done} images new"
    typer.echo(json.dumps(said, indent=2, ensure_ascii=False) if given.json else words)
    if found.broken:
        screen.tell(f"{len(found.broken)} images failed, as listed above.")
        raise typer.Exit(1)


def _about(system: "System", answer: "Embedding") -> dict[str, Any]:
    """What the vectors of an index have in common."""
    return {"system": system.tag, "weights_sha256": system.weights_sha256, "dim": answer.vectors.shape[1]}


def _words(words: Sequence[str]) -> tuple[str, tuple[Path, ...]]:
    """The system, which must embed, and the paths, which must be there."""
    if not names_system(words[0]):
        registry.find(words[0])  # raises with a near miss
    card = registry.card(words[0])
    if "embed" not in card.capabilities:
        able = ", ".join(registry.names(capability="embed"))
        raise BadInput(f"{card.name} gives no vectors. Systems that embed: {able or 'none here'}.")
    if len(words) == 1:
        raise BadInput("hilum embed wants images: hilum embed SYSTEM IMAGE|FOLDER... -o vectors.npz")
    return words[0], tuple(existing(word) for word in words[1:])


def _writable(given: EmbedOptions) -> None:
    """Refuses now a file that could not be written later."""
    from ..io.write import check_write
    from ..values.answers import Embedding

    if given.output.name.lower().endswith(".parquet"):
        from ..io.vector_table import parquet

        parquet()
    check_write(Embedding, given.output, force=given.force)


def _found(paths: Sequence[Path]) -> "Listing":
    """All images, each once; what could not be read is told now."""
    from ..io.folder import Item, Listing, images_under

    whole = Listing()
    for path in paths:
        part = images_under(path) if path.is_dir() else Listing([Item(str(path), (path,))])
        whole.items += part.items
        whole.others += part.others
        whole.broken |= part.broken
    whole.items = list({item.files: item for item in whole.items}.values())
    if whole.others:
        screen.tell(f"{len(whole.others)} files are no images and were left out, the first is {whole.others[0]}.")
    for name, why in whole.broken.items():
        screen.tell(f"{name}: {why}")
    if not whole.items and not whole.broken:
        raise BadInput(f"no image was found under {', '.join(map(str, paths))}.")
    return whole


def _system(name: str, given: EmbedOptions) -> "System":
    """The system with its weights; refused before they are loaded if a look would not fit into memory."""
    from .ask import device
    from .cost import refuse

    registry.weights_of(name)
    refuse(name, given.backend, None if given.max_memory is None else options.memory(given.max_memory))
    return registry.load(name, device=device(given.device), backend=given.backend)


def _made(
    system: "System", found: "Listing", reading: dict[str, Any], spent: dict[str, float]
) -> "Iterator[tuple[Item, Embedding]]":
    """The vectors of each image, in order; what failed is told, noted in the listing, and the rest is done.

    Several images are read and prepared while others are encoded, by the batch.
    """
    from ..backends.choose import choose
    from ..backends.gathered import Gathered
    from ..values import progress

    gathered = Gathered(system.backend or choose("torch", system.device), _together(system))
    crew = system.through(gathered)

    def one(item: "Item") -> "Embedding | HilumError":
        return _embedded(crew, item, reading)

    made = gathered.each(one, found.items)
    begun = time.perf_counter()
    for item, answer in progress.track(zip(found.items, made, strict=True), "images", len(found.items)):
        if isinstance(answer, HilumError):
            found.broken[item.name] = str(answer)
            screen.tell(f"{item.name}: {answer}")
        else:
            yield item, answer
    spent |= _stages(gathered.stages, time.perf_counter() - begun)


def _embedded(system: "System", item: "Item", reading: dict[str, Any]) -> "Embedding | HilumError":
    """The vectors of an image, or why there are none."""
    from ..backends.gathered import Gathered
    from ..capabilities.embed import embed as embedded
    from ..io.read import read

    gathered = system.backend
    assert isinstance(gathered, Gathered)
    try:
        with gathered.timed("reading"):
            image = read(item.files if len(item.files) > 1 else item.files[0], **reading)
        with gathered.timed("preparing and waiting for the encoder"):
            return embedded(system.look(image), ())
    except HilumError as error:
        return error


def _together(system: "System") -> int:
    """How many rows are encoded as one batch: fewer of large pictures."""
    costly = system.costly()
    return max(1, min(MOST_ROWS, ROW_VALUES * MOST_ROWS // math.prod(costly[1][1:]))) if costly else 1


def _stages(stages: "Stages", whole: float) -> dict[str, float]:
    """Seconds: how long it took, how long the encoder worked, and how long it had nothing to do."""
    spent = {"whole": whole, "encoding": stages.encoding, "encoder idle": max(0.0, whole - stages.encoding)}
    return {name: round(seconds, 2) for name, seconds in (spent | stages.around).items()}


def _joined(answers: "Sequence[tuple[Item, Embedding]]") -> "Embedding":
    """All rows under each other, each with the name of its image and the number of its plane."""
    import numpy as np

    from ..values.answers import Embedding

    counts = [len(answer.vectors) for _, answer in answers]
    axes = {answer.axes for _, answer in answers}
    return Embedding(
        vectors=np.concatenate([answer.vectors for _, answer in answers]),
        axes=axes.pop() if len(axes) == 1 else ("plane", "dim"),
        provenance=_provenance([answer.provenance for _, answer in answers]),
        items=tuple(item.name for (item, _), count in zip(answers, counts, strict=True) for _ in range(count)),
        planes=tuple(plane for count in counts for plane in range(count)),
    )


def _provenance(each: "Sequence[Provenance]") -> "Provenance":
    """One for all: what differs between the images is left to them, and of many different notes some are kept."""
    if len(each) == 1:
        return each[0]
    formats = {one.source_format for one in each}
    notes = list(dict.fromkeys(note for one in each for note in one.notes))
    more = [f"{len(notes) - MOST_NOTES} more notes, on single images"] if len(notes) > MOST_NOTES else []
    return replace(
        each[0],
        source_format=formats.pop() if len(formats) == 1 else None,
        source_sha256=None,
        notes=(*notes[:MOST_NOTES], *more),
    )


def _line(answer: "Embedding", images: int, output: Path) -> str:
    rows, dim = answer.vectors.shape
    return f"{output}: {rows} vectors of {dim} numbers, from {images} image{'s'[: images != 1]}"


def _seconds(stages: dict[str, float]) -> str:
    """Where the time went; reading and preparing are summed over threads, which overlap."""
    return "seconds: " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in stages.items())


def _summary(answer: "Embedding", given: EmbedOptions, found: "Listing", spent: dict[str, float]) -> str:
    """What was done, without the vectors themselves, which are in the file."""
    from ..values.notice import NOTICE

    said = {
        "schema": "hilum.embed/1",
        "notice": NOTICE,
        "written": [str(given.output)],
        "axes": answer.axes,
        "shape": answer.vectors.shape,
        "images": list(dict.fromkeys(answer.items or ())),
        "seconds": spent,
        "failed": [{"image": name, "why": why} for name, why in found.broken.items()],
        "left_out": [str(path) for path in found.others],
        "provenance": answer.provenance.as_dict(),
    }
    return json.dumps(said, indent=2, ensure_ascii=False, allow_nan=False)
