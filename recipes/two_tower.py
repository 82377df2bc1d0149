"""Train a contrastive system by its own objective on pictures with sentences.

nice python recipes/two_tower.py medclip --minutes 3           # the pocket setting, from nothing; goes on after a stop
python recipes/two_tower.py chexzero --setting paper           # the published sizes, from weights in the store

Any system that learns from texts (`capabilities/trainable.py: Paired`). The pocket setting is the system's smallest
instance, whose words are hashed: it proves that the loop learns, not quality. What is printed is the loss on patients
that are held back, before and after.
"""

import argparse
import json
import math
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

import captions
import numpy as np
import torch
from safetensors.torch import save_file
from scout_data import data_root

from hilum import registry
from hilum.capabilities.trainable import Captioned
from hilum.io.atomic import replacing
from hilum.values.contract import ANY

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Setting:
    """The paper's training, where it is known: batch, rate, decay, share of warm-up. `sgd`: with a momentum of 0.9."""

    batch: int
    rate: float
    decay: float = 0.0
    warm: float = 0.1
    sgd: bool = False
    clip: float = math.inf


SETTINGS = {  # from the specification of each; batches are the published ones and want as many devices
    "biomedclip": Setting(4096, 5e-4, 0.2),  # remembered, unverified
    "biovil_t": Setting(240, 2e-5),  # ours: the training code is not public
    "chexzero": Setting(16, 1e-4, sgd=True, warm=0.0),  # the published script's defaults
    "cite": Setting(128, 0.03, sgd=True, warm=0.02),
    "elixr": Setting(128, 1e-4, 0.05),  # ours: not public
    "kobo": Setting(100, 4e-5, 0.05),  # ours: no code was published
    "maco": Setting(512, 2.5e-4, 0.05, warm=0.04),
    "medclip": Setting(100, 2e-5, 1e-4, clip=1.0),
    "mi_zero": Setting(512, 1e-4, 0.2),  # remembered, unverified
    "plip": Setting(128, 1e-5, 0.2),  # remembered, unverified
    "ptunifier": Setting(256, 1e-5, 0.01),
}
POCKET = Setting(24, 1e-3, 0.01, clip=1.0)


class Pupil:
    """A system that learns; all that a checkpoint holds."""

    def __init__(self, name: str, setting: str, out: Path):
        self.name, self.pocket = name, setting == "pocket"
        made = registry.find(name).system_class()
        self.system = made.tiny() if self.pocket else registry.load(name, backend="torch")
        self.setting = POCKET if self.pocket else SETTINGS[name]
        weights = {key: each for key, each in self.system.network.named_parameters() if each.requires_grad}
        self.weights, rate = weights, self.setting.rate
        if self.setting.sgd:
            self.optimizer: torch.optim.Optimizer = torch.optim.SGD(weights.values(), lr=rate, momentum=0.9)
        else:
            self.optimizer = torch.optim.AdamW(weights.values(), lr=rate, weight_decay=self.setting.decay)
        self.file, self.step = out / f"{name}.{setting}.checkpoint", 0
        if self.file.is_file():
            kept = torch.load(self.file, weights_only=True)
            self.system.network.load_state_dict(kept["network"])
            self.optimizer.load_state_dict(kept["optimizer"])
            self.step = kept["step"]

    def save(self) -> None:
        """Written beside, then renamed."""
        state = {"network": self.system.network.state_dict(), "optimizer": self.optimizer.state_dict()}
        with replacing(self.file, force=True) as temporary:
            torch.save(state | {"step": self.step}, temporary)

    def learn(self, samples: list[Captioned], rng: np.random.Generator, share: float) -> float:
        """One step; `share` of the whole training is over."""
        self.system.network.train()
        terms = self.system.loss(self.system.pairs(samples, rng))
        self.optimizer.zero_grad()
        terms.total.backward()
        torch.nn.utils.clip_grad_norm_(self.weights.values(), self.setting.clip)
        warm = min(1.0, share / self.setting.warm) if self.setting.warm else 1.0
        for group in self.optimizer.param_groups:
            group["lr"] = self.setting.rate * max(0.01, warm * (1 + math.cos(math.pi * share)) / 2)
        self.optimizer.step()
        self.step += 1
        return float(terms.total.detach())

    @torch.no_grad()
    def held_loss(self, pictures: list[captions.Known], batches: int = 8) -> float:
        """Its loss on held-back pictures, the same ones and the same noise every time."""
        self.system.network.eval()
        rng = np.random.default_rng(1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            found = [
                float(self.system.loss(self.system.pairs(drawn(pictures, min(self.setting.batch, 24), rng), rng)).total)
                for _ in range(batches)
            ]
        return float(np.mean(found))


def drawn(pictures: list[captions.Known], count: int, rng: np.random.Generator) -> list[Captioned]:
    """Pictures of different sources with their sentences."""
    return [pictures[int(place)].told(rng) for place in rng.choice(len(pictures), count, replace=len(pictures) < count)]


def fitting(name: str) -> tuple[list[captions.Known], list[captions.Known]]:
    """The pictures that the system's card takes, one patient in five held back."""
    taken = registry.card(name).modalities
    pictures = [
        each for each in captions.known(data_root()) if ANY in taken or each.modality is None or each.modality in taken
    ]
    return captions.apart(pictures, lambda patient: zlib.crc32(patient.encode()) % 5 == 0)


def main() -> None:
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=SETTINGS)
    parser.add_argument("--setting", choices=("pocket", "paper"), default="pocket")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--out", type=Path, default=ROOT / "runs/two_tower")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    pupil = Pupil(given.name, given.setting, given.out)
    train, held = fitting(given.name)
    before = pupil.held_loss(held)
    print(f"{given.name}: {len(train)} pictures to learn from, {len(held)} held; held loss {before:.3f}", flush=True)
    begun = saved = time.monotonic()
    rng, losses = np.random.default_rng(pupil.step), []
    while (past := time.monotonic() - begun) < 60 * given.minutes:
        losses.append(pupil.learn(drawn(train, pupil.setting.batch, rng), rng, past / (60 * given.minutes)))
        if pupil.step % 50 == 0:
            print(f"step {pupil.step}: loss {np.mean(losses[-50:]):.3f}", flush=True)
        if time.monotonic() - saved > 60:
            pupil.save()
            saved = time.monotonic()
    pupil.save()
    after = pupil.held_loss(held)
    told = {"system": given.name, "setting": given.setting, "steps": pupil.step, "held": [before, after]}
    print(json.dumps(told))
    state = type(pupil.system).table.inverse(pupil.system.network.state_dict())
    contiguous = {key: each.contiguous() for key, each in state.items()}
    save_file(contiguous, given.out / f"{given.name}.{given.setting}.safetensors")


if __name__ == "__main__":
    main()
