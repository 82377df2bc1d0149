"""Train AutoSAM: with the paper's numbers from SAM's weights and few labelled volumes, or a pocket one on hippocampi.

python recipes/autosam.py train --data runs/acdc --out runs/autosam      # images/, labels/ with 1, 2, 3; SAM imported
python recipes/autosam.py train --head cnn --size vit_b --volumes 5 --data … --out …
nice -n 19 python recipes/autosam.py train --setting pocket --minutes 2 --out runs/autosam-pocket
python recipes/autosam.py evaluate --out runs/autosam-pocket --setting pocket  # Dice in whole volumes never trained on

The pocket setting reads $HILUM_DATA, default ../shared/data. SAM's weights are not here, so its small encoder rests at
random: it shows that the method learns, not how well it does from SAM's.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from autosam_twists import twisted
from safetensors.torch import load_file, save_file
from scout_data import data_root

from hilum import registry
from hilum.capabilities.trainable import Sample
from hilum.parts.sam import BASE, HUGE, LARGE, SamConfig
from hilum.systems.autosam import HEADING, HEART, AutoSam, AutoSamConfig, CnnHead, DecoderHead, LinearHead
from hilum.train.pairs import Pair, pairs
from hilum.train.samples import read_cases
from hilum.train.score import dice
from hilum.weights import store

ROOT = Path(__file__).resolve().parents[1]
SIZES = {"vit_b": BASE, "vit_l": LARGE, "vit_h": HUGE}
HEADS = {"decoder": DecoderHead(), "cnn": CnnHead(), "linear": LinearHead()}
POCKET_SAM = SamConfig(
    width=64,
    depth=2,
    heads=2,
    global_blocks=(1,),
    image_size=48,
    patch=4,
    window=6,
    channels=64,
    decoder_heads=4,
    decoder_hidden=128,
    quality_hidden=32,
)
POCKET_HEADS = {"decoder": DecoderHead(places=POCKET_SAM.grid), "cnn": CnnHead(depth=2, top=32), "linear": LinearHead()}


@dataclass(frozen=True, slots=True)
class Plan:
    """The published training script's numbers (scripts/main_autosam_seg.py)."""

    rate: float = 5e-4  # Adam, without decay
    batch: int = 4
    epochs: int = 120
    settled: int = 10  # epochs before the rate may be lowered, to a tenth after ten epochs without gain
    volumes: int = 1  # labelled ones to train on
    seed: int = 0


PAPER, POCKET = Plan(), Plan(rate=2e-3, batch=8, epochs=1000, settled=1000, volumes=20)


def configured(given: argparse.Namespace) -> AutoSamConfig:
    """Sizes, head and classes as they were asked for."""
    if given.setting == "pocket":
        return AutoSamConfig(POCKET_SAM, POCKET_HEADS[given.head], ("anterior", "posterior"), picture=48)
    return AutoSamConfig(SIZES[given.size], HEADS[given.head], tuple(given.classes.split(",")))


def begun(config: AutoSamConfig, given: argparse.Namespace, seed: int) -> AutoSam:
    """From SAM's weights; in the pocket setting at random."""
    if given.setting == "pocket":
        return AutoSam.seeded(config, seed)
    sam = load_file(store.find(registry.card("sam_study"), given.size).path)
    return AutoSam.begun(config, sam, seed=seed)


def material(given: argparse.Namespace) -> tuple[list[Pair], list[Pair]]:
    """Volumes to train on, drawn by the seed, and those held back: at most 30 in the pocket setting, else the rest."""
    folder = hippocampi(Path(given.out)) if given.setting == "pocket" else Path(given.data)
    found = pairs(folder)
    order = np.random.default_rng(plan_of(given).seed).permutation(len(found))
    held = max(1, len(found) - plan_of(given).volumes)
    held = min(30, len(found) // 3) if given.setting == "pocket" else held
    drawn = [found[number] for number in order]
    return drawn[held : held + plan_of(given).volumes], drawn[:held]


def hippocampi(out: Path) -> Path:
    """The Decathlon's hippocampi (CC BY-SA 4.0), unpacked once."""
    folder = out / "hippocampus"
    if not folder.is_dir():
        with (
            zipfile.ZipFile(data_root() / "hippocampus/hippocampus.zip") as archive,
            tempfile.TemporaryDirectory(dir=out) as unpacked,
        ):
            archive.extractall(unpacked)
            os.rename(unpacked, folder)
            os.mkdir(unpacked)  # for its own end
    return folder


def plan_of(given: argparse.Namespace) -> Plan:
    """The setting's numbers, and the volumes that were asked for."""
    plan = POCKET if given.setting == "pocket" else PAPER
    return replace(plan, volumes=given.volumes) if given.volumes else plan


def train(given: argparse.Namespace) -> None:
    """Until the epochs or the minutes are over; goes on from the last checkpoint."""
    plan, out = plan_of(given), Path(given.out)
    out.mkdir(parents=True, exist_ok=True)
    system = begun(configured(given), given, plan.seed).placed(given.device, "torch")
    cases = read_cases(material(given)[0], system.targets())
    samples = [sample for case in cases for sample in case.samples]
    course = Course(system, plan, out / f"{given.head}.pt")
    course.resume()
    print(f"{len(cases)} volumes, {len(samples)} slices; from epoch {course.epoch}", flush=True)
    begin = time.process_time()
    while course.epoch < plan.epochs:
        last = begin + 60 * given.minutes if given.minutes else float("inf")
        numbers = course.learn(samples, twist=not given.untwisted, last=last)
        if course.epoch % max(1, 200 // len(samples)) == 0 or course.epoch == plan.epochs:
            print(f"epoch {course.epoch}, {time.process_time() - begin:.0f} s: {numbers}", flush=True)
        if time.process_time() > last:
            break
    course.save()
    export(system, out / f"{given.head}.safetensors")
    evaluate(given)


class Course:
    """One training: the optimiser, the schedule, where it is, and the file it is kept in."""

    def __init__(self, system: AutoSam, plan: Plan, file: Path):
        self.system, self.plan, self.file, self.epoch = system, plan, file, 0
        self.weights = {name: each for name, each in system.network.named_parameters() if each.requires_grad}
        self.adam = torch.optim.Adam(self.weights.values(), lr=plan.rate)
        self.schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(self.adam)

    def learn(self, samples: Sequence[Sample], *, twist: bool, last: float) -> dict[str, float]:
        """An epoch in an order of its own, cut short at the time `last`; the schedule hears its last batch's loss."""
        rng = np.random.default_rng((self.plan.seed, self.epoch))
        self.system.network.train()
        order = rng.permutation(len(samples))
        for start in range(0, len(samples), self.plan.batch):
            some = [samples[number] for number in order[start : start + self.plan.batch]]
            batch = self.system.batch(some, rng)
            terms = self.system.loss(twisted(batch, rng) if twist else batch)
            self.adam.zero_grad(set_to_none=True)
            terms.total.backward()
            self.adam.step()
            if time.process_time() > last:
                break
        if self.epoch >= self.plan.settled:
            self.schedule.step(float(terms.total.detach()))
        self.epoch += 1
        self.system.network.eval()
        return {name: round(value, 3) for name, value in terms.numbers().items()}

    def save(self) -> None:
        """Atomic: written beside, then renamed."""
        state = {"network": self.system.network.state_dict(), "adam": self.adam.state_dict(), "epoch": self.epoch}
        torch.save({**state, "schedule": self.schedule.state_dict()}, self.file.with_suffix(".part"))
        os.replace(self.file.with_suffix(".part"), self.file)

    def resume(self) -> None:
        """From the file, if there is one."""
        if self.file.is_file():
            kept = torch.load(self.file, weights_only=True, map_location=self.system.device)
            self.system.network.load_state_dict(kept["network"])
            self.adam.load_state_dict(kept["adam"])
            self.schedule.load_state_dict(kept["schedule"])
            self.epoch = kept["epoch"]


def export(system: AutoSam, file: Path) -> None:
    """The whole network under the published names, with the classes in the file's head."""
    state = AutoSam.table.inverse(system.network.state_dict())
    told = {HEADING: system.config.told(), "recipe": "recipes/autosam.py"}
    save_file({name: tensor.cpu().contiguous() for name, tensor in state.items()}, file, told)
    print(f"{file}: {file.stat().st_size / 1e6:.1f} MB", flush=True)


def evaluate(given: argparse.Namespace) -> None:
    """Dice of each class in the volumes held back, asked through the system's own door."""
    system = registry.load("autosam", weights=Path(given.out) / f"{given.head}.safetensors", backend="torch")
    if system.config != configured(given):
        raise SystemExit("this file was trained with other sizes or classes than these options say")
    found = []
    for pair in material(given)[1][: given.most]:
        image = pair.image()
        labels, answer = pair.labels(image), system.ask(image)
        masks = dict(zip(answer.names, answer.masks, strict=True))
        nothing = np.zeros(image.grid, dtype=bool)
        found.append([dice(labels == n, masks.get(name, nothing)) for n, name in enumerate(system.targets(), 1)])
    means = np.mean(found, axis=0)
    print(
        f"{given.head}, {len(found)} volumes held back: "
        + ", ".join(f"{name} {mean:.3f}" for name, mean in zip(system.targets(), means, strict=True))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for work in (train, evaluate):
        command = commands.add_parser(work.__name__, help=work.__doc__)
        command.add_argument("--setting", choices=("paper", "pocket"), default="paper")
        command.add_argument("--head", choices=HEADS, default="decoder")
        command.add_argument("--size", choices=SIZES, default="vit_l", help="of SAM; the published script's is vit_l")
        command.add_argument("--classes", default=",".join(HEART), help="names of the labels 1, 2, …")
        command.add_argument("--data", default=str(ROOT / "runs/acdc"), help="folder of volumes: images/, labels/")
        command.add_argument("--volumes", type=int, default=0, help="to train on; 0: the setting's number")
        command.add_argument("--most", type=int, default=30, help="volumes to evaluate on, at most")
        command.add_argument("--out", default=str(ROOT / "runs/autosam"))
        command.set_defaults(work=work)
    commands.choices["train"].add_argument(
        "--minutes", type=float, default=0.0, help="of the processor, this session; 0: no limit"
    )
    commands.choices["train"].add_argument("--device", default="auto")
    commands.choices["train"].add_argument("--untwisted", action="store_true", help="leave the pictures as they are")
    given = parser.parse_args()
    given.work(given)


if __name__ == "__main__":
    main()
