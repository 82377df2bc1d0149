"""`hilum probe`: a linear classifier on an encoder's vectors, from folders of pictures named after their classes."""

import json as jsons
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from ..values.errors import BadInput, HilumError
from ..values.notice import SENTENCE
from . import screen, table
from .command import Said

if TYPE_CHECKING:
    import numpy as np

    from ..capabilities.system import System

DATA = "A folder of pictures for each class. What stands before __ in a file's name is its patient."


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeOptions:
    """The encoder, the classes, and where the probe goes."""

    system: Annotated[str, Argument(metavar="SYSTEM", help="A system that embeds.", show_default=False)]
    data: Annotated[Path, Option("--data", metavar="FOLDER", help=DATA)]
    output: Annotated[Path, Option("-o", "--output", metavar="FOLDER", help="Where the probe goes.")]
    ridge: Annotated[float, Option(help="Weight decay of the probe, per case.")] = 1e-2
    folds: Annotated[int, Option(help="Of the cross-validation, by patient.")] = 5
    seed: Annotated[int, Option(help="Of the folds.")] = 0
    modality: Annotated[str | None, Option(metavar="OP", help="Where the files do not say.")] = None
    device: Annotated[str, Option(metavar="auto|cpu|cuda", help="Where it runs.")] = "auto"
    backend: Annotated[str, Option(metavar="auto|torch|openvino", help="What runs it.")] = "auto"
    json: Annotated[bool, Option("--json", help="What was measured, as JSON on stdout.")] = False
    force: Annotated[bool, Option("--force", help="Replace a probe that is there.")] = False


def probe(given: ProbeOptions, said: Said) -> None:
    """Fit a linear probe on a frozen encoder and say how well it does on patients that it did not see.

    hilum probe retfound --data photos/ -o head/     then: hilum ask head/ fundus.jpg
    """
    from .. import registry
    from ..adapt import probing
    from ..bench import probe as bench
    from .ask import device

    card = registry.card(given.system)
    if "embed" not in card.capabilities:
        able = ", ".join(registry.names(capability="embed"))
        raise BadInput(f"{card.name} gives no vectors. Systems that embed: {able or 'none here'}.")
    probing.check_target(given.output, force=given.force)
    classes = probing.classes_under(given.data)
    screen.tell(SENTENCE)
    with screen.shown():
        system = registry.load(given.system, device=device(given.device), backend=given.backend)
        vectors, labels, patients, failed = _embedded(system, classes, given.modality)
    held = {
        name: bench.cross_validated(way, vectors, labels, patients, folds=given.folds, seed=given.seed).measures
        for name, way in (("linear probe", bench.linear), ("5 nearest neighbours", bench.neighbours))
    }
    facts = {"cases": len(labels), "patients": len(set(patients)), "classes": list(classes), "held_out": held}
    probing.write(probing.fit(vectors, labels, tuple(classes), ridge=given.ridge), system, given.output, facts)
    typer.echo(jsons.dumps(facts, indent=2, ensure_ascii=False) if given.json else _told(facts, given.output))
    if failed:
        screen.tell(f"{failed} of {failed + len(labels)} pictures failed, as listed above.")
        raise typer.Exit(1)


def _embedded(
    system: "System", classes: dict[str, Path], modality: str | None
) -> "tuple[np.ndarray, np.ndarray, list[str], int]":
    """Vectors, labels and patients of all pictures that could be read; what failed is told and counted."""
    import numpy as np

    from ..capabilities.embed import embed
    from ..io.folder import images_under
    from ..io.read import read
    from ..values import progress

    listings = {name: images_under(folder) for name, folder in classes.items()}
    broken = {name: why for listing in listings.values() for name, why in listing.broken.items()}
    items = [(place, item) for place, listing in enumerate(listings.values()) for item in listing.items]
    found: list[tuple[Any, int, str]] = []
    for place, item in progress.track(items, "pictures"):
        try:
            answer = embed(system.look(read(item.files[0], modality=modality)), ())
            found.append((answer.vectors.mean(axis=0), place, item.files[0].name.partition("__")[0]))
        except HilumError as error:
            broken[item.name] = str(error)
    for name, why in broken.items():
        screen.tell(f"{name}: {why}")
    if len({place for _, place, _ in found}) < len(classes):
        raise BadInput("some class has no picture that could be read, so there is nothing to tell it by.")
    vectors = np.stack([vector for vector, _, _ in found]).astype(np.float64)
    return vectors, np.array([place for _, place, _ in found]), [patient for _, _, patient in found], len(broken)


def _told(facts: dict[str, Any], output: Path) -> str:
    names = ("auroc", "accuracy", "f1", "kappa")
    rows = [(way, *(f"{held[name]:.3f}" for name in names)) for way, held in facts["held_out"].items()]
    body = table.rows(("patients not seen", *names), rows, right=frozenset({1, 2, 3, 4}))
    return (
        f"{body}\n{output}: {len(facts['classes'])} classes from {facts['cases']} pictures; hilum ask {output}/ PICTURE"
    )
