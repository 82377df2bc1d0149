"""The one loop: AdamW, warm-up and cosine, a held part that says when to stop, a checkpoint that survives a kill.

What happens at step k depends on the seed and on k alone, so a run that was killed and goes on does what it would have
done. The checkpoint is one safetensors file, written beside and renamed: never half, never a pickle.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..capabilities.system import System
from ..capabilities.trainable import Sample, Trainable
from ..io.atomic import replacing
from ..values import progress
from ..values.errors import BadInput
from .augment import varied
from .samples import Case
from .score import scored


@dataclass(frozen=True, slots=True)
class Plan:
    """How to train. Every `every` steps the held part is looked at; `patience` looks without gain end the run."""

    steps: int = 300
    batch: int = 4
    rate: float = 1e-3
    weight_decay: float = 0.01
    warmup: int = 20
    every: int = 50
    patience: int = 4
    minutes: float = 10.0  # of training, all sittings together
    seed: int = 0
    save_seconds: float = 20.0
    precision: str = "f32"  # or bf16: autocast


@dataclass(slots=True)
class Course:
    """How a run went so far: loss and held Dice by step; `best` is the step whose weights are kept."""

    step: int = 0
    best: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    held: list[tuple[int, float]] = field(default_factory=list)
    ended: str = ""

    @property
    def best_score(self) -> float:
        """Held Dice of the kept weights."""
        return dict(self.held).get(self.best, -math.inf)


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What a run learns from and what it is held against."""

    train: Sequence[Case]
    held: Sequence[Case]

    def batch(self, count: int, rng: np.random.Generator) -> list[Sample]:
        """Samples of cases drawn with equal chance, each varied."""
        cases = [self.train[int(rng.integers(len(self.train)))] for _ in range(count)]
        return [varied(case.samples[int(rng.integers(len(case.samples)))], rng) for case in cases]

    def score(self, system: System) -> float:
        """Mean Dice over the held cases."""
        system.network.eval()  # type: ignore[union-attr]
        return float(np.mean([np.mean(scored(system, case.samples[:4])) for case in self.held]))


class Run:
    """One training of the parameters of a network that want a gradient, resumable from `file`."""

    def __init__(self, system: System, plan: Plan, file: Path):
        trainable: object = system
        if not isinstance(trainable, Trainable):
            raise BadInput(f"{system.card.name} cannot be trained: it has no objective here")
        self.system, self.plan, self.file = system, plan, file
        self.weights = {name: each for name, each in trainable.network.named_parameters() if each.requires_grad}
        if not self.weights:
            raise BadInput(f"{system.tag}: this method leaves nothing to train")
        self.optimizer = torch.optim.AdamW(self.weights.values(), lr=plan.rate, weight_decay=plan.weight_decay)
        self.course = Course()
        self.kept = {name: each.detach().clone() for name, each in self.weights.items()}

    def train(self, material: Material, heard: Callable[[Course], None] = lambda course: None) -> Course:
        """Until the steps, the minutes or the patience are spent; then the network holds the best weights."""
        self.resume()
        if not self.course.held:
            self.course.held.append((0, material.score(self.system)))
        saved = begun = time.monotonic()
        while not self.course.ended:
            self.step(material)
            if self.course.step % self.plan.every == 0 or self.course.step == self.plan.steps:
                self._judge(material)
                heard(self.course)
            now = time.monotonic()
            self.course.seconds, begun = self.course.seconds + now - begun, now
            self.course.ended = self._end()
            if self.course.ended or now - saved > self.plan.save_seconds:
                self.save()
                saved = now
            progress.count("steps", self.course.step, self.plan.steps)
        self._put(self.kept)
        self.system.network.eval()  # type: ignore[union-attr]
        return self.course

    def step(self, material: Material) -> None:
        """One step of the optimiser on samples of the material; what happens depends on the seed and the step."""
        rng = np.random.default_rng([self.plan.seed, self.course.step])
        torch.manual_seed(int(rng.integers(2**31)))
        network: nn.Module = self.system.network  # type: ignore[assignment]
        network.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.rate * self._pace()
        batch = self.system.batch(material.batch(self.plan.batch, rng), rng)  # type: ignore[attr-defined]
        device = self.system.device.type
        with torch.autocast(device, dtype=torch.bfloat16, enabled=self.plan.precision == "bf16"):
            total = self.system.loss(batch).total  # type: ignore[attr-defined]
        self.optimizer.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(self.weights.values(), 1.0)
        self.optimizer.step()
        self.course.step += 1
        self.course.losses.append(float(total.detach()))

    def _pace(self) -> float:
        """Factor of the rate: linear warm-up, then half a cosine to a twentieth."""
        step, plan = self.course.step, self.plan
        share = max(0.0, step - plan.warmup) / max(1, plan.steps - plan.warmup)
        return min(1.0, (step + 1) / max(1, plan.warmup)) * (0.525 + 0.475 * math.cos(math.pi * min(1.0, share)))

    def _judge(self, material: Material) -> None:
        score = material.score(self.system)
        if score > self.course.best_score:
            self.course.best = self.course.step
            self.kept = {name: each.detach().clone() for name, each in self.weights.items()}
        self.course.held.append((self.course.step, score))

    def _end(self) -> str:
        course, plan = self.course, self.plan
        if course.step >= plan.steps:
            return f"all {plan.steps} steps were done"
        if course.held[-1][0] - course.best >= plan.every * plan.patience:
            return f"the held part had not gained for {plan.patience} looks"
        return f"{plan.minutes:g} minutes were spent" if course.seconds > 60 * plan.minutes else ""

    def _put(self, weights: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, each in self.weights.items():
                each.copy_(weights[name])

    def save(self) -> None:
        """The weights now and the best ones, the optimiser's moments, and the course."""
        from safetensors.torch import save_file

        state = {f"now/{name}": each.detach() for name, each in self.weights.items()}
        state |= {f"best/{name}": each for name, each in self.kept.items()}
        for name, each in self.weights.items():
            state |= {f"{key}/{name}": value for key, value in self.optimizer.state[each].items()}
        told = {"course": json.dumps(asdict(self.course)), "plan": json.dumps(asdict(self.plan))}
        with replacing(self.file, force=True) as temporary:
            save_file({name: each.contiguous() for name, each in state.items()}, temporary, told)

    def resume(self) -> None:
        """Goes on where the file stopped, if there is one of the same parameters."""
        if not self.file.is_file():
            return
        from safetensors import safe_open

        with safe_open(self.file, "pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            told: dict[str, Any] = json.loads(file.metadata()["course"])
        if {name.partition("/")[2] for name in state} != set(self.weights):
            raise BadInput(f"{self.file} was left by another training: give another folder, or remove that file")
        self._put({name: state[f"now/{name}"] for name in self.weights})
        self.kept = {name: state[f"best/{name}"] for name in self.weights}
        for name, each in self.weights.items():
            keys = ("step", "exp_avg", "exp_avg_sq")
            self.optimizer.state[each] = {key: state[f"{key}/{name}"] for key in keys if f"{key}/{name}" in state}
        self.course = Course(**told | {"held": [(step, score) for step, score in told["held"]], "ended": ""})
        progress.say(f"goes on from step {self.course.step}")
