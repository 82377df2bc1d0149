"""Train SAMed: with the paper's numbers from SAM's weights on the Synapse cases, or a pocket one on real hippocampi.

python recipes/samed.py paper --root RawData/Training --out runs/samed        # img/, label/; SAM's weights imported
python recipes/samed.py paper --tag vit_h --root … --out …                    # SAMed_h: two numbers differ
nice -n 19 python recipes/samed.py pocket --minutes 2 --out runs/samed-pocket # $HILUM_DATA, default ../shared/data
"""

from __future__ import annotations

import argparse
import json
import math
import re
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import nibabel
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from scout_data import data_root

import hilum
from hilum import registry
from hilum.capabilities.trainable import Sample
from hilum.parts.sam import SamConfig
from hilum.systems.samed import ORGANS, Samed, SamedConfig, Taught
from hilum.values.image import Image, from_array
from hilum.weights import store

SYNAPSE = {"spleen": 1, "right kidney": 2, "left kidney": 3, "gallbladder": 4}  # numbers in the data set's label maps
SYNAPSE |= {"liver": 6, "stomach": 7, "aorta": 8, "pancreas": 11}
TEST_CASES = (1, 2, 3, 4, 8, 22, 25, 29, 32, 35, 36, 38)  # the published preparation's


@dataclass(frozen=True)
class Plan:
    """The published training command's numbers; two cards with 12 slices each make the batch."""

    rate: float = 0.005
    weight_decay: float = 0.1
    warmup: int = 250  # steps
    power: float = 0.9
    epochs: int = 200  # of the schedule
    stop: int = 160  # epochs that are run
    batch: int = 24
    every: int = 20  # epochs between two files
    minutes: float | None = None  # of training at most
    seed: int = 1234


PAPER = {"vit_b": Plan(), "vit_b_s": Plan(), "vit_h": Plan(power=7, epochs=400, stop=300)}
POCKET = SamedConfig(
    SamConfig(
        width=96,
        depth=4,
        heads=3,
        global_blocks=(1, 3),
        image_size=64,
        patch=8,
        window=4,
        channels=64,
        mask_hidden=8,
        decoder_heads=4,
        decoder_hidden=128,
        quality_hidden=32,
    ),
    classes=("anterior hippocampus", "posterior hippocampus"),
    taught_size=48,
)
POCKET_PLAN = Plan(rate=0.002, warmup=50, epochs=20, stop=20, batch=16, every=100)


def pace(step: int, total: int, plan: Plan) -> float:
    """The rate of a step from 0: linear warm-up, then polynomial. As published, a step uses the rate that was set
    after the one before it, so the first two are equal and the schedule's length counts from the warm-up's end."""
    set_after = max(step - 1, 0)
    if set_after < plan.warmup:
        return plan.rate * (set_after + 1) / plan.warmup
    return plan.rate * (1 - (set_after - plan.warmup) / total) ** plan.power


def train(system: Samed, slices: Sequence[Taught], plan: Plan, keep: Callable[[int], None]) -> list[float]:
    """The losses, step by step; `keep` is told the epochs after which a file is due."""
    weights = [weight for weight in system.network.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=plan.rate, betas=(0.9, 0.999), weight_decay=plan.weight_decay)
    rng, begun, losses = np.random.default_rng(plan.seed), time.monotonic(), []
    per_epoch = math.ceil(len(slices) / plan.batch)
    system.network.train()
    for epoch in range(plan.stop):
        order = rng.permutation(len(slices))
        for start in range(0, len(slices), plan.batch):
            for group in optimiser.param_groups:
                group["lr"] = pace(len(losses), plan.epochs * per_epoch, plan)
            batch = system.joined([slices[n] for n in order[start : start + plan.batch]], rng)
            terms = system.loss(batch)
            optimiser.zero_grad()
            terms.total.backward()
            optimiser.step()
            losses.append(float(terms.total.detach()))
            if len(losses) % 20 == 1:
                print(f"epoch {epoch} step {len(losses)} loss {losses[-1]:.3f} {terms.numbers()}", flush=True)
            if plan.minutes and time.monotonic() - begun > 60 * plan.minutes:
                system.network.eval()
                return losses
        if (epoch + 1) % plan.every == 0:
            keep(epoch)
    system.network.eval()
    return losses


def planes(image: Image, masks: np.ndarray) -> Iterator[Sample]:
    """Every plane of a volume with the masks (classes, z, y, x) on it, as shown to the network."""
    section = image.section()
    shown = section.planes(masks)
    for number in range(shown.shape[1]):
        yield Sample(image.plane(section, number), np.ascontiguousarray(shown[:, number]))


def case_dice(truth: np.ndarray, mask: np.ndarray) -> float:
    """2|A∩B| / (|A| + |B|); not a number where the organ is not there."""
    return 2 * float((truth & mask).sum()) / float(truth.sum() + mask.sum()) if truth.any() else math.nan


def published_case_dice(truth: np.ndarray, mask: np.ndarray) -> float:
    """As the published test counts a case: where the organ is not there, 1 if something was found and 0 if nothing was.

    That is odd (it rewards what is wrong), and kept here only to compare with published tables.
    """
    if truth.any() and mask.any():
        return case_dice(truth, mask)
    return 1.0 if mask.any() else 0.0


def evaluate(system: Samed, cases: Sequence[tuple[Image, np.ndarray]]) -> dict[str, dict[str, float | None]]:
    """Mean Dice of each class over the cases, by both rules."""
    rules = {"dice": case_dice, "published rule": published_case_dice}
    found: dict[str, list[list[float]]] = {rule: [] for rule in rules}
    for image, masks in cases:
        answer = system.ask(image)
        named = dict(zip(answer.names, answer.masks, strict=True))
        nothing = np.zeros(masks.shape[1:], dtype=bool)
        pairs = [(truth, named.get(name, nothing)) for name, truth in zip(system.targets(), masks, strict=True)]
        for rule, judge in rules.items():
            found[rule].append([judge(truth, mask) for truth, mask in pairs])
    return {
        rule: {name: mean(column) for name, column in zip(system.targets(), zip(*rows, strict=True), strict=True)}
        for rule, rows in found.items()
    }


def mean(scores: Sequence[float]) -> float | None:
    """Over the cases that have one; none where no case has."""
    there = [score for score in scores if not math.isnan(score)]
    return round(sum(there) / len(there), 4) if there else None


def save(system: Samed, path: Path) -> None:
    """Under the published file's names: what was trained, and, where no SAM of this size exists, the rest too."""
    whole = Samed.table.inverse(system.network.state_dict())
    lent = system.config in Samed.configs.values()
    kept = {name: each.contiguous().cpu() for name, each in whole.items() if Samed.carries(name) or not lent}
    save_file(kept, path)


def synapse(root: Path, *, test: bool) -> Iterator[tuple[Image, np.ndarray]]:
    """The cases of the challenge's training folder that are the test's, or the others."""
    for path in sorted((root / "img").glob("img*.nii.gz")):
        number = re.sub(r"\D", "", path.name.partition(".")[0])
        if (int(number) in TEST_CASES) == test:
            labels = hilum.read(root / "label" / f"label{number}.nii.gz").array[0]
            yield hilum.read(path), np.stack([labels == SYNAPSE[organ] for organ in ORGANS])


def hippocampi() -> Iterator[tuple[Image, np.ndarray]]:
    """Real T1 crops with their two parts; each volume's own range as 8-bit greys, which samed takes as 0..1."""
    archive = zipfile.ZipFile(data_root() / "hippocampus/hippocampus.zip")
    for name in sorted(each for each in archive.namelist() if re.fullmatch(r"images/.+\.nii(\.gz)?", each)):
        volume, labels = (opened(archive, each) for each in (name, name.replace("images/", "labels/")))
        low, high = np.percentile(volume, (0.5, 99.5))
        greys = np.clip((volume - low) / (high - low) * 255, 0, 255).astype(np.uint8)
        yield from_array(greys[None], spacing=(1.0, 1.0, 1.0)), np.stack([labels == 1, labels == 2])


def opened(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """A NIfTI in the archive, its axes (z, y, x)."""
    import gzip

    content = archive.read(name)
    content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    return np.asarray(nibabel.Nifti1Image.from_bytes(content).dataobj).T  # (x, y, z) -> (z, y, x)


def paper(given: argparse.Namespace) -> None:
    """The published training: SAM's weights from the store, Synapse's 18 cases, tested on the other 12."""
    card, plan = registry.card("samed"), replace(PAPER[given.tag], minutes=given.minutes)
    entry = card.entry(given.tag)
    assert entry is not None
    base, _, tag = entry.base.partition(".")
    sam = load_file(store.find(registry.card(base), tag).path)
    system = Samed.begun(Samed.configs[given.tag], sam, seed=plan.seed).placed(given.device, "torch")
    slices = [
        system.taught(sample) for image, masks in synapse(given.root, test=False) for sample in planes(image, masks)
    ]
    print(f"{len(slices)} slices")
    losses = train(system, slices, plan, lambda epoch: save(system, given.out / f"epoch_{epoch}.safetensors"))
    finish(system, plan, losses, list(synapse(given.root, test=True)), given.out)


def pocket(given: argparse.Namespace) -> None:
    """A small one from nothing: no SAM of its size exists, so its encoder is trained too."""
    torch.set_num_threads(1)
    cases = list(hippocampi())
    held, taught = cases[::5], [case for number, case in enumerate(cases) if number % 5]
    plan = replace(POCKET_PLAN, minutes=given.minutes)
    system = Samed.seeded(POCKET, plan.seed)
    system.network.image_encoder.requires_grad_(True)
    slices = [system.taught(sample) for image, masks in taught for sample in planes(image, masks) if sample.masks.any()]
    print(f"{len(taught)} volumes with {len(slices)} slices to learn from, {len(held)} volumes held back")
    losses = train(system, slices, plan, lambda epoch: None)
    finish(system, plan, losses, held[: given.cases], given.out)


def finish(system: Samed, plan: Plan, losses: list[float], cases: list[tuple[Image, np.ndarray]], out: Path) -> None:
    """The last file, and what became of the run."""
    save(system, out / "samed.safetensors")
    means = [round(float(np.mean(part)), 4) for part in np.array_split(np.array(losses), 10) if len(part)]
    told = {"plan": asdict(plan), "steps": len(losses), "losses": means, "cases": len(cases)}
    told["held"] = evaluate(system, cases)
    (out / "run.json").write_text(json.dumps(told, indent=1))
    print(json.dumps({"steps": len(losses), "losses by tenths": means, "held": told["held"]}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for run in (paper, pocket):
        command = commands.add_parser(run.__name__, help=run.__doc__)
        command.set_defaults(run=run)
        command.add_argument("--out", type=Path, default=Path(f"runs/samed-{run.__name__}"))
        command.add_argument("--minutes", type=float, default=None if run is paper else 2.0)
        if run is paper:
            command.add_argument("--root", type=Path, required=True)
            command.add_argument("--tag", choices=tuple(PAPER), default="vit_b")
            command.add_argument("--device", default="auto")
        else:
            command.add_argument("--cases", type=int, default=29, help="held volumes that are judged")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    given.run(given)


if __name__ == "__main__":
    main()
