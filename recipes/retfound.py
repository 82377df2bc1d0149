"""Pre-train and tune RETFound: with the paper's numbers on your own pictures, or a pocket one on real photographs.

python recipes/retfound.py pretrain --root pictures/ --start mae_large.safetensors   # He et al.'s MAE, its own names
python recipes/retfound.py tune --root classes/ --tag mae_nature_cfp                 # a folder for each class
nice -n 19 python recipes/retfound.py pocket --minutes 2                             # $HILUM_DATA
"""

from __future__ import annotations

import argparse
import json
import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from pictures import pictures
from PIL import Image as Pillow
from safetensors.torch import load_file, save_file
from schedule import Cosine

import hilum
from hilum.bench import probe
from hilum.bench.classes import measures
from hilum.capabilities.trainable import Sample
from hilum.io.folder import images_under
from hilum.nn.vit import VitConfig
from hilum.objectives.masked import Masking, patchified
from hilum.parts.imagenet_frame import DEVIATION, MEAN, Picture, opened_as_rgb
from hilum.parts.layer_decay import decayed
from hilum.systems.retfound import CFP, MaskedBatch, RetFound, RetFoundConfig
from hilum.values.image import from_array
from hilum.weights.rename import fill

FEW = np.zeros((0, 1, 1), dtype=bool)  # pictures without masks


@dataclass(frozen=True)
class Pretraining:
    """Numbers that the sheet gives from memory (remembered, unverified) but the weight decay, the code's default."""

    batch: int = 1792
    at_once: int = 64  # pictures of a batch that are in memory together; the house's own
    epochs: float = 800
    warm_up: float = 15  # epochs
    rate: float = 1e-3  # the paper's; the code's default is 1e-3 times batch / 256
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)
    minutes: float = math.inf
    seed: int = 0


@dataclass(frozen=True)
class Tuning:
    """The published command for a disease; the rate is base * batch / 256. The last rate is remembered, unverified."""

    batch: int = 16
    epochs: int = 50
    warm_up: int = 10
    base: float = 5e-3
    last: float = 1e-6
    layer_decay: float = 0.65
    weight_decay: float = 0.05
    drop_path: float = 0.2
    augment: int = 9  # tenths; upstream's RandAugment is timm's, this one is torchvision's
    erase: float = 0.25
    seed: int = 0


POCKET = RetFoundConfig(
    encoder=VitConfig(image_size=64, patch=8, dim=96, depth=4, heads=3),
    decoder=VitConfig(image_size=64, patch=8, dim=48, depth=2, heads=3),
)
POCKET_PRETRAINING = Pretraining(batch=32, at_once=32, epochs=600, warm_up=15, rate=2e-3)
POCKET_TUNING = Tuning(batch=8, epochs=12, warm_up=2, base=2e-2, layer_decay=0.75, drop_path=0.1)


def pretrained(system: RetFound, seen: Sequence[Picture], plan: Pretraining) -> list[float]:
    """Trains in place; the losses step by step. Every epoch sees another part of each picture."""
    weights = [weight for weight in system.network.parameters() if weight.requires_grad]
    flat, deep = ([weight for weight in weights if (weight.ndim == 1) == one] for one in (True, False))
    groups = [{"params": deep, "weight_decay": plan.weight_decay}, {"params": flat, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=plan.rate, betas=plan.betas)
    per_epoch = max(1, len(seen) // plan.batch)
    pace = Cosine(plan.rate, 0.0, int(plan.epochs * per_epoch), int(plan.warm_up * per_epoch))
    rng, begun, losses = np.random.default_rng(plan.seed), time.monotonic(), []
    system.network.train()
    while len(losses) < pace.steps and (share := (time.monotonic() - begun) / (60 * plan.minutes)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = pace(
                max(len(losses), int(share * pace.steps))
            )  # a run cut short by the clock still cools down
        optimiser.zero_grad()
        chosen = rng.choice(len(seen), plan.batch, replace=plan.batch > len(seen))
        loss = 0.0
        for part in np.array_split(chosen, math.ceil(plan.batch / plan.at_once)):
            samples = [Sample(from_array(seen[number]), FEW) for number in part]
            total = system.loss(system.batch(samples, rng)).total * len(part) / plan.batch
            total.backward()
            loss += float(total.detach())
        optimiser.step()
        losses.append(loss)
        if len(losses) % 50 == 1:
            print(f"step {len(losses)} loss {loss:.4f}", flush=True)
    system.network.eval()
    return losses


@torch.inference_mode()
def guessed(system: RetFound, held: Sequence[Picture]) -> dict[str, float]:
    """The error on hidden patches of pictures that were not trained on, beside that of the mean of what is seen."""
    pixels = torch.cat([system.pixels(picture) for picture in held]).to(system.device)
    noise = torch.rand(len(held), system.config.encoder.grid**2, generator=torch.Generator().manual_seed(0))
    batch = MaskedBatch(pixels, noise.to(system.device))
    masking = Masking.by_noise(batch.noise, system.config.mask_ratio)
    target, hidden = patchified(pixels, system.config.encoder.patch), masking.removed[..., None]
    mean = (target * (1 - hidden)).sum(1, keepdim=True) / (1 - hidden).sum(1, keepdim=True)
    floor = ((((target - mean) ** 2).mean(-1)) * masking.removed).sum() / masking.removed.sum()
    return {"loss": round(float(system.loss(batch).total), 4), "mean of what is seen": round(float(floor), 4)}


def tuned(
    system: RetFound, labelled: Sequence[tuple[Picture, int]], held: Sequence[tuple[Picture, int]], plan: Tuning
) -> tuple[RetFound, list[dict[str, float]]]:
    """A model with classes, that of the epoch with the best score on what is held, and the measures of each epoch."""
    torch.manual_seed(plan.seed)
    classes = 1 + max(label for _, label in (*labelled, *held))
    model = system.with_classes(classes, drop_path=plan.drop_path)
    rate = plan.base * plan.batch / 256
    depth = model.config.encoder.depth
    groups = decayed(model.network, depth=depth, rate=rate, decay=plan.layer_decay, weight_decay=plan.weight_decay)
    optimiser, augment = torch.optim.AdamW(groups, lr=rate), augmentation(model.side, plan)
    per_epoch = math.ceil(len(labelled) / plan.batch)
    pace = Cosine(rate, plan.last, plan.epochs * per_epoch, plan.warm_up * per_epoch)
    rng, step, rows, best = np.random.default_rng(plan.seed), 0, [], {}
    cut = [(opened_as_rgb(model.cut(picture)), label) for picture, label in labelled]
    for epoch in range(plan.epochs):
        model.network.train()
        for part in np.array_split(rng.permutation(len(cut)), per_epoch):
            for group in optimiser.param_groups:
                group["lr"] = pace(step) * group["share"]
            pixels = torch.stack([augment(cut[number][0]) for number in part]).to(model.device)
            labels = torch.tensor([cut[number][1] for number in part], device=model.device)
            optimiser.zero_grad()
            model.classify(pixels, labels).total.backward()
            optimiser.step()
            step += 1
        model.network.eval()
        rows.append(judged(model, held))
        if rows[-1]["score"] >= max(row["score"] for row in rows):
            best = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
        print(f"epoch {epoch} {rows[-1]}", flush=True)
    fill(model.network, best)
    return model, rows


def augmentation(side: int, plan: Tuning) -> Callable[[Pillow.Image], torch.Tensor]:
    """A random part, mirrored, RandAugment (two changes at `augment` tenths of their range), normalised, erased."""
    from torchvision import transforms

    bicubic = transforms.InterpolationMode.BICUBIC
    return transforms.Compose(
        [
            transforms.RandomResizedCrop(side, interpolation=bicubic),
            transforms.RandomHorizontalFlip(),
            transforms.RandAugment(2, plan.augment, num_magnitude_bins=11),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, DEVIATION),
            transforms.RandomErasing(plan.erase, value="random"),
        ]
    )


@torch.inference_mode()
def judged(model: RetFound, held: Sequence[tuple[Picture, int]]) -> dict[str, float]:
    """The study's measures on labelled pictures."""
    logits = torch.cat([model.network.logits(model.pixels(picture).to(model.device)) for picture, _ in held])
    truth = np.array([label for _, label in held])
    return {name: round(value, 4) for name, value in measures(logits.softmax(1).cpu().numpy(), truth).items()}


def save(system: RetFound, path: Path) -> None:
    """Under the published file's names."""
    state = RetFound.table.inverse(system.network.state_dict())
    save_file({name: tensor.contiguous().cpu() for name, tensor in state.items()}, path)


def opened(folder: Path) -> list[Picture]:
    """All pictures under a folder, as the system is shown them."""
    system = RetFound(None, CFP)  # type: ignore[arg-type]
    items = images_under(folder).items
    return [system.prepare(hilum.read(item.files[0])).array for item in items]


def begun(system: RetFound, file: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A file's tensors; where it is an encoder alone, as MAE's other file is, the decoder starts anew."""
    fresh = {name: each for name, each in system.network.state_dict().items() if name.startswith("decoder.")}
    return file if fresh.keys() & file.keys() else {**fresh, **file}


def pretrain(given: argparse.Namespace) -> None:
    """The paper's pre-training, from an MAE's file under its own names (safetensors), or from nothing."""
    system = RetFound.seeded(replace(CFP, mask_ratio=given.mask_ratio), 0)
    if given.start is not None:
        fill(system.network, begun(system, RetFound.table.apply(load_file(given.start))))
    system = system.placed(given.device, "torch")
    losses = pretrained(system, opened(given.root), Pretraining(minutes=given.minutes))
    save(system, given.out / "retfound_mae.safetensors")
    told(given.out, {"plan": asdict(Pretraining()), "losses": tenths(losses)})


def tune(given: argparse.Namespace) -> None:
    """The published fine-tuning: a folder for each class; a fifth of each, by name, is held to choose the epoch."""
    system = hilum.load(f"retfound.{given.tag}", device=given.device, backend="torch")
    labelled, held = [], []
    for label, folder in enumerate(sorted(path for path in given.root.iterdir() if path.is_dir())):
        for number, picture in enumerate(opened(folder)):
            (held if number % 5 == 4 else labelled).append((picture, label))
    model, rows = tuned(system, labelled, held, Tuning())  # type: ignore[arg-type]
    save(model, given.out / "retfound_tuned.safetensors")
    told(given.out, {"plan": asdict(Tuning()), "epochs": rows})


def pocket(given: argparse.Namespace) -> None:
    """A small one from nothing: pre-trained on 60 real photographs, probed beside its untrained self, then tuned to
    tell their two cameras apart. It proves the loops, and nothing about eyes."""
    torch.set_num_threads(1)
    shown = pictures(("retina/images.zip",), side=160, most=99) | pictures(
        ("retina/images.zip",), side=160, most=99, held=True
    )
    found = {name.partition(".zip/")[2]: picture.numpy() for name, picture in sorted(shown.items())}
    labels = np.array([int(name.startswith("chase")) for name in found])
    groups = [re.sub(r"[RL]?\.\w+$", "", name) for name in found]
    held = np.isin(groups, np.random.default_rng(0).permutation(sorted(set(groups)))[:10])
    every = list(found.values())
    known = [picture for picture, back in zip(every, held, strict=True) if not back]
    back = [picture for picture, back in zip(every, held, strict=True) if back]
    plan = replace(POCKET_PRETRAINING, minutes=given.minutes, epochs=given.epochs)
    untrained, system = RetFound.seeded(POCKET, plan.seed), RetFound.seeded(POCKET, plan.seed)
    facts = {"pictures": len(known), "held": len(back), "before": guessed(untrained, back)}
    begun = time.monotonic()
    losses = pretrained(system, known, plan)
    facts |= {"steps": len(losses), "seconds": round(time.monotonic() - begun, 1), "losses": tenths(losses)}
    facts |= {"after": guessed(system, back), "probes": {}}
    for name, one in (("untrained", untrained), ("pre-trained", system)):
        facts["probes"][name] = probed(one, every, labels, groups)
    save(system, given.out / "retfound_mae.safetensors")
    pairs = list(zip(every, labels.tolist(), strict=True))
    parts = [[pair for pair, back in zip(pairs, held, strict=True) if back == side] for side in (False, True)]
    _, rows = tuned(system, *parts, POCKET_TUNING)
    told(given.out, facts | {"plan": asdict(plan), "tuning": asdict(POCKET_TUNING), "last epoch": rows[-1]})


def probed(system: RetFound, every: Sequence[Picture], labels: np.ndarray, groups: Sequence[str]) -> dict[str, float]:
    """AUROC of both probes on the vectors, cross-validated by patient."""
    vectors = np.concatenate([system.ask(from_array(picture)).vectors for picture in every])
    return {
        each.__name__: round(probe.cross_validated(each, vectors, labels, groups).measures["auroc"], 3)
        for each in (probe.linear, probe.neighbours)
    }


def tenths(losses: Sequence[float]) -> list[float]:
    return [round(float(np.mean(part)), 4) for part in np.array_split(np.array(losses), 10) if len(part)]


def told(out: Path, facts: dict) -> None:
    (out / "run.json").write_text(json.dumps(facts, indent=1))
    print(json.dumps(facts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for run in (pretrain, tune, pocket):
        command = commands.add_parser(run.__name__, help=run.__doc__)
        command.set_defaults(run=run)
        command.add_argument("--out", type=Path, default=Path(f"runs/retfound-{run.__name__}"))
        if run is not pocket:
            command.add_argument("--root", type=Path, required=True)
            command.add_argument("--device", default="auto")
        if run is tune:
            command.add_argument("--tag", choices=tuple(RetFound.configs), default="mae_nature_cfp")
        else:
            command.add_argument("--minutes", type=float, default=math.inf if run is pretrain else 2.0)
        if run is pretrain:
            command.add_argument("--start", type=Path, help="safetensors under the MAE file's names")
            command.add_argument("--mask-ratio", type=float, default=CFP.mask_ratio, help="the paper: 0.85 for OCT")
        if run is pocket:
            command.add_argument("--epochs", type=float, default=600)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    given.run(given)


if __name__ == "__main__":
    main()
