"""The pocket SAM's training: a process per core, weights averaged now and then, a running mean, checkpoints.

The processes, the optimiser for matrices (Muon) and the averaging are scout's (scout_loop.py). The loss is SAM's but
for its focal term, which held this small network, from random weights, at empty masks: cross-entropy is in its place.
"""

import datetime
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sam_pocket_batch as batches
import torch
import torch.distributed as group
import torch.nn.functional as F
from jaxtyping import Float
from sam_pocket_aside import Aside
from scout_loop import Muon, averaged
from torch import Tensor

from hilum.objectives.overlap import hard_dice
from hilum.objectives.prompted_masks import entropy, prompted_masks
from hilum.parts.masked_autoencoder import sines
from hilum.parts.sam import Sam, SamBatch, SamConfig, sam
from hilum.parts.sam_prompt_encoder import SamPrompts


@dataclass(frozen=True, slots=True)
class Plan:
    """One run: sizes, where, from when to when (Unix seconds), pictures per process and step.

    The learning rate follows the clock, not the steps: a run on a shared machine still ends when it should."""

    config: SamConfig
    out: Path
    begin: float
    end: float
    processes: int = 2
    pictures: int = 8
    apart: int = 8  # steps that processes go alone before their weights are averaged (local SGD, Stich 2019)
    muon: float = 0.02
    adam: float = 1.5e-3
    boxes: float = 0.08  # of the time on boxes alone, without corrections: where they point is learnt first
    aside: float = 0.9  # of the time with the heads that teach the encoder to look (sam_pocket_aside.py)
    save_every: float = 180.0
    validate_every: float = 1200.0


class Run:
    """Everything that a checkpoint holds."""

    def __init__(self, plan: Plan):
        self.plan = plan
        torch.manual_seed(0)
        self.network, self.mean = begun(plan.config), begun(plan.config)
        self.mean.load_state_dict(self.network.state_dict())
        matrices = [
            weight
            for name, weight in self.network.named_parameters()
            if weight.ndim == 2 and name.startswith(("image_encoder.blocks", "mask_decoder.transformer"))
            if ".relative." not in name
        ]
        rest = [w for w in self.network.parameters() if not any(w is matrix for matrix in matrices)]
        self.aside = Aside(plan.config)
        self.muon = Muon(matrices, decay=0.02)
        rest += self.aside.parameters()
        self.adam = torch.optim.AdamW(rest, lr=plan.adam, betas=(0.9, 0.98), weight_decay=0.0)
        self.seen, self.steps = 0, 0

    @property
    def file(self) -> Path:
        return self.plan.out / "checkpoint.pt"

    def load(self) -> None:
        """The last checkpoint, where there is one."""
        if self.file.exists():
            kept = torch.load(self.file, weights_only=True)
            for name in STATE:
                getattr(self, name).load_state_dict(kept[name])
            self.seen, self.steps = kept["seen"], kept["steps"]

    def save(self) -> None:
        """Atomic: written beside, then renamed."""
        state = {name: getattr(self, name).state_dict() for name in STATE}
        torch.save(state | {"seen": self.seen, "steps": self.steps}, self.file.with_suffix(".part"))
        os.replace(self.file.with_suffix(".part"), self.file)

    def pace(self) -> float:
        """Learning rate's factor: a short warm-up, flat, then linear to a hundredth over the last 75 % of the time."""
        return min(1.0, (self.steps + 1) / 50) * float(np.clip((1 - self.share()) / 0.75, 0.01, 1.0))

    def share(self) -> float:
        """How much of the run's time is over, 0..1."""
        return (time.time() - self.plan.begin) / max(self.plan.end - self.plan.begin, 1.0)

    def rounds(self, rng: np.random.Generator) -> int:
        """Corrections of this step."""
        return 0 if self.share() < self.plan.boxes else int(rng.choice(3, p=(0.4, 0.35, 0.25)))

    def beside(self) -> Aside | None:
        """The heads that the encoder is taught by, now."""
        return self.aside if self.share() < self.plan.aside else None


STATE = ("network", "mean", "aside", "muon", "adam")


def begun(config: SamConfig) -> Sam:
    """Random weights; the table of positions begins as sines, so that the embedding knows where its patches are."""
    network = sam(config)
    position = network.image_encoder.get_parameter("position")
    with torch.no_grad():
        position.copy_(sines(position.shape[-1], config.grid)[1:].reshape(position.shape))
    return network


def answered(
    network: Sam, embedding: Tensor, prompts: SamPrompts, side: int
) -> tuple[Float[Tensor, "n m s s"], Float[Tensor, "n m"], Float[Tensor, "n m h w"]]:
    """Logits of the square, predicted overlaps, and the decoder's own logits: three where ambiguous, else the first."""
    among = slice(1, None) if batches.ambiguous(prompts) else slice(0, 1)
    with torch.autocast("cpu", torch.bfloat16):
        low, quality = network.ask(embedding, prompts, only=among)
    low, quality = low.float(), quality.float()[:, among]
    return F.interpolate(low, size=(side, side), mode="bilinear", align_corners=False), quality, low


def best(maps: Float[Tensor, "n m h w"], quality: Float[Tensor, "n m"]) -> Float[Tensor, "n 1 h w"]:
    """The mask that the network itself rates highest."""
    return maps[torch.arange(len(maps)), quality.argmax(dim=1)][:, None]


def interact(
    network: Sam,
    batch: SamBatch,
    rounds: int,
    rng: np.random.Generator,
    *,
    aside: Aside | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """The mean loss over an opening and its corrections, all on one embedding; numbers of the first and last round."""
    side = batch.pixels.shape[-1]
    with torch.autocast("cpu", torch.bfloat16):
        embedding = network.image_encoder(batch.pixels)
    helped = embedding.new_zeros(()) if aside is None else aside(embedding.float(), batch)
    total, numbers = helped.float(), dict[str, float]()
    for number in range(1 + rounds):
        logits, quality, low = answered(network, embedding.float(), batch.prompts, side)
        terms = prompted_masks(logits, quality, batch.masks, entropy)
        total = total + terms.total / (1 + rounds)
        guess = best(logits, quality).detach()
        numbers = numbers or terms.numbers() | {"first": float(hard_dice(guess, batch.masks).mean())}
        if number < rounds:
            silent = rounds > 1 and number == rounds - 1 and rng.random() < 0.3
            batch = batches.corrected(batch, guess, best(low, quality), rng, silent=silent)
    last = float(hard_dice(guess, batch.masks).mean())
    return total, numbers | {"last": last, "aside": float(helped.detach()), "loss": float((total - helped).detach())}


def step(run: Run, batch: SamBatch, rng: np.random.Generator) -> dict[str, float]:
    """One step of both optimisers."""
    total, numbers = interact(run.network, batch, run.rounds(rng), rng, aside=run.beside())
    for optimizer in (run.muon, run.adam):
        optimizer.zero_grad(set_to_none=False)
    total.backward()
    pace = run.pace()
    run.muon.param_groups[0]["lr"], run.adam.param_groups[0]["lr"] = pace * run.plan.muon, pace * run.plan.adam
    for weight in (*run.network.parameters(), *run.aside.parameters()):
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
    torch.nn.utils.clip_grad_norm_([p for part in run.adam.param_groups for p in part["params"]], 1.0)
    run.muon.step()
    run.adam.step()
    return numbers


@torch.no_grad()
def validate(network: Sam, bank: dict[str, batches.Source], side: int, count: int = 12) -> dict[str, dict[str, float]]:
    """Held-back pictures of every source: Dice by box, by a box over another picture, by one click; the ellipse."""
    from hilum.bench.measure import ellipse
    from hilum.parts import interaction

    network.eval()
    table = {}
    for name, source in bank.items():
        rng = np.random.default_rng(0)
        views = [found for _ in range(count) if (found := batches.view(source, rng, side, still=True)) is not None]
        masks = np.concatenate([each.masks for each in views])
        boxes = torch.from_numpy(np.stack([interaction.tight_box(mask) for mask in masks])).float().reshape(-1, 4)
        at = torch.tensor([interaction.first_click(mask).at for mask in masks])[:, None]
        click = SamPrompts(at, torch.ones(len(at), 1, dtype=torch.bool))
        batch = batches.batched(views, torch.stack([each.image for each in views]), SamPrompts(boxes=boxes))
        embedding = network.image_encoder(batch.pixels)
        asked = {
            "box": (embedding, batch.prompts),
            "shuffled": (embedding.roll(1, 0), batch.prompts),
            "click": (embedding, click),
        }
        row = {key: hard_dice(best(*answered(network, *given, side)[:2]), batch.masks) for key, given in asked.items()}
        floors = [ellipse(*box.reshape(2, 2).numpy(), (side, side)) for box in boxes]
        row["ellipse"] = hard_dice(torch.from_numpy(np.stack(floors)).float()[:, None] - 0.5, batch.masks)
        table[name] = {key: round(float(value.mean()), 3) for key, value in row.items()}
    network.train()
    return table


def train(rank: int, plan: Plan) -> None:
    """One process; several started with ranks 0, 1, … average their weights."""
    torch.set_num_threads(1)
    if plan.processes > 1:
        meeting = f"file://{plan.out.resolve()}/meeting-{os.getppid()}"
        group.init_process_group(
            "gloo", init_method=meeting, rank=rank, world_size=plan.processes, timeout=datetime.timedelta(hours=2)
        )
    run = Run(plan)
    run.load()
    rng = np.random.default_rng([rank, run.steps])
    side = plan.config.image_size
    known, held = (batches.open_bank(plan.out / "bank", split) for split in ("train", "held"))
    saved = validated = time.time()
    trace: list[dict[str, float]] = []
    parent = os.getppid()
    while agreed(plan, parent) < plan.end:
        for _ in range(plan.apart):
            boxes = run.share() < plan.boxes
            trace.append(step(run, batches.sample(known, rng, plan.pictures, side, boxes=boxes), rng))
            run.steps, run.seen = run.steps + 1, run.seen + plan.pictures * plan.processes
        together(run)
        if rank == 0:
            report(run, trace[-plan.apart :])
            if time.time() - saved > plan.save_every:
                run.save()
                saved = time.time()
            if time.time() - validated > plan.validate_every:
                write(plan.out, {"seen": run.seen, "held": validate(run.mean, held, side)})
                validated = time.time()
    if rank == 0:
        run.save()
        write(plan.out, {"seen": run.seen, "held": validate(run.mean, held, side)})


def together(run: Run) -> None:
    """One network again of all processes' networks; the running mean takes it in."""
    parameters = list(run.network.parameters())
    if run.plan.processes > 1:
        averaged([each.data for each in (*parameters, *run.aside.parameters())])
    keep = min(0.998, (1 + run.steps) / (10 + run.steps)) ** run.plan.apart
    for old, new in zip(run.mean.parameters(), parameters, strict=True):
        old.data.lerp_(new.data, 1 - keep)


def agreed(plan: Plan, parent: int) -> float:
    """The first process's clock, at its end where the parent is gone: all must stop at the same step."""
    clock = torch.tensor([time.time() if os.getppid() == parent else plan.end], dtype=torch.float64)
    if plan.processes > 1:
        group.broadcast(clock, 0)
    return float(clock)


def report(run: Run, last: list[dict[str, float]]) -> None:
    """A line of the log."""
    heard = [name for name in last[-1] if all(name in row for row in last)]  # terms change on the way
    means = {name: round(float(np.mean([row[name] for row in last])), 4) for name in heard}
    counts = {"seen": run.seen, "steps": run.steps, "clock": time.strftime("%H:%M:%S"), "pace": round(run.pace(), 3)}
    write(run.plan.out, counts | means)


def write(out: Path, line: dict) -> None:
    with (out / "log.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
