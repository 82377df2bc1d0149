"""The contrastive objectives of this house on the same pairs at the same budget: the same small towers, three seeds.

nice python recipes/objective_study.py run            # about half an hour of a core; goes on after a stop
python recipes/objective_study.py table               # docs/objective-study.md and its figure

Needs the pictures of `recipes/biomedclip_pocket.py prepare`. One cell is one objective with one seed: STEPS batches,
the same pictures and captions for every objective. What stands in for what a paper has and these pairs have not: KoBo's
knowledge is a fixed random vector for each fact, turned round for what is denied; MaCo's patches are painted out before
the stem, whose convolutions would see them otherwise. All wholes are compared by one learned temperature. Measured
pictures and what is left out: `objective_study_table`; further stand-ins: docs/objective-study.md.
"""

import argparse
import json
import math
import time
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import biomedclip_pocket as pocket
import numpy as np
import objective_study_table as study
import torch
import torch.nn.functional as F
from captions import Fact, Known
from torch import Tensor, nn

from hilum.nn.vit import Vit, VitConfig
from hilum.objectives.contrastive import info_nce, soft_semantic, true_pairs
from hilum.objectives.knowledge_noise import knowledge_guidance, knowledge_noise, overlap
from hilum.objectives.local_global import Side, Temperatures, local_global
from hilum.objectives.masked_weighted import masked_weighted
from hilum.parts import tokens
from hilum.parts.bert import BertSizes, bert, last
from hilum.parts.imagenet_frame import OPENAI, evaluated
from hilum.parts.two_tower import unit

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "runs/objective_study"
VISION = VitConfig(image_size=64, patch=8, dim=128, depth=2, heads=2, stem=(32, 64, 128))
WORDS = BertSizes(vocabulary=4000, width=128, layers=2, heads=2, hidden=512, positions=64)
JOINT, SEEDS, STEPS, BATCH = 128, 3, 200, 48
RATE, DECAY, WARM = 1e-3, 0.05, 30
HIDDEN = 0.5  # of the patches, for MaCo


class Towers(nn.Module):
    """Both towers with their places and words, and what only some objectives use."""

    def __init__(self) -> None:
        super().__init__()
        self.vision, self.words = Vit(VISION), bert(WORDS)
        self.image, self.text = nn.Linear(VISION.dim, JOINT), nn.Linear(WORDS.width, JOINT)
        self.place, self.word = nn.Linear(VISION.dim, JOINT), nn.Linear(WORDS.width, JOINT)  # BioViL's
        self.guess = nn.Linear(VISION.dim, VISION.patch**2 * 3)  # MaCo's pixels
        self.worth = nn.Linear(VISION.grid**2, 1)  # MaCo's
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def scale(self) -> Tensor:
        return self.logit_scale.exp().clamp(max=100)

    def pictures(self, pixels: Tensor) -> Tensor:
        """Unit vectors."""
        return unit(self.image(self.vision(pixels)[:, 0]))

    def texts(self, ids: Tensor) -> Tensor:
        """Unit vectors."""
        return unit(self.text(last(self.words, ids, ids != WORDS.pad)[:, 0]))


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """A batch: pixels, ids of captions, all facts of the pictures, the facts that the captions tell."""

    pixels: Tensor
    ids: Tensor
    known: list[frozenset[Fact]]
    told: list[frozenset[Fact]]


def contrast(towers: Towers, pairs: Pairs) -> Tensor:
    """Every other caption is a negative (Radford et al. 2021; BiomedCLIP, CheXzero, PLIP)."""
    return info_nce(logits(towers, pairs))


def logits(towers: Towers, pairs: Pairs) -> Tensor:
    return towers.scale() * towers.pictures(pairs.pixels) @ towers.texts(pairs.ids).T


def true_captions(towers: Towers, pairs: Pairs) -> Tensor:
    """Every caption that is true of a picture attracts it (UniCL, Yang et al. 2022)."""
    true = torch.tensor([[told <= known for told in pairs.told] for known in pairs.known])
    return true_pairs(logits(towers, pairs), true)


def semantic(towers: Towers, pairs: Pairs) -> Tensor:
    """Soft targets by shared facts (MedCLIP, Wang et al. 2022); what is absent counts nothing, as there."""
    both = (pairs.known, pairs.told)
    names = sorted({fact for some in both for each in some for fact in each if fact[0] != "absent"})
    image, text = (torch.tensor([[float(name in each) for name in names] for each in some]) for some in both)
    return soft_semantic(logits(towers, pairs), image, text)


def knowing(towers: Towers, pairs: Pairs) -> Tensor:
    """Negatives count less, the more facts they share; vectors are drawn to their facts (KoBo, Chen et al. 2023)."""
    facts = torch.from_numpy(np.stack([knowledge(each) for each in pairs.told]))
    image, text = towers.pictures(pairs.pixels), towers.texts(pairs.ids)
    enhanced = knowledge_noise(towers.scale() * image @ text.T, overlap(facts))
    temperature = 1 / float(towers.scale().detach())
    return enhanced + sum(knowledge_guidance(each, facts, temperature=temperature) for each in (image, text)) / 2


def knowledge(facts: frozenset[Fact]) -> np.ndarray:
    """The sum of the facts' vectors, at length one."""
    whole = np.zeros(JOINT)
    for kind, what in facts:
        name = f"finding {what}" if kind in ("there", "absent") else f"{kind} {what}"
        drawn = np.random.default_rng(zlib.crc32(name.encode())).normal(size=JOINT)
        whole += drawn / np.linalg.norm(drawn) * (-1 if kind == "absent" else 1)
    return (whole / (np.linalg.norm(whole) or 1)).astype(np.float32)


def places_and_words(towers: Towers, pairs: Pairs) -> Tensor:
    """Wholes beside wholes, words beside the places that they attend to (BioViL, Boecking et al. 2022)."""
    seen, present = towers.vision(pairs.pixels), pairs.ids != WORDS.pad
    spoken = last(towers.words, pairs.ids, present)
    image = Side(towers.image(seen[:, 0]), towers.place(seen[:, 1:]), torch.ones(seen[:, 1:].shape[:2]).bool())
    inner = present & (pairs.ids > 4)  # without the marks of a text's ends
    text = Side(towers.text(spoken[:, 0]), towers.word(spoken), inner)
    return sum(local_global(image, text, temperatures=Temperatures(whole=1 / towers.scale())).values())


def hidden(towers: Towers, pairs: Pairs) -> Tensor:
    """Half of the patches are hidden and guessed; what is seen weighs the pair (MaCo, Huang et al. 2024)."""
    count, patch = VISION.grid**2, VISION.patch
    noise = torch.rand(len(pairs.pixels), count).argsort(1)
    gone = (noise < HIDDEN * count).float()
    mask = F.interpolate(gone.view(-1, 1, VISION.grid, VISION.grid), scale_factor=patch)
    vision = towers.vision
    patches, position = vision.patches(pairs.pixels * (1 - mask))
    stay = (1 - gone).bool()
    kept = vision.with_prefix(patches[stay].view(len(patches), -1, VISION.dim), position)
    states = vision.norm(vision.transformed(kept))
    seen = states[:, 1:].to(patches.dtype)
    whole = torch.zeros_like(patches).masked_scatter(stay[..., None].expand_as(patches), seen)
    context = F.avg_pool2d(whole.transpose(1, 2).unflatten(2, (VISION.grid, VISION.grid)), 5, 1, 2).flatten(2)
    guessed = towers.guess(context.transpose(1, 2) + vision.pos_embed[:, 1:])
    target = F.unfold(pairs.pixels, patch, stride=patch).transpose(1, 2)
    error = (((guessed - target) ** 2).mean(-1) * gone).sum() / gone.sum()
    cosine = unit(towers.image(states[:, 0])) @ towers.texts(pairs.ids).T
    worth = F.softplus(towers.worth(1 - gone))[:, 0]
    return error + masked_weighted(towers.scale() * cosine, worth)


OBJECTIVES = {
    "InfoNCE": contrast,
    "MedCLIP": semantic,
    "MaCo": hidden,
    "KoBo": knowing,
    "BioViL": places_and_words,
    "true captions": true_captions,
}


def batch(supply: pocket.Supply, read: tokens.Tokenizer) -> Pairs:
    """The next pictures with a caption each."""
    chosen, pixels = supply.pictures(BATCH, VISION.image_size)
    told = [each.caption(supply.rng) for each in chosen]
    ids = read([text for text, _ in told]).ids
    return Pairs(normalised(pixels), ids, [each.facts for each in chosen], [facts for _, facts in told])


def normalised(pixels: Tensor) -> Tensor:
    """From uint8 (b, s, s, 3)."""
    mean, deviation = (torch.tensor(each).view(1, 3, 1, 1) for each in OPENAI)
    return (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / deviation


def trained(name: str, seed: int, learned: list[Known], read: tokens.Tokenizer, steps: int) -> Towers:
    """One cell: its towers after `steps`."""
    torch.manual_seed(seed)
    towers = Towers().train()
    optimizer = torch.optim.AdamW(towers.parameters(), lr=RATE, weight_decay=DECAY)
    supply = pocket.Supply(learned, seed)
    for step in range(steps):
        pairs = batch(supply, read)
        with torch.autocast("cpu", torch.bfloat16):
            total = OBJECTIVES[name](towers, pairs)
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(towers.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / WARM) * (1 + math.cos(math.pi * step / steps)) / 2
        optimizer.step()
    return towers.eval()


def run(given: argparse.Namespace) -> None:
    """All cells that are not there yet, seed by seed."""
    given.out.mkdir(parents=True, exist_ok=True)
    learned, held = pocket.split(torch.load(pocket.OUT / "bank.pt", weights_only=False))
    read = tokens.tokenizer(pocket.POCKET.reading, lambda: pocket.VOCABULARY)
    for seed in range(given.seeds):
        for name in OBJECTIVES:
            file = given.out / f"{name.replace(' ', '_')}.{seed}.json"
            if file.exists():
                continue
            begun = time.monotonic()
            towers = trained(name, seed, learned, read, given.steps)
            told = {"objective": name, "seed": seed, "steps": given.steps, "seconds": time.monotonic() - begun}
            eyes = study.Eyes(partial(looked, towers), partial(heard, towers, read))
            told["found"] = study.found(eyes, learned, held)
            file.with_suffix(".part").write_text(json.dumps(told))
            file.with_suffix(".part").replace(file)
            print(f"{name}, seed {seed}: {told['seconds']:.0f} s", flush=True)


@torch.inference_mode()
def looked(towers: Towers, pictures: list[Known]) -> np.ndarray:
    """Unit vectors of pictures as they are, their middle square."""
    shown = [np.broadcast_to(each.picture, (3, *each.picture.shape[1:])) for each in pictures]
    pixels = [evaluated(each, VISION.image_size, share=1.0, statistics=OPENAI) for each in shown]
    parts = [torch.cat(pixels[start : start + 128]) for start in range(0, len(pixels), 128)]
    return torch.cat([towers.pictures(part) for part in parts]).numpy()


@torch.inference_mode()
def heard(towers: Towers, read: tokens.Tokenizer, texts: list[str]) -> np.ndarray:
    """Unit vectors of texts."""
    return towers.texts(read(texts).ids).numpy()


def main() -> None:
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, act in (("run", run), ("table", study.table)):
        command = commands.add_parser(name)
        command.set_defaults(act=act)
        command.add_argument("--out", type=Path, default=OUT)
        command.add_argument("--seeds", type=int, default=SEEDS)
        command.add_argument("--steps", type=int, default=STEPS)
    given = parser.parse_args()
    given.act(given)


if __name__ == "__main__":
    main()
