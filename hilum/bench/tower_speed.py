"""`python -m hilum.bench.tower_speed`: pictures a second through a ViT-B/16 tower, files to vectors, side by side.

The loop that users write today (open_clip, f32, one picture after the other), `hilum embed`'s own way (threads that
read, OpenVINO in the CPU's precision, batches), the same by `--backend openvino:int8`, and, where nncf is installed, an
int8 graph that is calibrated on the pictures. All in turns, in one run, weights at random at the published size: speed
does not depend on them. What int8 does to label scores is measured with the pocket weights, by
recipes/biomedclip_pocket_measure.py.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor, nn

from ..backends import compute, machine
from ..backends.gathered import Gathered
from ..backends.openvino import OpenVino, converted, native, runner
from ..capabilities.embed import embed
from ..io.read import read
from ..values import progress
from ..values.errors import BadInput, MissingExtra
from .speed_table import Spent, Took, busy, took

ROWS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Int8:
    """A backend for an int8 graph that was calibrated on given rows; for measuring, not offered at the door."""

    rows: tuple[Tensor, ...]
    name: str = "openvino"
    precision: str = "int8 (calibrated)"
    notes: tuple[str, ...] = ()

    def compile(self, module: nn.Module, shape: tuple[int, ...], *, key: str) -> Callable[[Tensor], Tensor]:
        return runner(quantized(converted(module.eval(), shape), self.rows, shape), "int8")


def quantized(graph: Any, rows: Sequence[Tensor], shape: tuple[int, ...]) -> Any:
    """The graph with int8 products, ranges found on these rows (post-training quantisation for transformers)."""
    try:
        import nncf
    except ImportError as error:
        raise MissingExtra("int8 products", "nncf", "bench") from error
    places = range(0, len(rows) - shape[0] + 1, shape[0])
    filled = [torch.cat(list(rows[at : at + shape[0]])).numpy() for at in places]
    calibration = nncf.Dataset(filled, lambda each: {0: each})
    return nncf.quantize(graph, calibration, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(filled))


def pictures(folder: Path, count: int) -> list[Path]:
    """Files of pictures, repeated until there are enough."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
    if not found:
        raise BadInput(f"no PNG or JPEG file was found under {folder}: give a folder of films or tiles")
    return (found * (1 + count // len(found)))[:count]


def loop(files: list[Path]) -> Callable[[], np.ndarray]:
    """As open_clip's README has it."""
    try:
        import open_clip
        from PIL import Image as Pillow
    except ImportError as error:
        raise MissingExtra("the loop to compare with", "open_clip_torch", "systems") from error
    model, _, transform = open_clip.create_model_and_transforms("ViT-B-16")
    model.eval()

    def run() -> np.ndarray:
        with torch.no_grad():
            found = [model.encode_image(transform(Pillow.open(file)).unsqueeze(0)) for file in files]
        return torch.cat(found).numpy()

    return run


def ours(system: Any, backend: Any, files: list[Path]) -> Callable[[], np.ndarray]:
    """As `hilum embed` does it; the encoder is compiled before the clock starts."""
    gathered = Gathered(backend, ROWS)
    crew = system.through(gathered)

    def one(file: Path) -> np.ndarray:
        return embed(crew.look(read(file)), ()).vectors

    list(gathered.each(one, files[:ROWS]))
    gathered.stages.encoding = 0.0
    return lambda: np.concatenate(list(gathered.each(one, files)))


@dataclass(frozen=True, slots=True)
class Rate:
    """Pictures a second by the clock, and by the seconds that all cores spent on them, which a busy machine disturbs
    less; only with one thread (`OMP_NUM_THREADS=1 HILUM_THREADS=1`) does waiting not count as spending."""

    clock: float
    spent: float


def in_turns(works: dict[str, Callable[[], object]], counts: dict[str, int], turns: int) -> dict[str, Rate]:
    """The rate of each, the median over turns A B C A B C."""
    runs: dict[str, list[Took]] = {name: [] for name in works}
    for turn in range(turns):
        for name, work in works.items():
            progress.say(f"turn {turn + 1} of {turns}: {name}")
            runs[name].append(took(work))
    rates = {
        name: [(counts[name] / run.wall, counts[name] * machine.threads() / run.cpu) for run in each]
        for name, each in runs.items()
    }
    return {name: Rate(*(median(column) for column in zip(*each, strict=True))) for name, each in rates.items()}


def encoder_rate(system: Any, backend: Any) -> tuple[float, float]:
    """GFLOP/s of the encoder alone over batches that lie ready, and of a large product in the same precision."""
    module, shape = system.costly()
    run = backend.compile(module, (ROWS, *shape[1:]), key="")
    batch = torch.randn(ROWS, *shape[1:])
    run(batch)
    spent = median(machine.undisturbed(lambda: run(batch)) for _ in range(7))
    flops = compute.flops(module, (ROWS, *shape[1:]))
    return flops / spent / 1e9, machine.measured_rate(native(), "openvino", clock=machine.undisturbed)


def measured(folder: Path, turns: int, few: int, many: int) -> list[str]:
    """The lines of the table."""
    from ..systems.biomedclip import BiomedClip

    files, system = pictures(folder, many), BiomedClip.seeded(BiomedClip.configs["vit_b_16"], 0)
    backend = OpenVino(native())
    works: dict[str, Callable[[], object]] = {
        "open_clip, f32, one by one": loop(files[:few]),
        f"hilum embed, OpenVINO {native()}": ours(system, backend, files),
        "hilum embed, openvino:int8": ours(system, OpenVino("int8"), files),
    }
    if importlib.util.find_spec("nncf"):
        rows = tuple(system.pixels(system.prepare(read(file))) for file in files[:64])
        works["int8, calibrated by nncf"] = ours(system, Int8(rows), files)
    counts = dict(zip(works, (few, *(many,) * (len(works) - 1)), strict=True))
    begun = Spent.now()
    found = in_turns(works, counts, turns)
    state = f"{machine.processor()}, {machine.threads()} threads; {busy(begun, Spent.now())}."
    first = next(iter(found.values()))
    reached, best = encoder_rate(system, backend)
    head = ("a ViT-B/16 tower, files to vectors", "pictures a second", "times", "by CPU seconds", "times")
    lines = [f"| {' | '.join(head)} |", "|---|---:|---:|---:|---:|"]
    for name, rate in found.items():
        by_clock, by_cpu = rate.clock / first.clock, rate.spent / first.spent
        lines.append(f"| {name} | {rate.clock:.1f} | {by_clock:.1f} | {rate.spent:.1f} | {by_cpu:.1f} |")
    share = f"{reached / best:.0%} of a large product ({best:.0f})"
    return [f"- {state}", "", *lines, "", f"The encoder alone reaches {reached:.0f} GFLOP/s in {native()}, {share}."]


def main(
    data: Annotated[Path, typer.Option(help="A folder of films or tiles, PNG or JPEG.")],
    turns: Annotated[int, typer.Option(help="How often each is measured.")] = 3,
    few: Annotated[int, typer.Option(help="Pictures of the slow loop.")] = 24,
    many: Annotated[int, typer.Option(help="Pictures of the others.")] = 96,
) -> None:
    """One table."""
    with progress.heard_by(lambda what, done, total: typer.echo(what, err=True) if total is None else None):
        typer.echo("\n".join(measured(data, turns, few, many)))


if __name__ == "__main__":
    typer.run(main)
