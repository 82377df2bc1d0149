"""`hilum bench adaptation`: every way of adapting a SAM, from the same SAM, on the same few cases of each target.

A cell is one method on one target with so many cases and one seed. What is held back is the same in all cells of a
target; the cases to learn from are drawn by the seed. All methods get the same number of steps and pictures, and their
last weights are judged: nothing is chosen by what is held back. A line of JSON is written as each cell ends, so that a
run that is killed loses one cell. Pictures are shown to all in grey, 8 bit.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from .. import registry
from ..adapt import methods as adapters
from ..capabilities.segment import Semantic
from ..capabilities.system import System
from ..capabilities.trainable import Sample, Starting
from ..parts import interaction
from ..parts.sam import SamConfig
from ..train.loop import Material, Plan, Run
from ..train.pairs import Pair, pairs, split
from ..train.samples import Case, read_cases
from ..values import progress
from ..values.errors import BadInput
from ..values.image import Display, Image
from ..values.prompts import Box, Points, Spatial
from .kept_features import Memory, keep
from .measure import dice, surface_dice
from .resident import peak, peak_again

UNTRAINED = "zero-shot"
SHOWN = 4  # planes of a held volume that are asked about
ALL = 0  # cases of a cell: all there are


@dataclass(frozen=True, slots=True)
class Study:
    """What is the same in all cells. `held` is the most cases of a target that are held back, at most half of them.

    The rates are those of `hilum adapt`: the lower where more than half of the parameters learn.
    """

    steps: int = 150
    batch: int = 4
    held: int = 40
    rank: int = 8
    precision: str = "bf16"
    off: float = 0.05  # standard deviation of a box's sides, as a share of its size


@dataclass(frozen=True, slots=True)
class Cell:
    """One method on one target, with so many cases (ALL: all there are), by one seed."""

    target: str
    method: str
    cases: int
    seed: int


@dataclass(frozen=True, slots=True)
class Result:
    """A cell's numbers: Dice and NSD of each held case, what was trained, minutes of one core, bytes."""

    cell: Cell
    prompt: str
    dice: Mapping[str, float]
    nsd: Mapping[str, float]
    trained: int = 0
    minutes: float = 0.0
    memory: int = 0  # peak of the whole process, libraries included; 0 where the machine does not tell
    size: int = 0  # of the adapter's file
    drawn: int = 0  # cases that it learned from


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """The SAM that all begin from: as a system that can be asked, its sizes, its tensors under the published names."""

    system: System
    sizes: SamConfig
    sam: Mapping[str, Tensor]

    @classmethod
    def of(cls, system: System) -> Start:
        """From a system that is a SAM."""
        network = cast(torch.nn.Module, system.network)
        state = {name: each.detach().clone() for name, each in system.table.inverse(network.state_dict()).items()}
        return cls(system, system.config, state)


@dataclass(frozen=True, slots=True)
class Method:
    """How a cell's system is made: a class and its config, trained as its paper does it or by a way of `hilum adapt`;
    without a class the SAM is asked as it is, by `prompt`."""

    way: str
    made: type[System] | None = None
    config: Any = None
    prompt: str = "box"


def methods(start: Start, target: str) -> dict[str, Method]:
    """Every system that begins from a SAM, by name and variant; LoRA and the wavelet branch on the SAM itself."""
    found = {f"{UNTRAINED}, {prompt}": Method(UNTRAINED, prompt=prompt) for prompt in ("box", "click")}
    for name in registry.names(capability="segment"):
        made = registry.find(name).system_class()
        if not issubclass(made, Starting):
            continue
        for variant, config in made.beside(start.sizes, (target,)).items():
            found[f"{name} {variant}".strip()] = Method("paper", made, config)
            if config == start.sizes:
                found |= {f"{way} ({name})": Method(way, made, config) for way in ("lora", "wavelet")}
    return found


def begun(start: Start, method: Method, seed: int) -> System:
    """The system as its training begins; the tensors are its own."""
    if method.made is None:
        return start.system
    sam = {name: each.clone() for name, each in start.sam.items()}
    return cast(type[Starting], method.made).begun(method.config, sam, seed=seed)  # type: ignore[return-value]


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """A target's cases: those that are held in all cells, and those to draw from."""

    pool: Sequence[Case]
    held: Sequence[Case]

    def drawn(self, count: int, seed: int) -> list[Case]:
        """So many cases of the pool, by the seed; those of a smaller count are among those of a larger one."""
        order = np.random.default_rng([seed, 16]).permutation(len(self.pool))
        return [self.pool[index] for index in (order if count == ALL else order[:count])]


def read_target(found: Sequence[Pair], study: Study) -> Target:
    """Split by patient, the same way in every run; read once, in grey."""
    share = min(0.5, study.held / len(found))
    train, held = split(found, share, seed=0)
    pool, kept = ([grey(case) for case in read_cases(part)] for part in (train, held[: study.held]))
    return Target(pool, kept)


def grey(case: Case) -> Case:
    """The case's pictures in one channel of 8 bit, as they are shown."""
    return Case(case.name, tuple(Sample(shown(each.image), each.masks) for each in case.samples))


def shown(image: Image) -> Image:
    """In one channel of 8 bit."""
    values = np.rint(image.display(image.array).mean(axis=0, keepdims=True) * 255).astype(np.uint8)
    return image.with_array(values, Display(0.0, 255.0))


def merged(case: Case) -> Case:
    """All objects of a picture as one, for systems that name a class."""
    return Case(
        case.name, tuple(Sample(each.image, np.any(each.masks, axis=0, keepdims=True)) for each in case.samples)
    )


def measure(start: Start, target: Target, cell: Cell, study: Study, memory: Memory) -> Result:
    """One cell, from the SAM to its numbers."""
    method = methods(start, cell.target)[cell.method]
    system = begun(start, method, cell.seed)
    peak_again()
    if method.made is None:
        scores = [scored(system, case, method.prompt, study) for case in target.held]
        return Result(cell, method.prompt, *by_name(target.held, scores), memory=peak())
    cases = target.drawn(cell.cases, cell.seed)
    names = isinstance(system, Semantic)
    material = Material([merged(case) for case in cases] if names else cases, ())
    began = time.process_time()
    run = trained(system, method, material, study, cell.seed, memory)
    minutes = (time.process_time() - began) / 60
    prompt = "none" if names else "box" if "box" in system.card.accepts else "click"
    count = sum(each.numel() for each in run.weights.values())
    size = stored(run)
    scores = [scored(system, case, prompt, study) for case in target.held]
    return Result(cell, prompt, *by_name(target.held, scores), count, round(minutes, 3), peak(), size, len(cases))


def trained(system: System, method: Method, material: Material, study: Study, seed: int, memory: Memory) -> Run:
    """The steps of the study; the last weights stay."""
    adapters.begin(system, method.way, rank=study.rank)
    network = cast(torch.nn.Module, system.network)
    learning = sum(each.numel() for each in network.parameters() if each.requires_grad)
    most = 2 * learning > sum(each.numel() for each in network.parameters())
    rate = adapters.RATES["paper" if most else "lora"]
    keep(system, memory)
    plan = Plan(study.steps, study.batch, rate, seed=seed, precision=study.precision)
    run = Run(system, plan, Path())
    for number in range(study.steps):
        run.step(material)
        progress.count("steps", number + 1, study.steps)
    network.eval()
    return run


def stored(run: Run) -> int:
    """Bytes of a file with what was trained."""
    from safetensors.torch import save

    return len(save({name: each.detach().contiguous() for name, each in run.weights.items()}))


def by_name(cases: Sequence[Case], scores: Sequence[tuple[float, float]]) -> tuple[dict[str, float], dict[str, float]]:
    """Dice and NSD by the case's name."""
    first, second = ({case.name: round(pair[at], 5) for case, pair in zip(cases, scores, strict=True)} for at in (0, 1))
    return first, second


def scored(system: System, case: Case, prompt: str, study: Study) -> tuple[float, float]:
    """Dice and NSD of all objects of a picture together, each asked for by itself where the system is prompted."""
    found = []
    for number, sample in enumerate(case.samples[:SHOWN]):
        truth = np.asarray(sample.masks.any(axis=0))
        mask = answered(system, sample, prompt, np.random.default_rng([number, *case.name.encode()[-8:]]), study)
        tolerance = max(1.0, 0.005 * max(truth.shape))
        near = surface_dice(truth, mask, step=(1.0, 1.0), tolerance=tolerance)
        found.append((dice(truth, mask), near))
    overlap, near = np.mean(found, axis=0)
    return float(overlap), float(near)


def answered(
    system: System, sample: Sample, prompt: str, rng: np.random.Generator, study: Study
) -> Bool[np.ndarray, "h w"]:
    """The union of the masks that the system gives."""
    look = system.look(sample.image)
    union = np.zeros(sample.masks.shape[1:], dtype=bool)
    asked: list[tuple[Spatial, ...]] = [()]
    if prompt == "box":
        asked = [(Box(*interaction.jittered_box(truth, rng, amount=study.off)),) for truth in sample.masks]
    elif prompt == "click":
        asked = [(Points(np.array([interaction.first_click(truth).at])),) for truth in sample.masks]
    for prompts in asked:
        masks = look.ask(*prompts).masks  # type: ignore[union-attr]
        union |= masks.any(axis=0)
    return union


def cells(
    start: Start, targets: Sequence[str], counts: Mapping[int, tuple[Sequence[str], Sequence[str]]], seeds: int
) -> Iterator[Cell]:
    """Every cell, target by target. `counts`: number of cases -> (methods, targets) that it is for, empty for all."""
    for target in targets:
        for name, method in methods(start, target).items():
            if method.made is None:
                yield Cell(target, name, 0, 0)
                continue
            for count, (some, where) in counts.items():
                if (not some or name in some) and (not where or target in where):
                    yield from (Cell(target, name, count, seed) for seed in range(seeds))


def results(file: Path, study: Study) -> list[Result]:
    """What was measured so far, with these settings; a line that a kill cut short is no result."""
    found = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        try:
            told = json.loads(line)
        except ValueError:
            continue
        if told.pop("study") != asdict(study):
            raise BadInput(f"{file} was measured with other settings: give another folder, or the same settings")
        found.append(Result(**told | {"cell": Cell(**told["cell"])}))
    return found


def work(
    start: Start,
    data: Path,
    todo: Sequence[Cell],
    kept: tuple[Study, Path],
    *,
    alive: Callable[[], bool] = lambda: True,
) -> None:
    """Measures the cells one after the other, as long as `alive`; each is written to the file when it ends."""
    study, file = kept
    by_target: dict[str, list[Pair]] = {}
    for pair in pairs(data):
        by_target.setdefault(pair.source, []).append(pair)
    for name in dict.fromkeys(cell.target for cell in todo):
        target, memory = read_target(by_target[name], study), Memory()
        for cell in (each for each in todo if each.target == name):
            if not alive():
                return
            progress.say(f"{cell.target}, {cell.method}, {cell.cases or 'all'} cases, seed {cell.seed}")
            append(file, measure(start, target, cell, study, memory), study)


def append(file: Path, result: Result, study: Study) -> None:
    """One line, whole; several processes may write to one file."""
    line = json.dumps(asdict(replace(result, dice=dict(result.dice), nsd=dict(result.nsd))) | {"study": asdict(study)})
    with file.open("a", encoding="utf-8") as stream:
        stream.write(f"\n{line}\n")
