"""Train biomedclip.pocket: BiomedCLIP's two towers, small, from nothing, on open pictures and sentences from labels.

python recipes/biomedclip_pocket.py prepare                            # pictures, words and their vocabulary
nice python recipes/biomedclip_pocket.py train --until 16:30           # local time; starts again where it stopped
python recipes/biomedclip_pocket.py export                             # hilum/weights/pocket/biomedclip.pocket.*
python recipes/biomedclip_pocket_measure.py                            # beside HOG and thumbnails; onto the card

Pictures are shown at 96 pixels first, then at 128. A caption is no negative of another picture of which it is true
(`objectives.contrastive.true_pairs`), and of "X" and "no X" the true one is to win. About one picture in four is held
back, by patient (`split`).
"""

import argparse
import datetime
import json
import math
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import captions
import numpy as np
import phrases
import torch
import torch.distributed as dist
from safetensors.torch import save_file
from scout import between
from scout_data import data_root
from torch import Tensor
from two_tower_views import view

from hilum.objectives.contrastive import claim_or_denial, true_pairs
from hilum.parts import tokens
from hilum.parts.imagenet_frame import OPENAI
from hilum.parts.two_tower import unit
from hilum.systems.biomedclip import POCKET, BiomedClip, BiomedClipNetwork

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "runs/biomedclip_pocket"
WEIGHTS = ROOT / "hilum/weights/pocket/biomedclip.pocket.safetensors"
VOCABULARY = ROOT / "hilum/weights/pocket/biomedclip.pocket.vocab.txt"
HELD = Path(__file__).with_name("biomedclip_pocket_held.txt")
CARD = ROOT / "hilum/systems/biomedclip.toml"
LICENCE = "CC BY-SA 4.0"  # the strictest of what it is trained on
SHARES = {  # of what is shown
    "cxr": 0.30, "brain_mri": 0.24, "ultrasound": 0.18, "nuclei": 0.05, "retina": 0.03, "vqa_rad": 0.10,
    "hippocampus": 0.02, "ct_slices": 0.01, "ct_head": 0.03, "slide": 0.04,
}  # fmt: skip
BATCH, CLAIMS = 48, 3  # pictures of a process, claims about each
RATE, DECAY, WARM, MEAN = 1e-3, 0.05, 400, 0.998
SMALL, SMALL_SHARE = 96, 0.45  # the first side in pixels, and for how much of the time


def split(pictures: list[captions.Known]) -> tuple[list[captions.Known], list[captions.Known]]:
    """Those to learn from and those held back: the split of the shipped weights, by name.

    It was drawn by patient; where patients are unknown, by likeness, which let near copies through: what is measured
    leaves those out that differ from a picture of the training in few bits of the difference hash.
    """
    names = set(HELD.read_text().splitlines())
    sides: tuple[list[captions.Known], list[captions.Known]] = ([], [])
    for each in pictures:
        sides[f"{each.source}/{each.name}" in names].append(each)
    return sides


def prepare(given: argparse.Namespace) -> None:
    """The pictures once, and a vocabulary of the words that captions are made of and that medical texts use."""
    import gzip

    from tokenizers import BertWordPieceTokenizer

    given.out.mkdir(parents=True, exist_ok=True)
    pictures = list(captions.known(data_root()))
    torch.save(pictures, given.out / "bank.pt")
    rng = np.random.default_rng(0)
    said = [each.caption(rng)[0] for each in pictures for _ in range(20)]
    words = [*phrases.HELD_SEEN, *phrases.HELD_UNSEEN] * 200
    texts = []
    for name in ("medquad", "mts_dialog", "aci_bench", "pubmedqa_l"):
        with gzip.open(data_root() / f"text/{name}.jsonl.gz", "rt") as file:
            texts += [" ".join(str(each) for each in json.loads(line).values()) for line in file]
    reader = BertWordPieceTokenizer(lowercase=True)
    reader.train_from_iterator(said + words + texts, vocab_size=POCKET.text.vocabulary, min_frequency=2)
    order = sorted(reader.get_vocab().items(), key=lambda pair: pair[1])
    VOCABULARY.write_text("".join(f"{word}\n" for word, _ in order))
    print(f"{len(pictures)} pictures, {len(order)} words", flush=True)


@dataclass(slots=True)
class Batch:
    """What a step learns from."""

    pixels: Tensor
    captions: list[str]
    true: Tensor
    owner: Tensor
    claims: list[str]
    denials: list[str]
    there: Tensor


class Supply:
    """Draws batches: pictures by the shares of their sources, captions, and claims half of which are true."""

    def __init__(self, pictures: list[captions.Known], seed: int):
        self.rng = np.random.default_rng(seed)
        self.by_source: dict[str, list[captions.Known]] = {}
        for each in pictures:
            self.by_source.setdefault(each.source, []).append(each)
        self.sources = sorted(self.by_source)
        shares = np.array([SHARES[name] for name in self.sources])
        self.shares = shares / shares.sum()

    def pictures(self, count: int, side: int) -> tuple[list[captions.Known], Tensor]:
        """Pictures, and a view of each."""
        chosen = []
        for source in self.rng.choice(self.sources, count, p=self.shares):
            pool = self.by_source[str(source)]
            chosen.append(pool[int(self.rng.integers(len(pool)))])
        views = [view(each.picture, side, self.rng, films=each.way == "xray") for each in chosen]
        return chosen, torch.from_numpy(np.stack(views))

    def draw(self, side: int) -> Batch:
        """The next batch."""
        rng = self.rng
        chosen, pixels = self.pictures(BATCH, side)
        told = [each.caption(rng) for each in chosen]
        true = torch.tensor([[facts <= each.facts for _, facts in told] for each in chosen])
        owner, claims, denials, there = [], [], [], []
        for place, each in enumerate(chosen):
            for _ in range(CLAIMS if each.there or each.absent else 0):
                side_of = each.there if each.there and (not each.absent or rng.random() < 0.5) else each.absent
                finding = str(rng.choice(side_of))
                said = captions.claim(finding, True, rng)[0], captions.claim(finding, False, rng)[0]
                (
                    owner.append(place),
                    claims.append(said[0]),
                    denials.append(said[1]),
                    there.append(side_of is each.there),
                )
        return Batch(
            pixels, [text for text, _ in told], true, torch.tensor(owner), claims, denials, torch.tensor(there)
        )


def loss(network: BiomedClipNetwork, read: tokens.Tokenizer, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """The sum; true captions among those of the batch; claim or denial."""
    pixels = batch.pixels.permute(0, 3, 1, 2).float() / 255
    mean, deviation = (torch.tensor(each).view(1, 3, 1, 1) for each in OPENAI)
    with torch.autocast("cpu", torch.bfloat16):
        image = network.visual(((pixels - mean) / deviation).contiguous(memory_format=torch.channels_last))
        text = network.text(read([*batch.captions, *batch.claims, *batch.denials]).ids)
    image, text = unit(image.float()), unit(text.float())
    scale = network.logit_scale.exp().clamp(max=100)
    pairs = true_pairs(scale * image @ text[:BATCH].T, batch.true)
    claims, denials = text[BATCH:].chunk(2)
    own = scale * image[batch.owner]
    asked = claim_or_denial((own * claims).sum(1), (own * denials).sum(1), batch.there)
    return pairs + asked, pairs.detach(), asked.detach()


def train_one(rank: int, given: argparse.Namespace, begun: float, end: float) -> None:
    """One of the processes; gradients are averaged over all of them."""
    torch.set_num_threads(1)
    torch.manual_seed(rank)
    meeting = given.out / "meeting"
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=given.processes)
    system = BiomedClip.seeded(POCKET, 0)
    network = system.network.to(memory_format=torch.channels_last).train()
    mean = {name: each.clone() for name, each in network.state_dict().items()}
    plain = [each for each in network.parameters() if each.ndim < 2]
    matrices = [each for each in network.parameters() if each.ndim >= 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": DECAY}, {"params": plain, "weight_decay": 0.0}], lr=RATE
    )
    step, file = 0, given.out / "checkpoint.pt"
    if file.is_file():
        kept = torch.load(file, weights_only=True)
        network.load_state_dict(kept["network"])
        optimizer.load_state_dict(kept["optimizer"])
        mean, step = kept["mean"], kept["step"]
    pictures = torch.load(given.out / "bank.pt", weights_only=False)
    learned, _ = split(pictures)
    supply = Supply(learned, 1000 * step + rank)
    read = tokens.tokenizer(POCKET.reading, lambda: VOCABULARY)
    saved, seen = time.time(), []
    while True:
        share = torch.tensor(min(1.0, (time.time() - begun) / (end - begun)))
        dist.broadcast(share, 0)
        if float(share) >= 1:
            break
        total, *terms = loss(network, read, supply.draw(SMALL if share < SMALL_SHARE else POCKET.vision.image_size))
        optimizer.zero_grad()
        total.backward()
        flat = torch.cat([each.grad.flatten() for each in network.parameters()])
        dist.all_reduce(flat)
        flat /= given.processes
        flat *= min(1.0, 2.0 / float(flat.norm()))
        start = 0
        for each in network.parameters():
            each.grad.copy_(flat[start : start + each.numel()].view_as(each))
            start += each.numel()
        for group in optimizer.param_groups:
            group["lr"] = RATE * max(0.005, min(1.0, (step + 1) / WARM) * (1 + math.cos(math.pi * float(share))) / 2)
        optimizer.step()
        step += 1
        follow = min(MEAN, step / (step + 20))
        for name, each in network.state_dict().items():
            mean[name].lerp_(each, 1 - follow) if each.is_floating_point() else mean[name].copy_(each)
        seen.append([float(each) for each in terms])
        if rank == 0 and step % 50 == 0:
            pairs, asked = np.mean(seen[-50:], 0)
            print(f"{time.strftime('%H:%M:%S')} step {step}: pairs {pairs:.3f}, claims {asked:.3f}", flush=True)
        if rank == 0 and (time.time() - saved > 120):
            save(file, network, optimizer, mean, step)
            saved = time.time()
    if rank == 0:
        save(file, network, optimizer, mean, step)
    dist.destroy_process_group()


def save(
    file: Path, network: torch.nn.Module, optimizer: torch.optim.Optimizer, mean: dict[str, Tensor], step: int
) -> None:
    """Written beside, then renamed."""
    state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "mean": mean, "step": step}
    torch.save(state, file.with_suffix(".part"))
    file.with_suffix(".part").replace(file)


def train(given: argparse.Namespace) -> None:
    """Go on from the last checkpoint, or begin; the pace follows the clock from the first start to `--until`."""
    clock, meeting = given.out / "clock.json", given.out / "meeting"
    if not clock.exists():
        clock.write_text(json.dumps(time.time()))
    meeting.unlink(missing_ok=True)
    hour, minute = (int(part) for part in given.until.split(":"))
    end = datetime.datetime.now().replace(hour=hour, minute=minute, second=0).timestamp()
    torch.multiprocessing.spawn(train_one, (given, json.loads(clock.read_text()), end), nprocs=given.processes)


def export(given: argparse.Namespace) -> None:
    """The running mean of the weights, under the published names, as float16; the card's entry with it."""
    kept = torch.load(given.out / "checkpoint.pt", weights_only=True)
    system = BiomedClip.seeded(POCKET, 0)
    system.network.load_state_dict(kept["mean"])
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    shown = kept["step"] * BATCH * given.processes
    told = {
        "recipe": "recipes/biomedclip_pocket.py", "commit": commit.stdout.strip(), "pictures": str(shown),
        "data": json.dumps(captions.LICENCES), "licence": LICENCE, "held": "one patient or group in four",
    }  # fmt: skip
    state = BiomedClip.table.inverse(system.network.state_dict())
    halves = {
        name: (each.half() if each.ndim > 1 else each).contiguous().clone(memory_format=torch.contiguous_format)
        for name, each in state.items()
    }
    save_file(halves, given.weights, told)
    print(f"{given.weights}: {given.weights.stat().st_size / 1e6:.1f} MB, {shown} pictures")
    if given.weights == WEIGHTS:
        (given.out / "shown.json").write_text(json.dumps(shown))
        between(CARD, ("# pocket", "# end"), entry(shown, ""))


def entry(shown: int, measured: str) -> list[str]:
    """The card's entry of the pocket weights."""
    note = (
        f"trained from nothing by recipes/biomedclip_pocket.py on {shown} views of open pictures with sentences made "
    )
    note += "from labels; true captions of another picture are no negatives, and claims stand beside their denials"
    return [
        "[[weights]]", 'tag = "pocket"', f'file = "{WEIGHTS.name}"', 'source = "package"', f'licence = "{LICENCE}"',
        f'note = "{"; ".join(filter(None, [note, measured]))}"', "",
        "[weights.beside]", f'"vocab.txt" = "{VOCABULARY.name}"',
    ]  # fmt: skip


def main() -> None:
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, act in (("prepare", prepare), ("train", train), ("export", export)):
        command = commands.add_parser(name)
        command.set_defaults(act=act)
        command.add_argument("--out", type=Path, default=OUT)
        command.add_argument("--processes", type=int, default=2)
        command.add_argument("--until", default="16:30")
        command.add_argument("--weights", type=Path, default=WEIGHTS)
    given = parser.parse_args()
    given.act(given)


if __name__ == "__main__":
    main()
