"""Scout's training: a process per core with averaged gradients, Muon, a running mean of the weights, checkpoints."""

import datetime
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scout_batch
import torch
import torch.distributed as group
from jaxtyping import Float
from torch import Tensor, nn

from hilum.objectives.overlap import candidate_loss, hard_dice
from hilum.systems.scout import Scout, ScoutBatch, ScoutNetwork


@dataclass(frozen=True, slots=True)
class Plan:
    """One run: where, how long (hours of training, all sessions together), how many crops per process and step."""

    out: Path
    hours: float
    processes: int
    batch: int = 16
    save_every: float = 240.0
    validate_every: float = 1500.0


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised (Jordan et al. 2024), for kernels as matrices; each process does its share of them."""

    def __init__(self, kernels: list[nn.Parameter], lr: float = 0.02, momentum: float = 0.95, decay: float = 0.01):
        super().__init__(kernels, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        rank, world = (group.get_rank(), group.get_world_size()) if group.is_initialized() else (0, 1)
        settings = self.param_groups[0]
        kernels = settings["params"]
        updates = [torch.zeros_like(kernel) for kernel in kernels]
        for place, kernel in enumerate(kernels):
            speed = self.state[kernel].setdefault("speed", torch.zeros_like(kernel))
            speed.lerp_(kernel.grad, 1 - settings["momentum"])
            if place % world == rank:
                matrix = kernel.grad.lerp(speed, settings["momentum"]).reshape(len(kernel), -1)
                scale = max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
                updates[place] = (orthogonal(matrix) * scale).reshape(kernel.shape)
        if world > 1:
            share_out(updates, mean=False)
        for kernel, update in zip(kernels, updates, strict=True):
            kernel.mul_(1 - settings["lr"] * settings["decay"]).add_(update, alpha=-settings["lr"])


def orthogonal(matrix: Float[Tensor, "n m"]) -> Float[Tensor, "n m"]:
    """About U Vᵀ of the matrix by five quintic Newton-Schulz steps (coefficients of Jordan et al. 2024)."""
    x = matrix / (matrix.norm() + 1e-7)
    x = x.T if len(matrix) > matrix.shape[1] else x
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if len(matrix) > matrix.shape[1] else x


def share_out(tensors: list[Tensor], *, mean: bool = True) -> None:
    """Sum (or average) the tensors over all processes, in place, in one message."""
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    group.all_reduce(flat)
    if mean:
        flat /= group.get_world_size()
    start = 0
    for tensor in tensors:
        tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
        start += tensor.numel()


class Run:
    """Everything that a checkpoint holds."""

    def __init__(self, plan: Plan):
        self.plan = plan
        torch.manual_seed(0)
        self.network = Scout.build(Scout.configs["pocket"])
        self.mean = Scout.build(Scout.configs["pocket"])
        self.mean.load_state_dict(self.network.state_dict())
        kernels = [
            p
            for name, p in self.network.named_parameters()
            if p.ndim == 4 and not name.startswith(("unet.masks", "unet.fine"))
        ]
        rest = [p for p in self.network.parameters() if not any(p is kernel for kernel in kernels)]
        self.muon, self.adam = Muon(kernels), torch.optim.AdamW(rest, lr=2e-3, betas=(0.9, 0.99), weight_decay=0.0)
        self.seen, self.steps, self.seconds = 0, 0, 0.0

    @property
    def file(self) -> Path:
        return self.plan.out / "checkpoint.pt"

    def load(self) -> None:
        if not self.file.exists():
            return
        kept = torch.load(self.file, weights_only=True)
        for name in ("network", "mean", "muon", "adam"):
            getattr(self, name).load_state_dict(kept[name])
        self.seen, self.steps, self.seconds = kept["seen"], kept["steps"], kept["seconds"]

    def save(self) -> None:
        """Atomic: written beside, then renamed."""
        names = ("network", "mean", "muon", "adam")
        state = {name: getattr(self, name).state_dict() for name in names}
        counts = {"seen": self.seen, "steps": self.steps, "seconds": self.seconds}
        torch.save(state | counts, self.file.with_suffix(".part"))
        os.replace(self.file.with_suffix(".part"), self.file)

    def pace(self) -> float:
        """Learning rate's factor: a short warm-up, flat, then linear to a hundredth over the last 40 % of the hours."""
        return min(1.0, (self.steps + 1) / 60) * float(np.clip((1 - self.share) / 0.4, 0.01, 1.0))

    @property
    def share(self) -> float:
        """How much of the run's time is over, 0..1."""
        return self.seconds / (3600 * self.plan.hours)


def chosen(
    logits: Float[Tensor, "b k h w"], quality: Float[Tensor, "b k"], ambiguous: Tensor
) -> Float[Tensor, "b 1 h w"]:
    """Candidate 0 where the prompt is clear, else the best judged of the others."""
    best = torch.where(ambiguous, 1 + quality[:, 1:].argmax(1), 0)
    return logits[torch.arange(len(logits)), best][:, None]


def step(run: Run, batch: ScoutBatch, rounds: int) -> dict[str, float]:
    """Corrections without gradient, then one round with it."""
    for given in range(rounds):
        with torch.no_grad():
            logits, quality, _ = run.network(batch.image, batch.prompt)
        batch = scout_batch.corrected(batch, torch.sigmoid(chosen(logits, quality, batch.ambiguous)), given)
    logits, quality, _ = run.network(batch.image, batch.prompt)
    terms = candidate_loss(logits, quality, batch.mask, batch.ambiguous)
    for optimizer in (run.muon, run.adam):
        optimizer.zero_grad()
    sum(terms.values()).backward()
    parameters = list(run.network.parameters())
    if group.is_initialized():
        share_out([p.grad for p in parameters])
    pace = run.pace()
    run.muon.param_groups[0]["lr"], run.adam.param_groups[0]["lr"] = 0.02 * pace, 2e-3 * pace
    run.muon.step()
    torch.nn.utils.clip_grad_norm_([p for part in run.adam.param_groups for p in part["params"]], 1.0)
    run.adam.step()
    keep = min(0.998, (1 + run.steps) / (10 + run.steps))
    for old, new in zip(run.mean.parameters(), parameters, strict=True):
        old.data.lerp_(new.data, 1 - keep)
    dice = hard_dice(chosen(logits, quality, batch.ambiguous), batch.mask).mean()
    return {name: float(value.detach()) for name, value in terms.items()} | {"dice": float(dice)}


@torch.no_grad()
def validate(
    network: ScoutNetwork, bank: dict[str, scout_batch.Source], count: int = 24
) -> dict[str, dict[str, float]]:
    """Held-back objects of every source: ellipse, box, box over another object's image, box + 3 clicks, one click."""
    table = {}
    for name, source in bank.items():
        rng = np.random.default_rng(0)
        still = scout_batch.Course(1.0, 0.0, 0.0, 0.0)
        batch = scout_batch.sample({name: source}, rng, still, count)
        logits, _, _ = network(batch.image, batch.prompt)
        swapped = ScoutBatch(batch.image.roll(1, 0), batch.mask, batch.prompt, batch.ambiguous)
        row = {"ellipse": ellipse_dice(batch), "box": dice(logits[:, :1], batch)}
        row["shuffled"] = dice(network(swapped.image, swapped.prompt)[0][:, :1], batch)
        later = batch
        for given in range(3):
            later = scout_batch.corrected(later, torch.sigmoid(logits[:, :1]), given)
            logits, _, _ = network(later.image, later.prompt)
        row["box+3"] = dice(logits[:, :1], batch)
        row["click"] = click_dice(network, source, count)
        table[name] = {key: round(value, 3) for key, value in row.items()}
    return table


def click_dice(network: ScoutNetwork, source: scout_batch.Source, count: int) -> float:
    clicky = scout_batch.Course(1.0, 0.0, 0.0, 0.0)
    batch = scout_batch.sample_clicks(source, np.random.default_rng(0), clicky, count)
    logits, quality, _ = network(batch.image, batch.prompt)
    return dice(chosen(logits, quality, batch.ambiguous), batch)


def dice(logits: Tensor, batch: ScoutBatch) -> float:
    return float(hard_dice(logits, batch.mask).mean())


def ellipse_dice(batch: ScoutBatch) -> float:
    from hilum.parts.prompt_maps import box_maps

    _, radius = box_maps(batch.prompt.box, batch.prompt.boxed, batch.mask.shape[-2:])
    return dice(1 - radius, batch)


def train(rank: int, plan: Plan) -> None:
    """One process; several started with ranks 0, 1, … average their gradients."""
    torch.set_num_threads(1)
    if plan.processes > 1:
        meeting = f"file://{plan.out.resolve()}/meeting-{os.getppid()}"
        group.init_process_group(
            "gloo", init_method=meeting, rank=rank, world_size=plan.processes, timeout=datetime.timedelta(hours=2)
        )
    run = Run(plan)
    run.load()
    rng = np.random.default_rng([rank, run.steps])
    known, held = (scout_batch.open_bank(plan.out / "bank", split) for split in ("train", "held"))
    saved = validated = begun = time.monotonic()
    trace: list[dict[str, float]] = []
    while run.seconds < 3600 * plan.hours:
        course = scout_batch.Course.after(run.seen, run.share)
        dealer = np.random.default_rng([7, run.steps])
        rounds = int(dealer.choice(4, p=(0.5, 0.25, 0.15, 0.1))) if dealer.random() < course.clicks else 0
        trace.append(step(run, scout_batch.sample(known, rng, course, plan.batch), rounds))
        run.steps, run.seen = run.steps + 1, run.seen + plan.batch * plan.processes
        now = time.monotonic()
        run.seconds, begun = run.seconds + now - begun, now
        if plan.processes > 1:
            clock = torch.tensor([run.seconds])
            group.broadcast(clock, 0)
            run.seconds = float(clock)
        if rank == 0 and run.steps % 25 == 0:
            report(run, trace[-25:])
        if rank == 0 and now - saved > plan.save_every:
            run.save()
            saved = now
        if rank == 0 and now - validated > plan.validate_every:
            write(plan.out, {"seen": run.seen, "held": validate(run.mean, held)})
            validated = now
        if run.steps % 100 == 0:  # sources may be added while it runs
            known, held = (scout_batch.open_bank(plan.out / "bank", split) for split in ("train", "held"))
    if rank == 0:
        run.save()


def report(run: Run, last: list[dict[str, float]]) -> None:
    means = {name: round(float(np.mean([row[name] for row in last])), 3) for name in last[0]}
    write(
        run.plan.out,
        {"seen": run.seen, "steps": run.steps, "seconds": round(run.seconds), "pace": round(run.pace(), 3)} | means,
    )


def write(out: Path, line: dict) -> None:
    with (out / "log.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
