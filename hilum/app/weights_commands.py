"""`hilum weights …`: which weights are here, where they lie, how they come, and whether they are sound."""

from __future__ import annotations

import json as jsons
import shutil
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..values.errors import BadInput, Failed
from . import screen, table

if TYPE_CHECKING:
    from ..values.card import Card, WeightsEntry
    from ..weights.importer import Imported
    from ..weights.recognise import Candidate
    from ..weights.rename import Table

app = typer.Typer(help="Weights on this machine: list, where, pull, import, verify.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
HEAD = ("weights", "state", "size", "licence", "proven by", "file")


@app.command("list")
def listing(json: Json = False) -> None:
    """Every system's weights: shipped in the package, imported, or absent."""
    from .. import registry

    rows = [row for name in registry.names() for row in _rows(registry.card(name))]
    if json:
        typer.echo(jsons.dumps(rows, indent=2, ensure_ascii=False))
        return
    body = [(r["name"], r["state"], _size(r["bytes"]), r["licence"], ", ".join(r["proof"]), r["file"]) for r in rows]
    typer.echo(table.rows(HEAD, body, right=frozenset({2})))


@app.command("where")
def where(json: Json = False) -> None:
    """The folder of imported weights, how to move it, and the room on its disk."""
    from ..weights import store

    folder = store.folder()
    there = next(each for each in (folder, *folder.parents) if each.exists())
    kept, free = sum(record.size for record in store.records()), shutil.disk_usage(there).free
    if json:
        typer.echo(jsons.dumps({"folder": str(folder), "bytes": kept, "free": free}))
        return
    typer.echo(folder)
    screen.tell(f"{_size(kept)} of weights, {_size(free)} free. The environment variable HILUM_WEIGHTS moves it.")


@app.command("pull")
def pull(
    name: Annotated[str, typer.Argument(help="System or tag, such as sam_study.vit_b.", metavar="NAME")],
    again: Annotated[bool, typer.Option("--again", help="Fetch it even if it is here.")] = False,
) -> None:
    """Fetch a published file, check it, and import it: the only command that opens a connection."""
    from ..weights import hub

    system, entry = _published(name)
    with screen.shown():
        imported = hub.pull(_candidate(system, entry), entry, again=again)
    _told(imported)


@app.command("import")
def bring(
    file: Annotated[Path, typer.Argument(help="The published file: .pth, .pt, .bin or .safetensors.", metavar="FILE")],
    name: Annotated[str | None, typer.Option("--as", help="Which weights it is, where its name does not say.")] = None,
    accept_hash: Annotated[bool, typer.Option("--accept-hash", help="Take it although its sha256 is another.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Put it in the place of what is here.")] = False,
) -> None:
    """Bring a weights file: recognised, checked, converted once, without running anything in it."""
    from ..weights.importer import Wish, import_file

    with screen.shown():
        imported = import_file(file, candidates(), Wish(name, accept_hash, replace))
    _told(imported)


@app.command("verify")
def verify(
    name: Annotated[str, typer.Argument(help="System or tag, such as medsam.vit_b.", metavar="NAME")],
    json: Json = False,
) -> None:
    """Read stored weights again: hash, tensors, shapes, and whether they equal another file. Exit code 1: unsound."""
    from .. import registry
    from ..weights import verification

    card, tag = registry.card(name), name.partition(".")[2] or None
    with screen.shown():
        verdict = verification.verify(card, tag, candidates())
    if json:
        typer.echo(jsons.dumps({**asdict(verdict), "path": str(verdict.path), "sound": verdict.sound}, indent=2))
    else:
        lines = [f"{'ok   ' if check.sound else 'WRONG'} {check.sentence}" for check in verdict.checks]
        typer.echo("\n".join([f"{verdict.name}: {'sound' if verdict.sound else 'NOT sound'}", *lines]))
    if not verdict.sound:
        raise typer.Exit(1)


def candidates() -> list[Candidate]:
    """All tags of all cards as what a file may be. Their layouts are made, and their modules imported, when asked."""
    from .. import registry
    from ..weights.store import RULE

    cards = [registry.card(name) for name in registry.names()]
    return [_candidate(card.name, each) for card in cards for each in card.weights if not each.file.endswith(RULE)]


def _candidate(system: str, entry: WeightsEntry) -> Candidate:
    from ..weights.recognise import Candidate

    return Candidate(
        system,
        entry.tag,
        entry.file,
        layout=partial(_layout, system, entry.tag),
        sha256=entry.sha256,
        licence=entry.licence,
        source=entry.source,
        spelling=partial(_spelling, system),
        beside=tuple(entry.beside),
    )


def _spelling(system: str) -> Table:
    from .. import registry
    from ..weights.recognise import Spelt
    from ..weights.rename import Table

    found: object = registry.find(system).system_class()
    return found.spelling if isinstance(found, Spelt) else Table()


def _layout(system: str, tag: str) -> dict[str, tuple[int, ...]]:
    from .. import registry

    entry = registry.find(system)
    found = entry.system_class()
    try:
        return found.layout(tag)
    except Exception as error:  # a plug-in's class may raise anything
        if not entry.package:
            raise
        raise Failed(f"the sizes of {system}.{tag} cannot be known: {type(error).__name__}: {error}") from error


def _published(name: str) -> tuple[str, WeightsEntry]:
    """The system and the entry that a name or tag means; without a tag the first that is to be fetched."""
    from .. import registry

    card, tag = registry.card(name), name.partition(".")[2]
    entry = card.entry(tag) if tag else next((each for each in card.weights if not each.shipped), None)
    if entry is None:
        tags = ", ".join(f"{card.name}.{each.tag}" for each in card.weights)
        raise BadInput(f"{name} names no weights that can be fetched; the card of {card.name} has: {tags or 'none'}.")
    return card.name, entry


def _rows(card: Card) -> list[dict[str, Any]]:
    from ..weights import store

    there, shipped = store.available(card), store.shipped(card)
    known = {entry.tag: entry for entry in card.weights}
    return [
        _row(card, tag, known.get(tag), shipped.get(tag)) for tag in (*known, *(t for t in there if t not in known))
    ]


def _row(card: Card, tag: str, entry: WeightsEntry | None, shipped: Path | None) -> dict[str, Any]:
    from ..weights import store

    kept = store.record(card.name, tag) if shipped is None else None
    here = "shipped" if shipped else "imported" if kept else "absent"
    return {
        "name": f"{card.name}.{tag}",
        "state": here,
        "bytes": shipped.stat().st_size if shipped else kept.size if kept else None,
        "licence": entry.licence if entry else kept.licence if kept else "",
        "proof": list(card.proof),
        "file": entry.file if entry else kept.file if kept else "",
        "sha256": kept.sha256 if kept else None,
        "gated": entry.gated if entry else False,
        "how": "" if here != "absent" or entry is None else store.how_to_get(card.name, entry),
    }


def _told(imported: tuple[Imported, ...]) -> None:
    for each in imported:
        typer.echo("\n".join(each.sentences()))


def _size(count: int | None) -> str:
    if count is None:
        return "-"
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
