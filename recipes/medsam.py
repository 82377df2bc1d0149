"""Train MedSAM: SAM's ViT-B tuned as a whole but for its prompt encoder, by boxes that are a little too large.

python recipes/pairs.py --out runs/pairs                                # labelled pictures; or your own folder
python recipes/medsam.py train --data FOLDER                            # from SAM's ViT-B in the store
nice -n 19 python recipes/medsam.py train --data FOLDER --setting pocket --minutes 2

The rate and weight decay are the published code's; 150 epochs and a batch of 160 are remembered, unverified, and meant
for 20 devices: here the batch is one device's and the steps are ours. There is no SAM of the pocket's size, so the
pocket trains from nothing. The weights go to runs/medsam/<setting>.safetensors under the published names, for
`hilum.load("medsam.vit_b", weights=that file)`; a run that was stopped goes on. One patient in five is held back.

Measured by the pocket line in 3 minutes of two cores, breast ultrasound of recipes/pairs.py: Dice of held cases by a
box 0.05 -> 0.63 in 896 steps. It proves that the recipe learns, not quality: an ellipse in the box scores 0.88.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors.torch import load_file, save_file

from hilum import registry
from hilum.io.atomic import replacing
from hilum.parts.sam import BASE, SamConfig
from hilum.systems.medsam import MedSam
from hilum.train.loop import Course, Material, Plan, Run
from hilum.train.pairs import pairs, split
from hilum.train.samples import read_cases
from hilum.weights import store

ROOT = Path(__file__).resolve().parents[1]
SMALL = SamConfig(
    width=64,
    depth=3,
    heads=4,
    global_blocks=(1, 2),
    image_size=128,
    patch=8,
    window=5,
    channels=32,
    decoder_heads=4,
    decoder_hidden=128,
    quality_hidden=32,
)


@dataclass(frozen=True, slots=True)
class Setting:
    """Sizes and plan; `whole` trains from nothing."""

    config: SamConfig
    plan: Plan
    whole: bool = False


SETTINGS = {
    "paper": Setting(BASE, Plan(steps=100_000, batch=8, rate=1e-4, weight_decay=0.01, every=1000, minutes=1e9)),
    "pocket": Setting(SMALL, Plan(steps=4000, batch=8, rate=1e-3, every=200, patience=20), whole=True),
}


def begin(setting: Setting) -> MedSam:
    """SAM's published tensors, or fresh ones where there is no SAM of this size."""
    if setting.whole:
        return MedSam.seeded(setting.config, 0)
    found = store.find(registry.card("sam_study"), "vit_b")
    return MedSam.begun(setting.config, load_file(found.path))


def train(given: argparse.Namespace) -> Course:
    """Until the plan is spent; the weights that were best on the held patients are written."""
    setting = SETTINGS[given.setting]
    plan = setting.plan if given.minutes is None else replace(setting.plan, minutes=given.minutes)
    known, held = split(pairs(given.data), 0.2, seed=plan.seed)
    system = begin(setting)
    given.out.mkdir(parents=True, exist_ok=True)
    run = Run(system, plan, given.out / f"{given.setting}.training.safetensors")
    course = run.train(Material(read_cases(known), read_cases(held)), told)
    state = MedSam.table.inverse(system.network.state_dict())
    with replacing(given.out / f"{given.setting}.safetensors", force=True) as temporary:
        save_file({name: each.contiguous() for name, each in state.items()}, temporary)
    print(f"{course.ended}: held Dice {course.held[0][1]:.3f} -> {course.best_score:.3f}, {course.step} steps")
    return course


def told(course: Course) -> None:
    """One line at each look at the held part."""
    step, score = course.held[-1]
    print(f"step {step}: loss {course.losses[-1]:.3f}, held Dice {score:.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("train", help="train, or go on")
    command.add_argument("--data", type=Path, required=True)
    command.add_argument("--setting", choices=SETTINGS, default="paper")
    command.add_argument("--minutes", type=float)
    command.add_argument("--out", type=Path, default=ROOT / "runs/medsam")
    command.set_defaults(work=train)
    given = parser.parse_args()
    given.work(given)


if __name__ == "__main__":
    main()
