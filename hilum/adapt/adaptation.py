"""An adaptation from beginning to end: cases split by patient, a method, the loop, the adapter's folder, its report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..capabilities.segment import Semantic
from ..capabilities.system import System
from ..io.atomic import LEFTOVER, replacing
from ..train.loop import Course, Material, Plan, Run
from ..train.pairs import pairs, split
from ..train.samples import read_cases
from ..values import progress
from ..values.errors import BadInput
from ..weights import adapter
from ..weights.adapter import TRAINING
from . import membership, methods, report


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user said: the data, the method, the share of patients held back, what the loop is to do."""

    data: Path
    method: str = "lora"
    held: float = 0.2
    rank: int = 8
    plan: Plan | None = None


def adapt(
    system: System, wish: Wish, out: Path, *, force: bool = False, heard: Callable[[Course], None] = lambda _: None
) -> dict[str, Any]:
    """Trains, and writes the adapter; a folder with a training in it goes on where that stopped. Returns the facts."""
    methods.known(wish.method)
    if "segment" not in system.card.capabilities:
        raise BadInput(f"{system.card.name} draws no masks to adapt; classes are learned with hilum probe")
    _free(out, force)
    plan = wish.plan or Plan(rate=methods.RATES.get(wish.method, 1e-3))
    train, held = split(pairs(wish.data), wish.held, seed=plan.seed)
    unprompted: object = system
    targets = unprompted.targets() if isinstance(unprompted, Semantic) else ()
    material = Material(read_cases(train, targets), read_cases(held, targets))
    before = membership.by_case(system, material)
    method = methods.begin(system, wish.method, rank=wish.rank)
    out.mkdir(parents=True, exist_ok=True)
    run = Run(system, plan, out / TRAINING)
    course = run.train(material, heard)
    progress.say(course.ended)
    after = membership.by_case(system, material)
    facts = _facts(system, wish, plan, course)
    facts |= {"parameters": sum(each.numel() for each in run.weights.values())}
    facts |= {"before": before.means(), "after": after.means(), "membership": membership.attack(after)}
    _write(system, method, facts, out)
    report.write(out / "report.html", facts, course, (before, after), material, system)
    (out / TRAINING).unlink(missing_ok=True)
    return facts


def _free(out: Path, force: bool) -> None:
    held = (out / adapter.CONFIG).is_file()
    if held and not force:
        raise BadInput(f"{out} holds an adapter already: give another folder, or --force to train anew over it")
    if held:
        for name in (adapter.CONFIG, adapter.TENSORS, "report.html"):
            (out / name).unlink(missing_ok=True)
    if out.is_file():
        raise BadInput(f"{out} is a file: -o names a folder")
    there = {path.name: path for path in out.iterdir()} if out.is_dir() else {}
    halves = [name for name in there if LEFTOVER.fullmatch(name)]  # a killed training's
    strange = sorted(set(there) - {TRAINING, *halves})
    if strange and not force:
        raise BadInput(f"{out} holds other files, such as {strange[0]}: give a folder of its own")
    for name in halves if not strange else ():
        there[name].unlink(missing_ok=True)


def _facts(system: System, wish: Wish, plan: Plan, course: Course) -> dict[str, Any]:
    return {
        "system": system.tag,
        "method": wish.method,
        "data": wish.data.name,
        "plan": asdict(plan),
        "steps": course.step,
        "best_step": course.best,
        "minutes": round(course.seconds / 60, 2),
        "ended": course.ended,
        "held_dice": {"before": round(course.held[0][1], 4), "after": round(course.best_score, 4)},
    }


def _write(system: System, method: methods.Method, facts: dict[str, Any], out: Path) -> None:
    """The tensors first: a folder is an adapter from the moment its config is there."""
    from importlib.metadata import version

    from safetensors.torch import save_file

    name, _, tag = system.tag.partition(".")
    told = adapter.Adapter(
        system=name,
        weights=tag,
        weights_sha256=system.weights_sha256 or "",
        method=method.name,
        branch=method.branch,
        hidden=method.rank if method.branch else 0,
        version=version("hilum"),
        trained=facts,
    )
    with replacing(out / adapter.TENSORS, force=True) as temporary:
        save_file(methods.changed(system, method), temporary)
    with replacing(out / adapter.CONFIG, force=True) as temporary:
        temporary.write_text(told.text(), encoding="utf-8")
