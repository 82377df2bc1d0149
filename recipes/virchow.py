"""Train Virchow's encoder, or adapt it, by DINOv2 (Oquab et al. 2023) on tiles without labels.

python recipes/virchow.py train --device cuda                          # the published sizes; needs many GPUs' memory
python recipes/virchow.py train --device cuda --start virchow.virchow  # goes on from the imported weights
nice -n 19 python recipes/virchow.py train --pocket --steps 150        # small, on a CPU, to see it learn

The student sees two large views of a tile, with patches hidden in some, and small ones; the teacher, its running mean,
sees the large ones whole. Written as `runs/virchow/teacher.safetensors`, with the published names. One process, one
device; the numbers are DINOv2's published configuration for large encoders (remembered, unverified) but where it says
ours. Virchow's own training code is not public. Measured once, the pocket setting with 200 steps on 86 tiles: of 29
held-back tiles the nearest other one is of the same source in 0.345 before, in 0.586 after.
"""

import argparse
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from crops import Cut, View, recolour, view
from jaxtyping import Bool, Float
from safetensors.torch import save_file
from schedule import Cosine
from tiles import tiles
from torch import Tensor, nn

from hilum.nn.vit import Vit, VitConfig
from hilum.objectives.distill import balanced, class_distillation, crowding, follow, patch_distillation
from hilum.objectives.terms import Terms
from hilum.parts.imagenet_frame import DEVIATION, MEAN
from hilum.parts.self_distillation import PrototypeHead, SelfDistilled, block_mask
from hilum.systems.virchow import HUGE, Virchow, embedding

ROOT = Path(__file__).resolve().parents[1]
HELD_BACK = 4  # every fourth tile is kept from training


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes and numbers of a training."""

    encoder: VitConfig
    tile: int = 224
    large: int = 224
    small: int = 98
    smalls: int = 8
    batch: int = 1024
    prototypes: int = 65536
    hidden: int = 2048  # of the heads
    narrow: int = 256
    epochs: int = 100
    warm_up: int = 10  # epochs
    rate: float = 1e-3  # of a batch of 1024, and by the root of its size
    decay: tuple[float, float] = (0.04, 0.4)
    momentum: tuple[float, float] = (0.994, 1.0)  # of the teacher
    temperature: tuple[float, float] = (0.04, 0.07)  # of the teacher, over the first 30 % of the steps
    masked: float = 0.5  # of the large views have hidden patches
    ratio: tuple[float, float] = (0.1, 0.5)  # of their patches
    apart: float = 0.1  # weight of KoLeo
    clip: float = 3.0


PUBLISHED = Plan(replace(HUGE, drop_path=0.4))
POCKET = Plan(  # ours
    VitConfig(image_size=56, patch=14, dim=64, depth=3, heads=2, mlp="swiglu", mlp_ratio=5.3125, layer_scale=0.1),
    large=56,
    small=28,
    smalls=2,
    batch=24,
    prototypes=64,
    hidden=128,
    narrow=32,
    momentum=(0.97, 1.0),
    temperature=(0.04, 0.04),
    rate=3.3e-3,
)


class Training(nn.Module):
    """Student, teacher, and what the one should learn from the other."""

    def __init__(self, plan: Plan):
        super().__init__()
        self.plan = plan
        heads = [
            PrototypeHead(plan.encoder.dim, plan.prototypes, hidden=plan.hidden, narrow=plan.narrow) for _ in range(2)
        ]
        self.student = SelfDistilled(Vit(plan.encoder), *heads)
        self.teacher = self.student.teacher()

    def forward(self, views: list[View], hidden: Bool[Tensor, "b n"], temperature: float) -> Terms:
        """The first two views are large; `hidden` speaks of their patches, one view after the other."""
        large, count = normalised(torch.cat([each.pixels for each in views[:2]])), len(views[0].pixels)
        classes, patches = self.student(large, hidden)
        said = list(self.student.class_head(classes).split(count))
        if views[2:]:
            small = normalised(torch.cat([each.pixels for each in views[2:]]))
            said += self.student.class_head(self.student(small)[0]).split(count)
        with torch.no_grad():
            own, whole = self.teacher(large)
            wanted = [balanced(each, temperature) for each in self.teacher.class_head(own).split(count)]
            of_patches = balanced(self.teacher.patch_head(whole[hidden]), temperature)
        apart = torch.stack([crowding(each) for each in classes.split(count)]).mean()
        return Terms(
            {
                "class": class_distillation(said, wanted),
                "patch": patch_distillation(self.student.patch_head(patches[hidden]), of_patches, hidden),
                "apart": self.plan.apart * apart,
            }
        )

    def hidden(self, rng: np.random.Generator, count: int) -> Bool[Tensor, "b n"]:
        """Which patches are hidden from the student, in half of the views; never none at all."""
        side = self.plan.large // self.plan.encoder.patch
        shares = np.where(rng.random(count) < self.plan.masked, rng.uniform(*self.plan.ratio, count), 0)
        shares[0] = max(shares[0], self.plan.ratio[0])
        masks = [block_mask((side, side), int(np.ceil(share * side**2)), rng) for share in shares]
        return torch.from_numpy(np.stack(masks)).flatten(1)


def normalised(pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
    """By ImageNet's constants, as the published weights want it."""
    mean, deviation = (torch.tensor(each, device=pixels.device)[:, None, None] for each in (MEAN, DEVIATION))
    return (pixels - mean) / deviation


def views(shown: list[Tensor], plan: Plan) -> list[View]:
    """Two large ones, then the small ones."""
    large, small = Cut(plan.large, (0.32, 1.0), recolour()), Cut(plan.small, (0.05, 0.32), recolour())
    return [view(shown, cut) for cut in (large, large, *(small for _ in range(plan.smalls)))]


@torch.no_grad()
def judged(encoder: Vit, every: list[tuple[str, Tensor]], device: str) -> str:
    """How often the tile nearest to a held-back one is of the same source, and how many directions vectors take."""
    side = encoder.config.image_size
    small = [nn.functional.interpolate(tile[None].float(), (side, side), mode="area") / 255 for _, tile in every]
    vectors = embedding(encoder.eval()(normalised(torch.cat(small).to(device))), encoder.config.prefix)
    unit = nn.functional.normalize(vectors - vectors.mean(0), dim=-1)
    nearest = (unit @ unit.T).fill_diagonal_(-torch.inf).argmax(1).tolist()
    right = np.mean([every[a][0] == every[nearest[a]][0] for a in range(0, len(every), HELD_BACK)])
    spectrum = torch.linalg.svdvals(vectors - vectors.mean(0))
    share = spectrum / spectrum.sum()
    rank = float((-(share * share.clamp(min=1e-12).log()).sum()).exp())
    return f"nearest to held-back tiles is of the same source: {right:.3f}; effective rank of the vectors: {rank:.1f}"


def train(given: argparse.Namespace) -> None:
    """Train, judge the teacher before and after, and write its encoder."""
    plan = POCKET if given.pocket else PUBLISHED
    torch.manual_seed(0)
    every = tiles(plan.tile)
    seen = [tile for place, (_, tile) in enumerate(every) if place % HELD_BACK]
    training = Training(plan)
    if given.start:
        started(training, given.start)
    training.to(given.device)
    print(f"{len(seen)} tiles, {len(every) - len(seen)} held back", flush=True)
    print("before:", judged(training.teacher.encoder, every, given.device), flush=True)
    optimise(training, seen, given)
    print("after:", judged(training.teacher.encoder, every, given.device), flush=True)
    out = Path(given.out)
    out.mkdir(parents=True, exist_ok=True)
    state = Virchow.table.inverse(training.teacher.encoder.state_dict())
    told = {"recipe": "recipes/virchow.py", "plan": str(asdict(plan))}
    save_file({name: t.contiguous().cpu() for name, t in state.items()}, out / "teacher.safetensors", told)


def started(training: Training, name: str) -> None:
    """Student and teacher begin with the weights of a tag."""
    import hilum

    state = hilum.load(name, backend="torch", device="cpu").network.state_dict()
    for model in (training.student, training.teacher):
        model.encoder.load_state_dict(state)


def optimise(training: Training, seen: list[Tensor], given: argparse.Namespace) -> None:
    """AdamW; learning rate, decay and the teacher's momentum change with the share of the steps."""
    plan, rng, start = training.plan, np.random.default_rng(0), time.monotonic()
    steps = given.steps or max(1, len(seen) // plan.batch) * plan.epochs
    rate = Cosine(plan.rate * (plan.batch / 1024) ** 0.5, 1e-6, steps, int(steps * plan.warm_up / plan.epochs))
    decay, momentum = (Cosine(*ends, steps) for ends in (plan.decay, plan.momentum))
    optimiser = torch.optim.AdamW(groups(training.student), lr=rate.first)
    lately: list[dict[str, float]] = []
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate(step)
            group["weight_decay"] = decay(step) if group["decays"] else 0.0
        shown = views([seen[int(i)] for i in torch.randint(len(seen), (plan.batch,))], plan)
        temperature = float(np.interp(step / steps, (0, 0.3), plan.temperature))
        with torch.autocast(given.device, torch.bfloat16, enabled=given.device != "cpu"):
            hidden = training.hidden(rng, 2 * plan.batch).to(given.device)
            terms = training([each.to(torch.device(given.device)) for each in shown], hidden, temperature)
        optimiser.zero_grad()
        terms.total.backward()
        nn.utils.clip_grad_norm_(training.student.parameters(), plan.clip)
        optimiser.step()
        follow(training.teacher, training.student, momentum(step))
        lately.append(terms.numbers())
        if (step + 1) % given.tell == 0:
            mean = {name: np.mean([each[name] for each in lately]) for name in lately[0]}
            took = time.monotonic() - start
            print(f"step {step + 1} ({took:.0f} s):", *(f"{n} {v:.3f}" for n, v in mean.items()), flush=True)
            lately.clear()


def groups(student: SelfDistilled) -> list[dict]:
    """Matrices decay; norms, biases, scales and tokens do not."""
    sorts = {True: [], False: []}
    for name, weight in student.named_parameters():
        sorts[weight.ndim > 1 and not name.endswith(("_token", "pos_embed"))].append(weight)
    return [{"params": weights, "decays": decays} for decays, weights in sorts.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command = parser.add_subparsers(required=True).add_parser("train", help=train.__doc__)
    command.add_argument("--pocket", action="store_true", help="small sizes, for a CPU")
    command.add_argument("--steps", type=int, help="instead of the plan's epochs")
    command.add_argument("--start", help="a tag to begin from, such as virchow.virchow")
    command.add_argument("--device", default="cpu")
    command.add_argument("--tell", type=int, default=25)
    command.add_argument("--out", default=str(ROOT / "runs/virchow"))
    given = parser.parse_args()
    if given.device == "cpu":
        torch.set_num_threads(1)
    train(given)


if __name__ == "__main__":
    main()
