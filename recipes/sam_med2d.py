"""Train SAM-Med2D as it was published: a round of everything, then eight corrections by the decoder alone.

python recipes/pairs.py --out runs/pairs                            # labelled pictures; or a folder of your own
python recipes/sam_med2d.py train --data runs/pairs/known           # the published size, from SAM's own file
nice -n 19 python recipes/sam_med2d.py train --data runs/pairs/known --setting pocket --minutes 2
python recipes/sam_med2d.py evaluate --data runs/pairs/known --setting pocket
python recipes/sam_med2d.py export --setting pocket                 # safetensors with the published names

Training starts again where it stopped. One case in five, by its name, is held back for `evaluate`.
"""

import argparse
import json
import os
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from hilum import registry
from hilum.bench.measure import dice
from hilum.capabilities.trainable import Sample
from hilum.objectives.terms import Terms
from hilum.parts import sam_med2d_rounds as rounds
from hilum.parts.interaction import first_click, tight_box
from hilum.parts.sam import SamBatch, SamConfig
from hilum.parts.sam_med2d_frame import enlarged
from hilum.parts.sam_other_size import at_size_of
from hilum.parts.sam_prompt_encoder import SamPrompts
from hilum.systems.sam_med2d import SamMed2d, SamMed2dConfig, best, terms
from hilum.train.pairs import Pair, pairs
from hilum.values.prompts import Box, Points
from hilum.weights import store

ROOT = Path(__file__).resolve().parents[1]
SMALLEST, MOST = 40, 16  # pixels of an object; objects of one picture that are kept in memory
SAVE_EVERY = 120.0  # seconds
SMALL_SAM = SamConfig(
    width=64,
    depth=3,
    heads=4,
    global_blocks=(2,),
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
    """One way to train; the defaults are the published ones, as far as they are known."""

    config: SamMed2dConfig
    start: str | None = "sam_study.vit_b"  # weights that the network starts from, of whatever image size
    encoder: bool = False  # trained as a whole, not only its adapters
    epochs: int = 12  # (remembered, unverified)
    images: int = 2  # in a batch, on one device (the published code's default)
    rate: float = 1e-4  # Adam's (the published code)
    milestones: tuple[int, ...] = ()  # epochs after which the rate is halved; the published option is (5, 10)
    corrections: int = 8  # rounds after the first (the published code)


SETTINGS = {
    "paper": Setting(SamMed2d.configs["b"]),
    # no SAM of this size is there to start from, so the encoder learns too, and faster
    "pocket": Setting(SamMed2dConfig(SMALL_SAM), start=None, encoder=True, epochs=200, images=2, rate=1e-3),
}


class Run:
    """A system in training, its optimiser, and how far it is: all that a checkpoint holds."""

    def __init__(self, setting: Setting, out: Path):
        self.setting, self.out = setting, out
        self.system = SamMed2d.seeded(setting.config, 0).placed("auto", "torch")
        if setting.encoder:
            self.system.network.image_encoder.requires_grad_(True)
        self.adam = torch.optim.Adam((p for p in self.network.parameters() if p.requires_grad), lr=setting.rate)
        self.steps, self.seconds = 0, 0.0

    @property
    def network(self) -> torch.nn.Module:
        return self.system.network

    @property
    def file(self) -> Path:
        return self.out / "checkpoint.pt"

    def load(self) -> "Run":
        """From the checkpoint; without one, from the weights that the setting starts from."""
        if self.file.exists():
            kept = torch.load(self.file, weights_only=True, map_location=self.system.device)
            self.network.load_state_dict(kept["network"])
            self.adam.load_state_dict(kept["adam"])
            self.steps, self.seconds = kept["steps"], kept["seconds"]
        elif self.setting.start:
            name, _, tag = self.setting.start.partition(".")
            source = load_file(store.find(registry.card(name), tag).path)
            own = self.network.state_dict()
            table = SamMed2d.table.apply(source)
            with torch.no_grad():
                for name, tensor in at_size_of(own, {k: t.float().to(own[k].device) for k, t in table.items()}).items():
                    own[name].copy_(tensor)
        return self

    def save(self) -> None:
        """Atomic: written beside, then renamed."""
        state = {"network": self.network.state_dict(), "adam": self.adam.state_dict()}
        torch.save({**state, "steps": self.steps, "seconds": self.seconds}, self.file.with_suffix(".part"))
        os.replace(self.file.with_suffix(".part"), self.file)

    def update(self, found: Terms) -> dict[str, float]:
        """One step of the optimiser; what got no gradient stays where it is."""
        self.adam.zero_grad(set_to_none=True)
        found.total.backward()
        self.adam.step()
        return {**found.numbers(), "loss": float(found.total.detach())}


def interact(run: Run, batch: SamBatch, rng: np.random.Generator) -> list[dict[str, float]]:
    """One batch, all its rounds, a step of the optimiser after each; the losses of every round."""
    network, side = run.system.network, run.system.side
    embedding = network.image_encoder(batch.pixels)
    low, quality = best(*network.ask(embedding, batch.prompts))
    losses = [run.update(terms(low, quality, batch.masks))]
    embedding = embedding.detach()
    learns = [weight for weight in network.prompt_encoder.parameters() if weight.requires_grad]
    for weight in learns:
        weight.requires_grad_(False)  # from here on the decoder alone
    silent = rounds.mask_alone(run.setting.corrections, rng)
    for number in range(run.setting.corrections):
        said = rounds.correction(batch.masks, enlarged(low.detach(), side, side), low, rng)
        low, quality = best(*network.ask(embedding, SamPrompts(masks=said.masks) if number in silent else said))
        losses.append(run.update(terms(low, quality, batch.masks)))
    for weight in learns:
        weight.requires_grad_(True)
    return losses


def held_back(pair: Pair) -> bool:
    """One case in five, by its name."""
    return zlib.crc32(f"{pair.source}/{pair.case}".encode()) % 5 == 0


def sample(pair: Pair, rng: np.random.Generator) -> Sample | None:
    """A picture and some of its objects; None where no object is large enough."""
    image = pair.image()
    labels = pair.labels(image)
    values, sizes = np.unique(labels, return_counts=True)
    large = values[(values > 0) & (sizes >= SMALLEST)]
    chosen = rng.permutation(large)[:MOST]
    return Sample(image, labels == chosen[:, None, None]) if len(chosen) else None


def batches(run: Run, cases: list[Pair]) -> Iterator[tuple[int, SamBatch, np.random.Generator]]:
    """(epoch, batch, chance) from the step where the run is; an order of its own for each epoch."""
    size = run.setting.images
    each = max(1, len(cases) // size)  # batches of an epoch
    while run.steps < each * run.setting.epochs:
        epoch, place = divmod(run.steps, each)
        order = np.random.default_rng((0, epoch)).permutation(len(cases))[place * size : (place + 1) * size]
        rng = np.random.default_rng((1, run.steps))
        found = [one for one in (sample(cases[number], rng) for number in order) if one is not None]
        if found:
            yield epoch, run.system.batch(found, rng), rng
        run.steps += 1


def train(given: argparse.Namespace) -> None:
    """Go on from the last checkpoint, or begin; until the epochs or the minutes of this session are over."""
    run = opened(given)
    cases = [pair for pair in pairs(Path(given.data)) if not held_back(pair)]
    run.network.train()
    start = saved = last = time.monotonic()
    for epoch, batch, rng in batches(run, cases):
        for group in run.adam.param_groups:
            group["lr"] = run.setting.rate * 0.5 ** sum(epoch >= each for each in run.setting.milestones)
        losses = interact(run, batch, rng)
        now = time.monotonic()
        run.seconds, last = run.seconds + now - last, now
        tell(run, epoch, losses)
        if now - saved > SAVE_EVERY:
            run.save()
            saved = now
        if given.minutes and now - start > 60 * given.minutes:
            run.steps += 1  # this batch is done
            break
    run.save()


def tell(run: Run, epoch: int, losses: list[dict[str, float]]) -> None:
    """A line of the log: first round, last round, and the mean of all."""
    mean = sum(each["loss"] for each in losses) / len(losses)
    when: dict[str, object] = {"step": run.steps, "epoch": epoch, "seconds": round(run.seconds, 1)}
    line = when | {"first": losses[0], "last": losses[-1], "mean": mean}
    with (run.out / "log.jsonl").open("a") as log:
        log.write(json.dumps(line) + "\n")
    if run.steps % 20 == 0:
        print(
            f"step {run.steps}, epoch {epoch}, {run.seconds:.0f} s: loss {losses[0]['loss']:.3f} first, "
            f"{losses[-1]['loss']:.3f} last",
            flush=True,
        )


def evaluate(given: argparse.Namespace) -> None:
    """Dice on the held-back pictures through the system's own door: with a tight box, and with one click."""
    run = opened(given)
    run.network.eval()
    found: dict[str, list[float]] = {"box": [], "click": []}
    for number, pair in enumerate([pair for pair in pairs(Path(given.data)) if held_back(pair)][: given.most]):
        one = sample(pair, np.random.default_rng((2, number)))
        if one is None:
            continue
        look = run.system.look(one.image)
        for mask in one.masks[:4]:
            low, high = tight_box(mask)
            for kind, prompt in (("box", Box(low, high)), ("click", Points(np.array([first_click(mask).at])))):
                found[kind].append(dice(mask, look.ask(prompt).masks[0]))  # type: ignore[union-attr]
    for kind, values in found.items():
        print(f"{kind}: mean Dice {np.mean(values):.3f} over {len(values)} objects, after {run.steps} steps")


def export(given: argparse.Namespace) -> None:
    """The weights under the published names; of the published size `hilum.load("sam_med2d.b", weights=…)` opens."""
    run = opened(given)
    state = SamMed2d.table.inverse(run.network.state_dict())
    save_file({name: tensor.cpu().contiguous() for name, tensor in state.items()}, run.out / "sam_med2d.safetensors")
    print(f"{run.out / 'sam_med2d.safetensors'}: {len(state)} tensors, after {run.steps} steps")


def opened(given: argparse.Namespace) -> Run:
    """The run that was named, where it stopped."""
    setting = SETTINGS[given.setting]
    if given.halved:
        setting = replace(setting, milestones=tuple(given.halved))
    out = Path(given.out) / given.setting
    out.mkdir(parents=True, exist_ok=True)
    return Run(setting, out).load()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for work in (train, evaluate, export):
        command = commands.add_parser(work.__name__, help=work.__doc__)
        command.add_argument("--setting", choices=SETTINGS, default="paper")
        command.add_argument("--out", default=str(ROOT / "runs/sam_med2d"))
        command.add_argument("--data", default=str(ROOT / "runs/pairs"), help="folder of labelled pictures")
        command.add_argument("--halved", type=int, nargs="*", help="epochs after which the rate is halved")
        command.set_defaults(work=work)
    commands.choices["train"].add_argument("--minutes", type=float, default=0.0, help="of this session; 0: no limit")
    commands.choices["evaluate"].add_argument("--most", type=int, default=40, help="pictures, at most")
    given = parser.parse_args()
    given.work(given)


if __name__ == "__main__":
    main()
