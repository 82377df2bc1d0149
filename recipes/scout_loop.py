"""Scout's training: a process per core, their weights averaged now and then, Muon, a running mean, checkpoints."""

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
from safetensors import safe_open
from torch import Tensor, nn

from hilum.objectives.overlap import candidate_loss, hard_dice
from hilum.systems.scout import Scout, ScoutBatch, ScoutNetwork


@dataclass(frozen=True, slots=True)
class Plan:
    """One run: where, from when to when (Unix seconds), from which weights, how many crops per process and step.

    The learning rate follows the clock, not the steps: a run on a shared machine still ends when it should."""

    out: Path
    begin: float
    end: float
    processes: int
    warm: Path | None = None
    batch: int = 24
    apart: int = 16  # steps that processes go alone before their weights are averaged (local SGD, Stich 2019)
    save_every: float = 240.0
    validate_every: float = 2400.0


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised (Jordan et al. 2024), for kernels as matrices."""

    def __init__(self, kernels: list[nn.Parameter], lr: float = 0.02, momentum: float = 0.95, decay: float = 0.01):
        super().__init__(kernels, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        settings = self.param_groups[0]
        for kernel in settings["params"]:
            speed = self.state[kernel].setdefault("speed", torch.zeros_like(kernel))
            speed.lerp_(kernel.grad, 1 - settings["momentum"])
            matrix = kernel.grad.lerp(speed, settings["momentum"]).reshape(len(kernel), -1)
            scale = max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
            update = (orthogonal(matrix) * scale).reshape(kernel.shape)
            kernel.mul_(1 - settings["lr"] * settings["decay"]).add_(update, alpha=-settings["lr"])


def orthogonal(matrix: Float[Tensor, "n m"]) -> Float[Tensor, "n m"]:
    """About U Vᵀ of the matrix by five quintic Newton-Schulz steps (coefficients of Jordan et al. 2024).

    Each step multiplies by a polynomial of the Gram matrix, so all are taken on that small one first."""
    x = matrix / (matrix.norm() + 1e-7)
    x = x.T if len(matrix) > matrix.shape[1] else x
    unit = torch.eye(len(x))
    gram, product = x @ x.T, unit
    for _ in range(5):
        factor = 3.4445 * unit - 4.7750 * gram + 2.0315 * gram @ gram
        product, gram = factor @ product, factor @ gram @ factor
    x = product @ x
    return x.T if len(matrix) > matrix.shape[1] else x


@torch.no_grad()
def averaged(tensors: list[Tensor]) -> None:
    """Each tensor becomes its mean over all processes, in place, in one message."""
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    group.all_reduce(flat)
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
        self.seen, self.steps = 0, 0

    @property
    def file(self) -> Path:
        return self.plan.out / "checkpoint.pt"

    def load(self) -> None:
        """The last checkpoint; else the weights to start from, whose crops count as seen; else nothing."""
        if self.file.exists():
            kept = torch.load(self.file, weights_only=True)
            for name in ("network", "mean", "muon", "adam"):
                getattr(self, name).load_state_dict(kept[name])
            self.seen, self.steps = kept["seen"], kept["steps"]
        elif self.plan.warm is not None:
            with safe_open(self.plan.warm, "pt") as file:
                state = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
                self.seen = int(file.metadata()["samples"])
            for network in (self.network, self.mean):
                network.load_state_dict(state)

    def save(self) -> None:
        """Atomic: written beside, then renamed."""
        names = ("network", "mean", "muon", "adam")
        state = {name: getattr(self, name).state_dict() for name in names}
        counts = {"seen": self.seen, "steps": self.steps}
        torch.save(state | counts, self.file.with_suffix(".part"))
        os.replace(self.file.with_suffix(".part"), self.file)

    def pace(self) -> float:
        """Learning rate's factor: a short warm-up, flat, then linear to a hundredth over the last 55 % of the time."""
        return min(1.0, (self.steps + 1) / 60) * float(np.clip((1 - self.share()) / 0.55, 0.01, 1.0))

    def share(self) -> float:
        """How much of the run's time is over, 0..1."""
        return (time.time() - self.plan.begin) / max(self.plan.end - self.plan.begin, 1.0)


def chosen(
    logits: Float[Tensor, "b k h w"], quality: Float[Tensor, "b k"], ambiguous: Tensor
) -> Float[Tensor, "b 1 h w"]:
    """Candidate 0 where the prompt is clear, else the best judged of the others."""
    best = torch.where(ambiguous, 1 + quality[:, 1:].argmax(1), 0)
    return logits[torch.arange(len(logits)), best][:, None]


def answer(network: ScoutNetwork, batch: ScoutBatch) -> tuple[Float[Tensor, "b k h w"], Float[Tensor, "b k"]]:
    """Logits and judged quality; convolutions in bf16, where this CPU has it in hardware twice as fast, weights f32."""
    with torch.autocast("cpu", torch.bfloat16):
        logits, quality, _ = network(batch.image, batch.prompt)
    return logits.float(), quality.float()


def step(run: Run, batch: ScoutBatch, rounds: int) -> dict[str, float]:
    """Corrections without gradient, then one round with it."""
    for given in range(rounds):
        with torch.no_grad():
            logits, quality = answer(run.network, batch)
        batch = scout_batch.corrected(batch, torch.sigmoid(chosen(logits, quality, batch.ambiguous)), given)
    logits, quality = answer(run.network, batch)
    terms = candidate_loss(logits, quality, batch.mask, batch.ambiguous)
    for optimizer in (run.muon, run.adam):
        optimizer.zero_grad()
    sum(terms.values()).backward()
    fastest = 0.02 if run.plan.warm is None else 0.012
    pace = fastest * run.pace()
    run.muon.param_groups[0]["lr"], run.adam.param_groups[0]["lr"] = pace, 0.1 * pace
    run.muon.step()
    torch.nn.utils.clip_grad_norm_([p for part in run.adam.param_groups for p in part["params"]], 1.0)
    run.adam.step()
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
    saved = validated = time.time()
    trace: list[dict[str, float]] = []
    while agreed(time.time(), plan) < plan.end:
        for _ in range(plan.apart):
            course = scout_batch.Course.after(run.seen, run.share())
            rounds = int(rng.choice(4, p=(0.5, 0.25, 0.15, 0.1))) if rng.random() < course.clicks else 0
            trace.append(step(run, scout_batch.sample(known, rng, course, plan.batch), rounds))
            run.steps, run.seen = run.steps + 1, run.seen + plan.batch * plan.processes
        together(run)
        if rank == 0 and run.steps % (2 * plan.apart) == 0:
            report(run, trace[-2 * plan.apart :])
        if rank == 0 and time.time() - saved > plan.save_every:
            run.save()
            saved = time.time()
        if rank == 0 and time.time() - validated > plan.validate_every:
            write(plan.out, {"seen": run.seen, "held": validate(run.mean, held)})
            validated = time.time()
        if run.steps % (8 * plan.apart) == 0:  # sources may be added while it runs
            known, held = (scout_batch.open_bank(plan.out / "bank", split) for split in ("train", "held"))
    if rank == 0:
        run.save()


def together(run: Run) -> None:
    """One network again of all processes' networks; the running mean takes it in."""
    parameters = list(run.network.parameters())
    if run.plan.processes > 1:
        averaged(parameters)
    keep = min(0.998, (1 + run.steps) / (10 + run.steps)) ** run.plan.apart
    for old, new in zip(run.mean.parameters(), parameters, strict=True):
        old.data.lerp_(new.data, 1 - keep)


def agreed(now: float, plan: Plan) -> float:
    """The first process's clock: all must stop at the same step."""
    if plan.processes == 1:
        return now
    clock = torch.tensor([now], dtype=torch.float64)
    group.broadcast(clock, 0)
    return float(clock)


def report(run: Run, last: list[dict[str, float]]) -> None:
    means = {name: round(float(np.mean([row[name] for row in last])), 3) for name in last[0]}
    counts = {"seen": run.seen, "steps": run.steps, "clock": time.strftime("%H:%M:%S"), "pace": round(run.pace(), 3)}
    write(run.plan.out, counts | means)


def write(out: Path, line: dict) -> None:
    with (out / "log.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
