"""`python -m hilum.bench.speed`: how fast, beside what others use, in one table; exit 1 where we fall short.

Everything is measured here and now, in turns (A B A B), with all cores. Weights are random at the published size: speed
does not depend on them. What is only required of a CPU that computes in bf16 is measured on others too, and not judged.
Wants `segment-anything` and `transformers` to compare with; a line whose other side is not installed says so.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor

from ..backends import compute, machine
from ..backends.agreement import TOLERANCE, picture, relative_error
from ..backends.openvino import native
from ..parts.sam import Sam
from ..systems.sam_study import SamStudy
from ..values import progress
from ..values.errors import HilumError
from ..values.image import Image, from_array
from ..values.prompts import Box
from . import speed_table
from .speed_table import Line, Spent, Took, cpu_ratio, in_turns, ratio, seconds, typical

if TYPE_CHECKING:
    from PIL import Image as Pillow

SIDE = 1024
BOX = Box(np.array([200.0, 300.0]), np.array([700.0, 800.0]))
BF16 = "not applicable: no bf16 on this CPU"


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """What the lines share: the system with its file, the picture, and how often to repeat."""

    system: SamStudy
    file: Path
    sha256: str
    image: Image
    rates: dict[str, float]
    pairs: int
    work: Path

    @property
    def bf16(self) -> bool:
        """Whether this CPU computes in bf16."""
        return native() == "bf16"

    @property
    def best(self) -> tuple[str, float]:
        """The backend that multiplies fastest in the precision of the look, and its rate in GFLOP/s."""
        assert self.system.backend is not None
        rates = {name: rate for name, rate in self.rates.items() if name.endswith(self.system.backend.precision)}
        return max(rates.items(), key=lambda each: each[1])

    def wanted(self, sentence: str) -> str:
        """A requirement that needs bf16."""
        return sentence if self.bf16 else BF16

    def judged(self, met: bool) -> bool | None:
        """The same for the verdict."""
        return met if self.bf16 else None


def published() -> SamStudy:
    """SAM ViT-B with random weights, none of them zero."""
    system = SamStudy.seeded(SamStudy.configs["vit_b"], 0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in system.network.parameters():
            if not weight.any():
                weight.normal_(std=0.02, generator=generator)
    return system


def prepared(work: Path, pairs: int) -> Bench:
    """The system, saved as a file under the upstream's names as a user would bring it."""
    from safetensors.torch import save_file

    system, file = published(), work / "model.safetensors"
    state = SamStudy.table.inverse(system.network.state_dict())
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, file)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    system.weights_sha256 = sha256
    pixels = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE), dtype=np.uint8)
    return Bench(system.placed("cpu", "auto"), file, sha256, from_array(pixels), rates(), pairs, work)


def rates() -> dict[str, float]:
    """GFLOP/s of large square products: torch and OpenVINO, in f32 and, where the CPU has it, in bf16."""
    kinds = ("f32", "bf16") if native() == "bf16" else ("f32",)
    found = {}
    for backend in ("torch", "openvino"):
        for precision in kinds:
            progress.say(f"the matrix rate of {backend} in {precision}")
            rate = machine.measured_rate(precision, backend)  # type: ignore[arg-type]
            machine.remember(precision, backend, machine.FULL, rate)  # type: ignore[arg-type]
            found[f"{backend} {precision}"] = rate
    return found


def matrix_lines(bench: Bench) -> Iterator[Line]:
    """What the machine can do."""
    for name, rate in bench.rates.items():
        yield Line(f"matrix rate, {machine.FULL}², {name}", f"{rate:.0f} GFLOP/s")


def first_lines(bench: Bench) -> Iterator[Line]:
    """The first look ever with a new file, and how soon a later process is ready."""
    backend = bench.system.backend
    assert backend is not None
    module, shape = bench.system.costly()
    once = speed_table.took(lambda: backend.compile(module, shape, key=bench.sha256))
    first = once.wall + speed_table.took(lambda: bench.system.run(torch.zeros(shape))).wall
    said = f"{backend.name} {backend.precision}"
    yield Line(f"first look ever with a new SAM-B file ({said})", seconds(first), wanted="≤ 60 s", met=first <= 60)
    found = child(bench, "ready", "auto")
    whole = f"{seconds(found['imported'])} before that for Python and torch"
    yield Line("later process: file to ready", seconds(found["ready"]), whole, "", "≤ 3 s", found["ready"] <= 3)


def child(bench: Bench, what: str, backend: str) -> dict[str, float]:
    """`speed_child` in a process of its own."""
    words = [sys.executable, "-m", "hilum.bench.speed_child", what, str(bench.file), bench.sha256, backend]
    return json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def predictor(bench: Bench) -> Any:
    """segment-anything with the same weights, in eval mode, as its users run it."""
    from segment_anything import SamPredictor, sam_model_registry

    network = sam_model_registry["vit_b"]()
    state = SamStudy.table.inverse(bench.system.network.state_dict())
    network.load_state_dict({**network.state_dict(), **state})
    return SamPredictor(network.eval())


def look_lines(bench: Bench) -> Iterator[Line]:
    """The costly pass, from the picture's array to the embedding."""
    backend = bench.system.backend
    assert backend is not None
    name = f"SAM ViT-B look, {SIDE}² ({backend.name} {backend.precision})"
    works: dict[str, Callable[[], object]] = {
        "hilum": lambda: bench.system.look(bench.image),
        "products": product(bench),
    }
    if importlib.util.find_spec("segment_anything"):
        upstream, array = predictor(bench), np.ascontiguousarray(bench.image.array.transpose(1, 2, 0))
        works["segment-anything f32 eager"] = lambda: upstream.set_image(array)
    if importlib.util.find_spec("transformers"):
        works["transformers.SamModel f32 eager"] = transformers_look()
    progress.say(f"looks in turns: {', '.join(works)}")
    own, products, *others = in_turns(bench.pairs, *works.values())
    for rival, runs in zip(list(works)[2:], others, strict=True):
        required = rival.startswith("segment")
        times = ratio(own, runs)
        yield Line(
            name,
            seconds(typical(own)),
            f"{rival}: {seconds(typical(runs))}",
            f"{times:.2f}× ({cpu_ratio(own, runs):.2f}× by CPU seconds)",
            bench.wanted("≥ 10×") if required else "",
            bench.judged(times >= 10) if required else None,
        )
    yield from missing(name, works)
    yield efficiency(bench, own, products)


def product(bench: Bench) -> Callable[[], object]:
    """A large product at the best rate there is in the precision of the look."""
    backend, _, precision = bench.best[0].partition(" ")
    make = machine.torch_product if backend == "torch" else machine.openvino_product
    return make(precision, machine.FULL)  # type: ignore[arg-type]


def missing(name: str, works: dict[str, Callable[[], object]]) -> Iterator[Line]:
    """A line for each library that is not there to compare with."""
    for package, label in (("segment-anything", "segment-anything"), ("transformers", "transformers")):
        if not any(each.startswith(label) for each in works):
            yield Line(name, "", f"{package} is not there: pip install {package}")


def transformers_look() -> Callable[[], object]:
    """Its encoder at the published size on a picture that is prepared already."""
    from transformers import SamConfig, SamModel

    network = SamModel(SamConfig()).eval()
    pixels = torch.zeros(1, 3, SIDE, SIDE)

    def look() -> None:
        with torch.no_grad():
            network.get_image_embeddings(pixels)

    return look


def efficiency(bench: Bench, runs: list[Took], products: list[Took]) -> Line:
    """FLOPs of a look over its seconds, beside the best rate of this run at the precision that ran.

    The share by pairs, with the products made in turn with the looks, is what a busy machine disturbs less.
    """
    flops = compute.flops(*bench.system.costly())
    reached, (name, rate) = flops / typical(runs) / 1e9, bench.best
    best = max(rate, 2 * machine.FULL**3 / min(run.wall for run in products) / 1e9)
    share, paired = reached / best, ratio(runs, products) * flops / (2 * machine.FULL**3)
    return Line(
        f"the same in FLOPs ({flops / 1e9:.0f} G by FlopCounterMode)",
        f"{reached:.0f} GFLOP/s",
        f"best matrix rate, {name}: {best:.0f} GFLOP/s, at which a look would take {seconds(flops / best / 1e9)}",
        f"{share:.0%} ({paired:.0%} by pairs)",
        bench.wanted("≥ 75 %"),
        bench.judged(share >= 0.75),
    )


def agreement_lines(bench: Bench) -> Iterator[Line]:
    """Mask logits after a look by the chosen backend, beside those after torch f32."""
    network, size = bench.system.network, (1, 3, SIDE, SIDE)
    pixels = picture(size)
    with torch.inference_mode():
        chosen, plain = boxed(network, bench.system.run(pixels)), boxed(network, network.image_encoder(pixels))
    error = relative_error(chosen, plain)
    yield Line("mask logits beside torch f32", f"{error:.2g}", "", "", f"≤ {TOLERANCE:.0%}", error <= TOLERANCE)


def boxed(network: Sam, embedding: Tensor) -> Tensor:
    """Logits of one box."""
    from ..parts.sam_prompt_encoder import SamPrompts

    return network.ask(embedding, SamPrompts(boxes=torch.tensor([[200.0, 300.0, 700.0, 800.0]])))[0]


def prompt_lines(bench: Bench) -> Iterator[Line]:
    """From a box to the mask at full size, after a look."""
    look = bench.system.look(bench.image)
    works: list[Callable[[], object]] = [lambda: look.ask(BOX)]
    beside = "segment-anything is not there: pip install segment-anything"
    if importlib.util.find_spec("segment_anything"):
        upstream = predictor(bench)
        upstream.features, upstream.is_image_set = torch.zeros(1, 256, SIDE // 16, SIDE // 16), True
        upstream.original_size = upstream.input_size = (SIDE, SIDE)
        corners = np.array([200, 300, 700, 800])
        works.append(lambda: upstream.predict(box=corners, multimask_output=False))
    own, *others = in_turns(10 * bench.pairs, *works)
    times = ""
    if others:
        beside = f"segment-anything: {seconds(typical(others[0]))}"
        times = f"{ratio(own, others[0]):.2f}× ({cpu_ratio(own, others[0]):.2f}× by CPU seconds)"
    took = typical(own)
    yield Line(f"a prompt after a look, {SIDE}²", seconds(took), beside, times, "≤ 25 ms", took <= 0.025)


def scout_lines(bench: Bench) -> Iterator[Line]:
    """Scout on two 512² PNG files, warm in this process: a disc, and all vessels of a retina; a cold process."""
    import hilum

    system, given, out = hilum.load("scout"), bench.work / "given.png", bench.work / "mask.png"
    pictures = {"512² PNG file to mask file, warm": (disc(), DISC)}
    pictures["the same, a retina's vessels by tiles"] = retina(), RETINA
    for name, (shown, corners) in pictures.items():
        shown.save(given)
        box = Box(*np.array(corners))

        def work(box: Box = box) -> None:
            hilum.write(system.ask(hilum.read(given), box), out, force=True)

        (runs,) = in_turns(max(5, bench.pairs), work)
        took = typical(runs)
        yield Line(f"scout, {name}", seconds(took), "", "", "≤ 0.5 s", took <= 0.5)
    disc().save(given)
    words = ["ask", "scout", str(given), "--box", "150,165:345,355", "-o", str(out), "--force"]
    cold = median(command(*words) for _ in range(3))
    yield Line("first scout answer of a cold process", seconds(cold), "", "", "≤ 5 s", cold <= 5)


DISC, RETINA = ((150.0, 165.0), (345.0, 355.0)), ((20.0, 20.0), (490.0, 490.0))  # low and high corners


def disc() -> Pillow.Image:
    """A bright disc on noise."""
    from PIL import Image

    y, x = np.mgrid[:512, :512]
    grey = (np.hypot(x - 250, y - 260) < 90) * 120 + np.random.default_rng(0).integers(0, 60, (512, 512))
    return Image.fromarray(grey.astype(np.uint8))


def retina() -> Pillow.Image:
    """scikit-image's photograph of a retina."""
    from PIL import Image
    from skimage import data

    return Image.fromarray(data.retina()).resize((512, 512))


def command_lines(bench: Bench) -> Iterator[Line]:
    """Start-up of the command line."""
    for word in ("--help", "list"):
        took = median(command(word) for _ in range(5))
        yield Line(f"`hilum {word}`", seconds(took), "", "", "≤ 0.4 s", took <= 0.4)


def command(*words: str) -> float:
    """Seconds of one `hilum …` in a process of its own."""
    script = Path(sys.executable).with_name("hilum")
    call = [str(script)] if script.is_file() else [sys.executable, "-c", "from hilum.app.cli import main; main()"]
    run = lambda: subprocess.run([*call, *words], check=True, capture_output=True)  # noqa: E731
    return speed_table.took(run).wall


def memory_lines(bench: Bench) -> Iterator[Line]:
    """What `--max-memory` judges by, beside what a look took."""
    predicted = compute.estimate(*bench.system.costly())
    precision = native()
    for backend, bytes_ in (("torch", predicted.torch_peak_bytes), ("openvino", predicted.peak_bytes[precision])):
        if not (peak := child(bench, "memory", backend)["peak"]):
            return
        share = bytes_ / peak
        name = f"resident peak of a look ({backend} {precision if backend == 'openvino' else 'f32'})"
        said = f"predicted {bytes_ / 1e9:.2f} GB"
        yield Line(name, f"{peak / 1e9:.2f} GB", said, f"{share:.2f}", "0.7 to 1.3", 0.7 <= share <= 1.3)


PARTS = (
    matrix_lines,
    first_lines,
    look_lines,
    agreement_lines,
    prompt_lines,
    scout_lines,
    command_lines,
    memory_lines,
)


def said(what: str, done: int, total: int | None) -> None:
    """Sentences to stderr; steps are not worth a line here."""
    if total is None:
        typer.echo(what, err=True)


def lines(bench: Bench) -> Iterator[Line]:
    """All of them; what cannot be measured says why, and misses nothing silently."""
    for part in PARTS:
        name = part.__name__.removesuffix("_lines")
        progress.say(name)
        try:
            yield from part(bench)
        except (HilumError, ImportError, OSError, subprocess.CalledProcessError) as error:
            reason = (error.stderr or b"") if isinstance(error, subprocess.CalledProcessError) else str(error)
            text = reason.decode(errors="replace") if isinstance(reason, bytes) else reason
            yield Line(name, f"not there: {' '.join(text.split())[-160:]}", wanted="to be measured", met=False)


def main(
    pairs: Annotated[int, typer.Option(min=1, help="A B A B pairs of looks; 1 is the short way")] = 3,
    write: Annotated[Path | None, typer.Option(help="a page to put the table into, docs/measurements.md")] = None,
) -> None:
    """Ratios of speed from one run; exit 1 where a required number is missed."""
    begin = Spent.now()
    with tempfile.TemporaryDirectory() as folder, progress.heard_by(said):
        os.environ["HILUM_CACHE"] = str(Path(folder) / "cache")
        bench = prepared(Path(folder), pairs)
        found = []
        for line in lines(bench):
            found.append(line)
            typer.echo(f"  {line.what}: {line.ours} {line.beside} {line.ratio} {line.verdict}", err=True)
    end = Spent.now()
    versions = f"torch {torch.__version__}, OpenVINO {importlib.metadata.version('openvino')}"
    head = (
        f"`make bench-speed LOOKS={pairs}`, {machine.processor()}, {speed_table.busy(begin, end)}.",
        f"{versions}; {machine.threads()} threads; bf16 {'native' if native() == 'bf16' else 'not on this CPU'}.",
    )
    text = speed_table.markdown(head, found)
    typer.echo(text)
    if write is not None:
        speed_table.write_into(write, text)
    raise typer.Exit(any(line.met is False for line in found))


if __name__ == "__main__":
    typer.run(main)
