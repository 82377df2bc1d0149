"""Adapters on the pocket SAM that ship as tags: samed.pocket, autosam.pocket, medsam.pocket.

python recipes/pocket_adapters.py train samed --minutes 8   # reads $HILUM_DATA, default ../shared/data; resumes
python recipes/pocket_adapters.py export samed              # into hilum/weights/pocket/, and its card's entry

Each learns what its paper trains, by its own loss, from sources whose licence lets the result ship. One patient in five
is held back; Dice of the held ones goes onto the card, where the system takes boxes beside the unadapted SAM's. MedSAM
does not see the hippocampus, so that adapting it to that kind can be shown (docs/adapting.md).
"""

import argparse
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pairs as layout
import torch
from safetensors.torch import load_file, save_file
from scout import between
from scout_data import data_root, rows

from hilum import registry
from hilum.adapt.methods import RATES
from hilum.bench.measure import interval
from hilum.capabilities.segment import Semantic
from hilum.capabilities.system import Completed, System
from hilum.capabilities.trainable import Sample, Starting
from hilum.train.loop import Course, Material, Plan, Run
from hilum.train.pairs import pairs, split
from hilum.train.samples import Case, read_cases
from hilum.train.score import scored
from hilum.weights import store

ROOT = Path(__file__).resolve().parents[1]
BASE = "sam_study.pocket"


@dataclass(frozen=True, slots=True)
class Adapter:
    """What an adapter learns from and under which licence it ships; `rate` of its training."""

    sources: tuple[str, ...]
    licence: str
    said: str
    rate: float = RATES["lora"]
    targets: tuple[str, ...] = ()
    together: bool = False  # all objects of a picture as one class


ADAPTERS = {
    "samed": Adapter(
        ("hippocampus",),
        "CC BY-SA 4.0",
        "both parts of the hippocampus in T1 MR crops (Medical Segmentation Decathlon, task 4)",
        targets=("anterior", "posterior"),
    ),
    "autosam": Adapter(("nuclei",), "CC0", "nuclei in microscopy (BBBC038)", together=True),
    "medsam": Adapter(
        ("breast_lesion", "nuclei", "retina_vessels"),
        "CC BY 4.0",
        "breast lesions in ultrasound (BUSI, cite Al-Dhabyani 2020), nuclei (BBBC038), vessels of CHASE_DB1",
        rate=RATES["paper"],
    ),
}


def prepare(source: str, out: Path) -> Path:
    """Writes the source as pairs, once."""
    root, folder = data_root(), out / "data" / source
    if folder.exists():
        return folder.parent / source
    if source == "hippocampus":
        volumes(root, folder)
        return folder
    makers = {
        "breast_lesion": layout.breast_ultrasound,
        "nuclei": layout.nuclei,
        "retina_vessels": layout.chase_vessels,
    }
    layout.write(folder, makers[source](root, lambda name: True))
    return folder


def volumes(root: Path, folder: Path) -> None:
    """The hippocampi as they are, both parts labelled."""
    archive = zipfile.ZipFile(root / "hippocampus/hippocampus.zip")
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
        for row in rows(root / "hippocampus/metadata.csv"):
            (folder / kind / row["file"]).write_bytes(archive.read(f"{kind}/{row['file']}"))


def material(name: str, out: Path) -> Material:
    """Cases to learn from and cases held back, those of a patient on one side."""
    adapter = ADAPTERS[name]
    train, held = [], []
    for source in adapter.sources:
        parts = split(pairs(prepare(source, out)), 0.2, seed=0)
        for whole, part in zip((train, held), parts, strict=True):
            whole += [ready(case, adapter) for case in read_cases(part, adapter.targets)]
    return Material(train, held)


def ready(case: Case, adapter: Adapter) -> Case:
    """All objects as one, where the adapter names a class."""
    if not adapter.together:
        return case
    joined = (Sample(each.image, each.masks.any(axis=0, keepdims=True)) for each in case.samples)
    return Case(case.name, tuple(joined))


def begun(name: str) -> System:
    """The system around the pocket SAM, as its training begins."""
    made = registry.find(name).system_class()
    assert issubclass(made, Starting)
    sam = load_file(registry.weights_of(BASE).path)
    return made.begun(made.configs["pocket"], {key: each.float() for key, each in sam.items()}, seed=0)


def train(given: argparse.Namespace) -> None:
    """Until the minutes or the patience are spent."""
    torch.set_num_threads(given.threads)
    out = Path(given.out)
    whole = material(given.name, out)
    some = Material(whole.train, spread(whole.held, 40))
    plan = Plan(steps=20_000, batch=8, rate=ADAPTERS[given.name].rate, every=100, patience=12, minutes=given.minutes)
    run = Run(begun(given.name), plan, out / f"{given.name}.checkpoint")
    course = run.train(some, heard)
    print(f"{given.name}: {course.step} steps, best at {course.best}, held Dice {course.best_score:.3f}")
    keep(run, out / f"{given.name}.safetensors")


def spread(cases: Sequence[Case], most: int) -> list[Case]:
    """At most so many, evenly over all sources."""
    chosen = np.linspace(0, len(cases) - 1, min(most, len(cases))).round().astype(int)
    return [cases[int(index)] for index in np.unique(chosen)]


def heard(course: Course) -> None:
    step, score = course.held[-1]
    print(f"step {step}: held Dice {score:.3f}", flush=True)


def keep(run: Run, file: Path) -> None:
    """The file that ships: the published names, half precision for matrices, only what SAM's file does not have."""
    system = run.system
    state = type(system).table.inverse(system.network.state_dict())
    if isinstance(system, Completed):
        state = {name: each for name, each in state.items() if system.carries(name)}
    halves = {name: (each.half() if each.ndim > 1 else each).contiguous() for name, each in state.items()}
    adapter = ADAPTERS[system.card.name]
    told = {
        "recipe": "recipes/pocket_adapters.py",
        "base": registry.weights_of(BASE).sha256,
        "data": adapter.said,
        "licence": adapter.licence,
        "steps": str(run.course.best),
    }
    save_file(halves, file, told)


def export(given: argparse.Namespace) -> None:
    """Puts the file into the package and measures it on the held cases, through the door."""
    torch.set_num_threads(given.threads)
    out, name = Path(given.out), given.name
    target = store.POCKET / f"{name}.pocket.safetensors"
    target.write_bytes((out / f"{name}.safetensors").read_bytes())
    between(card(name), ("# pocket", "# end"), entry(name, target, ""))
    system, base = (registry.load(each, backend="torch", device="cpu") for each in (f"{name}.pocket", BASE))
    told = [line(source, cases, system, base) for source, cases in by_source(material(name, out).held)]
    words = "Dice on held cases: " + "; ".join(told)
    between(card(name), ("# pocket", "# end"), entry(name, target, words))
    print(words)


def card(name: str) -> Path:
    return ROOT / f"hilum/systems/{name}.toml"


def by_source(cases: Iterable[Case]) -> list[tuple[str, list[Case]]]:
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(case.name.split("/")[0], []).append(case)
    return list(groups.items())


def line(source: str, cases: list[Case], system: System, base: System) -> str:
    """Its Dice with the interval over cases, and the SAM's by a box where the system is prompted by one."""
    named = isinstance(system, Semantic)
    found = [float(np.mean(scored(system, case.samples[:4]))) for case in cases]
    low, high = interval(np.array(found), np.arange(len(found)))
    mine = f"{source} {np.mean(found):.2f} [{low:.2f}, {high:.2f}] ({len(cases)} cases"
    if named:
        return f"{mine}, without a prompt)"
    before = np.mean(list(chain.from_iterable(scored(base, case.samples[:4]) for case in cases)))
    return f"{mine}, by a box; {BASE} {before:.2f})"


def entry(name: str, file: Path, measured: str) -> list[str]:
    """The card's entry of the pocket weights."""
    adapter = ADAPTERS[name]
    made = registry.find(name).system_class()
    lines = ["[[weights]]", 'tag = "pocket"', f'file = "{file.name}"', 'source = "package"']
    lines += [f'licence = "{adapter.licence}"']
    lines += [f'base = "{BASE}"'] if issubclass(made, Completed) else []
    note = f"on {BASE}, by recipes/pocket_adapters.py: {adapter.said}"
    return [*lines, f'note = "{"; ".join(filter(None, (note, measured)))}"']


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for work in (train, export):
        command = commands.add_parser(work.__name__, help=work.__doc__)
        command.add_argument("name", choices=ADAPTERS)
        command.add_argument("--out", default=str(ROOT / "runs/pocket_adapters"))
        command.add_argument("--threads", type=int, default=1)
        command.set_defaults(work=work)
    commands.choices["train"].add_argument("--minutes", type=float, default=8.0)
    given = parser.parse_args()
    given.work(given)


if __name__ == "__main__":
    main()
