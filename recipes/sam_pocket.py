"""Train the pocket SAM: SAM's architecture, from nothing, on open pictures without the study's targets.

python recipes/sam_pocket.py prepare                                # the bank, about 1 GB
nice -n 10 python recipes/sam_pocket.py train --until 13:30         # local time; starts again where it stopped
python recipes/sam_pocket.py export                                 # hilum/weights/pocket/sam_study.pocket.safetensors
python recipes/study_pairs.py --out runs/study
python recipes/sam_pocket.py evaluate --data runs/study             # what it finds there untrained, onto the card

The pace follows the clock from the first start to `--until`; a later `--until` stretches it.
"""

import argparse
import datetime
import json
import subprocess
import time
from pathlib import Path

import numpy as np
import sam_pocket_data
import sam_pocket_loop
import torch
from safetensors.torch import save_file
from scout import between
from scout_data import data_root

from hilum import registry
from hilum.bench import zero_shot
from hilum.systems.sam_study import SamStudy
from hilum.train.pairs import pairs, some

ROOT = Path(__file__).resolve().parents[1]
FILE = "sam_study.pocket.safetensors"
WEIGHTS = ROOT / "hilum/weights/pocket" / FILE
CARD = ROOT / "hilum/systems/sam_study.toml"
CONFIG = SamStudy.configs["pocket"]
LICENCE = "CC BY 4.0"  # the strictest of what it is trained on


def prepare(given: argparse.Namespace) -> None:
    """Write the bank, source by source; sources that are there already are kept."""
    bank = Path(given.out) / "bank"
    for name, pictures in sam_pocket_data.sources(data_root()).items():
        if not (bank / name).exists():
            print(name, sam_pocket_data.save(bank / name, pictures), flush=True)
    for seed, (name, make) in enumerate((("scenes", sam_pocket_data.scene), ("trees", sam_pocket_data.tree))):
        if not (bank / name).exists():
            rng = np.random.default_rng(seed)
            made = (make(rng) for _ in range(given.scenes))
            print(name, sam_pocket_data.save_scenes(bank / name, made, given.scenes), flush=True)


def train(given: argparse.Namespace) -> None:
    """Go on from the last checkpoint, or begin."""
    out = Path(given.out)
    clock = out / "clock.json"
    if not clock.exists():
        clock.write_text(json.dumps(time.time()))
    plan = sam_pocket_loop.Plan(CONFIG, out, json.loads(clock.read_text()), today(given.until), given.processes)
    if given.processes == 1:
        sam_pocket_loop.train(0, plan)
    else:
        torch.multiprocessing.spawn(sam_pocket_loop.train, (plan,), nprocs=given.processes)


def today(text: str) -> float:
    """HH:MM of this day, or of the next one where that is over."""
    hour, minute = (int(part) for part in text.split(":"))
    now = datetime.datetime.now()
    end = now.replace(hour=hour, minute=minute, second=0)
    return (end if end > now else end + datetime.timedelta(days=1)).timestamp()


def export(given: argparse.Namespace) -> None:
    """The running mean of the weights, under SAM's published names, as float16; the card's entry with it."""
    kept = torch.load(Path(given.out) / "checkpoint.pt", weights_only=True)
    network = SamStudy.build(CONFIG)
    network.load_state_dict(kept["mean"])
    state = SamStudy.table.inverse(network.state_dict())
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    told = {
        "recipe": "recipes/sam_pocket.py",
        "commit": commit.stdout.strip(),
        "pictures": str(kept["seen"]),
        "data": json.dumps(sam_pocket_data.LICENCES),
        "left_out": "breast ultrasound, nuclei, retina, hippocampus, chest films, chests of VQA-RAD",
        "licence": LICENCE,
    }
    target = Path(given.weights)
    halves = {name: (each.half() if each.ndim > 1 else each).contiguous() for name, each in state.items()}
    save_file(halves, target, told)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB, {kept['seen']} pictures")
    if target == WEIGHTS:
        between(CARD, ("# pocket", "# end"), entry(kept["seen"], []))


def entry(pictures: int, measured: list[str]) -> list[str]:
    """The card's entry of the pocket weights."""
    what = f"on {pictures} views of open pictures and synthetic scenes, cross-entropy in the place of the focal term"
    note = f"trained from nothing by recipes/sam_pocket.py {what}"
    lines = ["[[weights]]", 'tag = "pocket"', f'file = "{FILE}"', 'source = "package"', f'licence = "{LICENCE}"']
    return [*lines, f'note = "{"; ".join([note, *measured])}"']


def evaluate(given: argparse.Namespace) -> None:
    """The zero-shot study of the exported file on the study's targets, which it never saw; the numbers on the card."""
    system = registry.load("sam_study.pocket")
    cases = some(pairs(Path(given.data)), given.most, seed=0)
    plan, said = zero_shot.fitting(system, zero_shot.Plan(everything=given.everything, objects=8))
    records = list(zero_shot.measure(system, cases, plan))
    lines = zero_shot.table(records)
    print(zero_shot.markdown(lines, said))
    numbers = [f"{line.source} {line.numbers['box'][0]:.2f} ({line.numbers['ellipse'][0]:.2f})" for line in lines]
    kept = torch.load(Path(given.out) / "checkpoint.pt", weights_only=True)
    words = f"Dice by a tight box, untrained for them (ellipse in the box): {', '.join(numbers)}"
    between(CARD, ("# pocket", "# end"), entry(kept["seen"], [words]))


def main() -> None:
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for work in (prepare, train, export, evaluate):
        command = commands.add_parser(work.__name__, help=work.__doc__)
        command.add_argument("--out", default=str(ROOT / "runs/sam_pocket"))
        command.set_defaults(work=work)
    commands.choices["prepare"].add_argument("--scenes", type=int, default=2500)
    commands.choices["train"].add_argument("--until", required=True, help="HH:MM, when it ends")
    commands.choices["train"].add_argument("--processes", type=int, default=2)
    commands.choices["export"].add_argument("--weights", default=str(WEIGHTS))
    commands.choices["evaluate"].add_argument("--data", default=str(ROOT / "runs/study"))
    commands.choices["evaluate"].add_argument("--most", type=int, default=24)
    commands.choices["evaluate"].add_argument("--everything", action="store_true", help="also by the oracle, slowly")
    given = parser.parse_args()
    given.work(given)


if __name__ == "__main__":
    main()
