"""Train scout, the house's own promptable segmenter, from the data folder (HILUM_DATA) to weights that ship.

python recipes/scout.py prepare                        # the bank of crops, about 3 GB
nice -n 19 python recipes/scout.py train --hours 10    # by the clock; starts again where it stopped
python recipes/scout.py export                         # hilum/weights/pocket/scout.safetensors
python recipes/scout.py evaluate                       # the tables of the card, from that file
python recipes/scout.py calibrate                      # the confidence, on held-back images of known kinds
python recipes/scout.py export                         # with the confidence; then: evaluate --kept
"""

import argparse
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scout_cases
import scout_data
import scout_table
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from hilum.systems.scout import Scout

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT / "hilum/weights/pocket/scout.safetensors"
SCENES = 1500
LICENCES = {
    "nuclei": "BBBC038, CC0",
    "ultrasound": "BUSI (Al-Dhabyani 2020), with citation",
    "hippocampus": "Medical Segmentation Decathlon task 4, CC BY-SA 4.0",
    "chase, vessels": "CHASE_DB1, CC BY 4.0",
    "bodies": "silhouettes in brain_mri (MIT) and VQA-RAD (CC0), by threshold",
    "brain": "MNI152 template, structures by brainchop's network (MIT)",
    "threshold": "CT_pitch (niivue), open",
    "regions": "textures of brain_mri (MIT), VQA-RAD (CC0), BUSI, OpenSlide CMU-1 (CC0), GTEx/TCGA tiles",
    "scenes": "synthetic",
}


def prepare(given: argparse.Namespace) -> None:
    """Write the bank, source by source; sources that are there already are kept."""
    import scout_brain
    import scout_shapes

    root, bank = scout_data.data_root(), Path(given.out) / "bank"
    makers = {
        "nuclei": scout_data.nuclei,
        "ultrasound": scout_data.ultrasound,
        "hippocampus": scout_data.hippocampus,
        "chase": scout_data.chase,
        "vessels": scout_data.vessels,
        "bodies": scout_brain.bodies,
        "threshold": scout_brain.threshold,
        "brain": scout_brain.brain,
        "regions": lambda root, rng: scout_shapes.regions(scout_data.textures(root, share=0.5), rng, per_image=3),
    }
    for name, make in makers.items():
        if not (bank / name).exists():
            framed = scout_data.whole if name == "vessels" else scout_data.context
            print(name, scout_data.save(bank / name, make(root, np.random.default_rng(0)), framed), flush=True)
    if not (bank / "scenes").exists():
        made = scout_shapes.scenes(np.random.default_rng(5), SCENES)
        (bank / "scenes").mkdir(parents=True)
        for split, part in (("train", made[100:]), ("held", made[:100])):
            np.save(bank / "scenes" / f"{split}.scene.npy", part)


def train(given: argparse.Namespace) -> None:
    """Go on from the last checkpoint, or begin."""
    import scout_loop

    out, now = Path(given.out), time.time()
    clock = out / "clock.json"
    if not clock.exists():
        clock.write_text(json.dumps([now, now + 3600 * given.hours]))
    begin, end = json.loads(clock.read_text())
    plan = scout_loop.Plan(out, begin, end, given.processes, Path(given.warm) if given.warm else None)
    if given.processes == 1:
        scout_loop.train(0, plan)
    else:
        torch.multiprocessing.spawn(scout_loop.train, (plan,), nprocs=given.processes)


def calibrate(given: argparse.Namespace) -> None:
    """Fit the confidence to the Dice of held-back images of known kinds, as `evaluate` kept them."""
    out = Path(given.out)
    rounds = scout_table.load(out / "rounds.json", from_checkpoint(out))
    found = [one for source in scout_cases.KNOWN for case in rounds[source] for one in case if one.features]
    boxed = [one for one in found if one.prompt.startswith(("box", "shuffled"))]
    boxless = [one for one in found if not one.prompt.startswith(("box", "shuffled"))]
    weights = [scout_table.fitted(part).tolist() for part in (boxless, boxed)]
    (out / "calibration.json").write_text(json.dumps(weights))
    print(json.dumps(weights))


def export(given: argparse.Namespace) -> None:
    """The running mean of the weights, as float16, with what a reader should know of them."""
    out = Path(given.out)
    scout = from_checkpoint(out)
    state = {name: tensor.half() if tensor.ndim > 1 else tensor for name, tensor in scout.network.state_dict().items()}
    state["calibration"] = scout.network.calibration
    seen = torch.load(out / "checkpoint.pt", weights_only=True)["seen"]
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    told = {
        "recipe": "recipes/scout.py",
        "commit": commit,
        "samples": str(seen),
        "data": json.dumps(LICENCES),
        "left_out": ", ".join(scout_cases.UNSEEN),
        "licence": "CC BY-SA 4.0",
    }
    WEIGHTS.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, WEIGHTS, told)
    print(f"{WEIGHTS.relative_to(ROOT)}: {WEIGHTS.stat().st_size / 1e6:.1f} MB, {seen} samples")


def evaluate(given: argparse.Namespace) -> None:
    """Measure a weights file and print the tables; they are written into docs/scout.md and, short, onto the card."""
    scout = Scout(Scout.build(Scout.configs["pocket"]).eval(), Scout.configs["pocket"])
    scout.network.load_state_dict({name: tensor.float() for name, tensor in load_file(given.weights).items()})
    with safe_open(given.weights, "pt") as file:
        print(f"weights after {file.metadata()['samples']} samples; Dice, mean [95 % interval over objects]\n")
    kept = Path(given.out) / "rounds.json"
    if given.again:
        for source, found in measure(scout, given.sources or (*scout_cases.UNSEEN, *scout_cases.KNOWN), given.most):
            before = scout_table.load(kept, scout) if kept.exists() else {}
            scout_table.save(kept, before | {source: found})
            print(source, len(found), flush=True)
    rounds = scout_table.load(kept, scout)
    if given.sources:
        print("\n".join(scout_table.table(rounds)))
        return
    lines = scout_table.table(rounds)
    lines.append(scout_table.group(rounds, "never seen", scout_cases.UNSEEN))
    lines.append(scout_table.group(rounds, "known kinds", scout_cases.KNOWN))
    lines += ["", *scout_table.confidence(rounds)]
    print("\n".join(lines))
    between(ROOT / "docs/scout.md", ("<!-- measured -->", "<!-- end -->"), lines)
    summary = [f'  "{line}",' for line in scout_table.summary(rounds, scout_cases.UNSEEN)]
    between(ROOT / "hilum/systems/scout.toml", ("  # measured", "  # end"), summary)


def between(page: Path, marks: tuple[str, str], lines: list[str]) -> None:
    """Replace what stands between two marked lines."""
    head, rest = page.read_text(encoding="utf-8").split(marks[0] + "\n")
    tail = rest.split(marks[1] + "\n")[1]
    page.write_text("\n".join([head + marks[0], *lines, marks[1], tail]), encoding="utf-8")


def measure(scout: Scout, sources: tuple[str, ...], most: int) -> Iterator[tuple[str, list[list[scout_table.Round]]]]:
    """Every prompt on at most `most` objects of each source."""
    for source in sources:
        cases = scout_cases.cases(scout_data.data_root(), source, most=most)
        others = [*cases[1:], *cases[:1]]
        yield source, [list(scout_table.measured(scout, *pair)) for pair in zip(cases, others, strict=True)]


def from_checkpoint(out: Path) -> Scout:
    """The running mean of the weights, with the fitted confidence where there is one."""
    scout = Scout(Scout.build(Scout.configs["pocket"]).eval(), Scout.configs["pocket"])
    scout.network.load_state_dict(torch.load(out / "checkpoint.pt", weights_only=True)["mean"])
    if (out / "calibration.json").exists():
        scout.network.calibration.copy_(torch.tensor(json.loads((out / "calibration.json").read_text())))
    return scout


def main() -> None:
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for work in (prepare, train, calibrate, export, evaluate):
        command = commands.add_parser(work.__name__, help=work.__doc__)
        command.add_argument("--out", default=str(ROOT / "runs/scout"))
        command.set_defaults(work=work)
    commands.choices["train"].add_argument("--hours", type=float, default=2.0)
    commands.choices["train"].add_argument("--warm", help="a weights file to start from")
    commands.choices["train"].add_argument("--processes", type=int, default=2)
    commands.choices["evaluate"].add_argument("--most", type=int, default=80)
    commands.choices["evaluate"].add_argument("--weights", default=str(WEIGHTS))
    commands.choices["evaluate"].add_argument("--sources", nargs="*", help="only these, printed and not written")
    commands.choices["evaluate"].add_argument("--kept", dest="again", action="store_false", help="answers as kept")
    given = parser.parse_args()
    given.work(given)


if __name__ == "__main__":
    main()
