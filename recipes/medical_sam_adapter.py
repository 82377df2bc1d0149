"""Train Medical SAM Adapter: SAM as it is, adapters in its image encoder, its decoder along with them.

python recipes/pairs.py --out runs/pairs                                       # labelled pictures; or your own folder
python recipes/medical_sam_adapter.py train --data FOLDER                      # pictures, on SAM's ViT-B from the store
python recipes/medical_sam_adapter.py train --data FOLDER --setting volumes    # stacks of slices, crops of 96 pixels
nice -n 19 python recipes/medical_sam_adapter.py train --data FOLDER --setting pocket --minutes 2
python recipes/medical_sam_adapter.py evaluate --data FOLDER --setting pocket  # held-back cases, as published

What is trained (adapters and decoder) is written to runs/medical_sam_adapter/<setting>.safetensors under the published
names; `hilum.load("medical_sam_adapter.vit_b_adapters", weights=that file)` puts it on SAM's own. There is no SAM of
the pocket's size, so the pocket trains all of its weights, from nothing, and its file holds all of them.
One case in five, patient by patient, is held back for `evaluate`.

Measured, 100 s of one CPU core each, Dice of held-back cases by one click (mean over the published thresholds): breast
ultrasound, pocket, 860 steps, 0.07 untrained -> 0.51; hippocampi, pocket_volumes, 563 steps, 0.11 -> 0.51.
"""

import argparse
import itertools
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from scipy import ndimage

from hilum import registry
from hilum.capabilities.trainable import Sample
from hilum.parts.interaction import first_click
from hilum.parts.msa import MsaConfig
from hilum.parts.sam import BASE, SamConfig
from hilum.systems.medical_sam_adapter import SLICES, MedicalSamAdapter, overlaps
from hilum.train.pairs import Pair, pairs, split
from hilum.values.image import Image, from_array
from hilum.values.prompts import PlanePrompt
from hilum.weights import store

ROOT = Path(__file__).resolve().parents[1]
SMALLEST = 16  # pixels of an object on a plane
SAVE_EVERY = 120.0  # seconds
SMALL_SAM = SamConfig(
    width=64,
    depth=3,
    heads=4,
    global_blocks=(1, 2),
    image_size=64,
    patch=8,
    window=5,
    channels=32,
    decoder_heads=4,
    decoder_hidden=128,
    quality_hidden=32,
)


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to train; rate, spacing and crop are those of the published code, batch and steps are ours."""

    config: MsaConfig
    rate: float = 1e-4  # Adam, constant: the published schedule is made and never stepped
    batch: int = 4
    steps: int = 20_000
    whole: bool = False  # all weights from nothing, where there is no SAM of this size
    spacing: tuple[float, float, float] | None = None  # mm (x, y, z) to which volumes are resampled
    crop: int | None = None  # pixels around a voxel of an object


SETTINGS = {
    "pictures": Setting(MsaConfig(BASE)),
    "volumes": Setting(MsaConfig(BASE, slices=SLICES), batch=1, spacing=(1.5, 1.5, 2.0), crop=96),
    "lora": Setting(MsaConfig(BASE, version="2024", tuning="lora")),
    "pocket": Setting(MsaConfig(SMALL_SAM, out_size=32), rate=2e-3, steps=2000, whole=True, batch=16),
    "pocket_volumes": Setting(
        MsaConfig(SMALL_SAM, slices=4, out_size=32), rate=2e-3, steps=2000, whole=True, batch=4, crop=32
    ),
}


class Cases:
    """Samples of labelled cases: a plane of a picture, or adjacent slices of a volume, around one of its objects."""

    def __init__(self, found: list[Pair], setting: Setting):
        self.setting = setting
        read = [(pair.image(), pair) for pair in found]
        self.cases = [resampled(image, pair.labels(image), setting.spacing) for image, pair in read]

    def sample(self, rng: np.random.Generator) -> Sample:
        """One case at random, as long as it shows an object."""
        while True:
            image, labels = self.cases[rng.integers(len(self.cases))]
            made = self.stack(image, labels, rng)
            if made.masks.any():
                return made

    def stack(self, image: Image, labels: np.ndarray, rng: np.random.Generator) -> Sample:
        """Slices around a voxel of an object; the object is one mask, whatever else is there another."""
        section = image.section()
        planes, shown = section.planes(labels.reshape(image.volume().shape[1:])), section.planes(image.volume())
        voxels = np.argwhere(planes > 0)
        if not len(voxels):
            return Sample(image, np.zeros((0, *image.grid), dtype=bool))
        middle = voxels[rng.integers(len(voxels))]
        cut = [
            around(at, size, count)
            for at, size, count in zip(middle, self.sizes(planes.shape), planes.shape, strict=True)
        ]
        part, seen = planes[tuple(cut)], shown[(slice(None), *cut)]
        masks = np.stack(
            [part == value for value in np.unique(part[part > 0]) if (part == value).sum() >= SMALLEST] or [part < 0]
        )
        if self.setting.config.slices is None:
            return Sample(image_like(image, seen[:, 0]), masks[:, 0])
        return Sample(image_like(image, seen), masks)

    def sizes(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """How many slices, rows and columns a sample has."""
        crop = self.setting.crop
        return (self.setting.config.slices or 1, *(shape[1:] if crop is None else (crop, crop)))


def around(middle: int, size: int, count: int) -> slice:
    """As much of an axis, around a place and within it."""
    size = min(size, count)
    start = int(np.clip(middle - size // 2, 0, count - size))
    return slice(start, start + size)


def image_like(image: Image, array: np.ndarray) -> Image:
    """A part of the image, with its display and modality; its place in the patient does not matter to training."""
    spacing = (1.0, 1.0, 1.0) if array.ndim == 4 else None
    part = from_array(np.ascontiguousarray(array), spacing=spacing, modality=image.source.modality)
    return part.with_array(part.array, image.display)


def resampled(image: Image, labels: np.ndarray, spacing: tuple[float, float, float] | None) -> tuple[Image, np.ndarray]:
    """A volume and its labels at another spacing; pictures, and volumes without a wish, as they are."""
    if spacing is None or image.dimensions == 2 or image.spacing is None:
        return image, labels
    factors = [own / wish for own, wish in zip(image.spacing[::-1], spacing[::-1], strict=True)]
    array = np.stack([ndimage.zoom(each.astype(np.float32), factors, order=1) for each in image.array])
    resized = from_array(array, spacing=spacing, modality=image.source.modality)
    return resized.with_array(array, image.display), ndimage.zoom(labels, factors, order=0)


def begun(setting: Setting) -> MedicalSamAdapter:
    """Fresh adapters on SAM, or a network of random weights, all of which are trained."""
    if setting.whole:
        system = MedicalSamAdapter.seeded(setting.config, 0)
        system.network.image_encoder.requires_grad_(True)
        return system
    return MedicalSamAdapter.begun(setting.config, load_file(store.find(registry.card("sam_study"), "vit_b").path))


def resumed(setting: Setting, file: Path) -> MedicalSamAdapter:
    """As begun, then with what the file holds."""
    system = begun(setting)
    if file.exists():
        whole = MedicalSamAdapter.table.inverse(system.network.state_dict())
        system.network.load_state_dict(MedicalSamAdapter.table.apply({**whole, **load_file(file)}))
    return system


def saved(system: MedicalSamAdapter, setting: Setting, file: Path) -> None:
    """What was trained, under the published names."""
    file.parent.mkdir(parents=True, exist_ok=True)
    state = MedicalSamAdapter.table.inverse(system.network.state_dict())
    kept = {name: each.contiguous() for name, each in state.items() if setting.whole or system.carries(name)}
    save_file(kept, file)


def train(given: argparse.Namespace) -> None:
    """Until the steps or the minutes are spent; weights are kept every two minutes, and a new run goes on from them."""
    setting, file = SETTINGS[given.setting], given.out / f"{given.setting}.safetensors"
    system, cases = resumed(setting, file), Cases(split(pairs(given.data), 0.2, seed=0)[0], setting)
    weights = [weight for weight in system.network.parameters() if weight.requires_grad]
    optimizer, rng = torch.optim.Adam(weights, lr=setting.rate), np.random.default_rng(given.seed)
    print(f"{len(cases.cases)} cases, {sum(weight.numel() for weight in weights):,} weights are trained")
    begin = kept = time.monotonic()
    losses: list[float] = []
    for step in itertools.count(1):
        system.network.train()
        terms = system.loss(system.batch([cases.sample(rng) for _ in range(setting.batch)], rng))
        optimizer.zero_grad()
        terms.total.backward()
        optimizer.step()
        losses.append(float(terms.total.detach()))
        now = time.monotonic()
        ends = step == setting.steps or now - begin > 60 * given.minutes
        if step % 20 == 0 or ends:
            print(f"step {step}, {now - begin:.0f} s, loss {np.mean(losses[-20:]):.3f}", flush=True)
        if ends or now - kept > SAVE_EVERY:
            saved(system, setting, file)
            kept = now
        if ends:
            return


@torch.inference_mode()
def evaluate(given: argparse.Namespace) -> None:
    """Objects of held-back cases by one click in their middle: IoU and Dice, means over the published thresholds."""
    setting, file = SETTINGS[given.setting], given.out / f"{given.setting}.safetensors"
    held = Cases(split(pairs(given.data), 0.2, seed=0)[1], setting)
    for name, system in (("untrained", begun(setting)), (file.name, resumed(setting, file))):
        system.network.eval()
        rng = np.random.default_rng(0)
        found = [score for _ in range(given.most) for score in scored(system, held.sample(rng))]
        iou, dice = np.mean(found, axis=0)
        print(
            f"{name}: IoU {iou:.3f}, Dice {dice:.3f}, means of {len(found)} objects on planes, {len(held.cases)} cases"
        )


def scored(system: MedicalSamAdapter, sample: Sample) -> list[tuple[float, float]]:
    """IoU and Dice of each object on each plane that shows it."""
    prepared = system.prepare(sample.image)
    planes = [from_array(each) for each in np.moveaxis(prepared.volume(), 1, 0)]  # (c, z, h, w) -> (z, c, h, w)
    masks = sample.masks.reshape(len(sample.masks), len(planes), *planes[0].grid)
    found = []
    for seen, shown in zip(system.see_stack(planes), np.moveaxis(masks, 1, 0), strict=True):
        for truth in (each for each in shown if each.sum() >= SMALLEST):
            click = PlanePrompt(points=np.array([first_click(truth).at]), inside=np.ones(1, dtype=bool))
            found.append(overlaps(system.draw(seen, click).probability, truth))
    return found


def main() -> None:
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for work in (train, evaluate):
        command = commands.add_parser(work.__name__, help=work.__doc__)
        command.add_argument("--data", type=Path, required=True)
        command.add_argument("--setting", choices=SETTINGS, default="pictures")
        command.add_argument("--out", type=Path, default=ROOT / "runs/medical_sam_adapter")
        command.set_defaults(work=work)
    commands.choices["train"].add_argument("--minutes", type=float, default=float("inf"))
    commands.choices["train"].add_argument("--seed", type=int, default=0)
    commands.choices["evaluate"].add_argument("--most", type=int, default=60)
    given = parser.parse_args()
    given.work(given)


if __name__ == "__main__":
    main()
