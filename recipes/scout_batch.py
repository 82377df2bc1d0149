"""Batches for scout from the bank: random geometry, grey levels and prompts, harder as the curriculum goes on."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from scout_data import SIDE
from scout_shapes import LABELS
from scout_twists import CONTEXT_EDGES, NO_EDGES, Aim, aimed, boxed_in, coarsened, striped, tile, within
from torch import Tensor

from hilum.parts import interaction
from hilum.parts.prompt_maps import CropPrompt, blur
from hilum.systems.scout import ScoutBatch as Batch

SLOTS = 24
SHARES = {
    "nuclei": 3.5,
    "ultrasound": 4.5,
    "hippocampus": 2.0,
    "chase": 1.2,
    "vessels": 5.0,
    "bodies": 1.5,
    "regions": 3.0,
    "scenes": 3.0,
    "brain": 2.0,
    "threshold": 0.5,
}
EASY = ("nuclei", "ultrasound", "hippocampus")
LARGE = ("bodies", "brain", "scenes")
SOLID = (*LARGE, "ultrasound", "regions")  # also looked at in parts


@dataclass(frozen=True, slots=True)
class Course:
    """How hard samples are, each 0..1: share of made-up targets, grey-level changes, geometry and box noise, clicks.

    `side` is the crop's, in pixels: the first crops are small, hence cheap. `thin` weighs the vessels, which take long
    to learn."""

    made: float
    grey: float
    geometry: float
    clicks: float
    side: int = 128
    thin: float = 1.0

    @classmethod
    def after(cls, seen: int, share: float) -> "Course":
        """After so many crops, and so large a share of the run's time."""

        def rise(start: float, length: float) -> float:
            return min(max((seen / 1000 - start) / length, 0.0), 1.0)

        return cls(
            made=rise(5, 8),
            grey=rise(8, 12),
            geometry=rise(10, 12),
            clicks=rise(12, 10),
            side=96 if share < 0.72 else 128,
            thin=2.0 if share < 0.85 else 1.2,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Objects of one kind: pairs of image and mask, or label scenes whose image is drawn when used."""

    name: str
    groups: tuple[tuple[np.ndarray | None, np.ndarray], ...]

    @classmethod
    def open(cls, folder: Path, split: str) -> "Source":
        groups: list[tuple[np.ndarray | None, np.ndarray]] = []
        for path in sorted(folder.glob(f"{split}.*.npy")):
            if path.name.endswith("mask.npy"):
                image = np.load(path.with_name(path.name.replace("mask.npy", "image.npy")), mmap_mode="r")
                groups.append((image, np.load(path, mmap_mode="r")))
            elif path.name.endswith("scene.npy"):
                groups.append((None, np.load(path, mmap_mode="r")))
        return cls(folder.name, tuple(groups))

    def __len__(self) -> int:
        return sum(len(masks) for _, masks in self.groups)

    def item(self, index: int) -> tuple[np.ndarray | None, np.ndarray]:
        for images, masks in self.groups:
            if index < len(masks):
                return (None if images is None else images[index]), masks[index]
            index -= len(masks)
        raise IndexError(index)


def open_bank(folder: Path, split: str) -> dict[str, Source]:
    found = (Source.open(path, split) for path in sorted(folder.iterdir()) if path.is_dir())
    return {source.name: source for source in found if len(source)}


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """Where the crop looks: the affine of `affine_grid` into the context, and the box in crop pixels."""

    theta: Float[np.ndarray, "2 3"]
    box: Float[np.ndarray, " 4"]


def view(target: Bool[np.ndarray, "s s"], rng: np.random.Generator, course: Course, *, boxed: bool) -> View:
    """A random turn, stretch and window around the target's box, which is itself a little wrong."""
    hard = course.geometry
    turn = rng.integers(4) * np.pi / 2 + rng.normal() * 0.35 * hard * (rng.random() < 0.5)
    flip = np.diag([rng.choice([-1.0, 1.0]), 1.0])
    stretch = np.diag(np.exp(rng.normal(size=2) * 0.15 * hard))
    way = stretch @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ flip
    ys, xs = np.nonzero(target)
    placed = (np.stack([xs, ys], 1) + 0.5 - SIDE / 2) @ way.T
    low, high = placed.min(0) - 0.5, placed.max(0) + 0.5
    noise = np.clip(rng.normal(size=(2, 2)), -2, 2) * 0.06 * hard * (rng.random() < 0.6) * (high - low)
    low, high = low + noise[0], high + noise[1]
    side = high - low
    scale = (
        1.5 * np.exp(rng.normal() * 0.2 * hard)
        if boxed
        else np.exp(rng.uniform(0.25 if rng.random() < 0.88 else -0.4, 1.35))
    )
    size = (np.maximum(scale, 1.1) if boxed else scale) * np.maximum(side, side.max() / (2 if boxed else 1))
    middle = (low + high) / 2 + (rng.normal(size=2) * 0.04 * hard if boxed else rng.uniform(-0.3, 0.3, 2)) * side
    back = np.linalg.inv(way)
    theta = np.concatenate([back @ np.diag(size / 2), (back @ middle)[:, None]], 1) / (SIDE / 2)
    corners = np.stack([low, high])
    pixels = ((corners - middle) / size + 0.5) * course.side - 0.5 + np.array([[0.5], [-0.5]])
    return View(theta, pixels.ravel())


def look(
    seen: tuple[np.ndarray | None, np.ndarray], aim: Aim, theta: np.ndarray, *, side: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Sample image (3, h, w) in 0..1 and the share of each pixel (1, h, w) that is target; a scene is drawn here."""
    image, labels = seen
    grid = F.affine_grid(torch.from_numpy(theta[None].astype(np.float32)), [1, 1, side, side], align_corners=False)
    grid, inside = within(grid, aim.edges)
    mode = {"padding_mode": "border", "align_corners": False}
    mask = F.grid_sample(torch.from_numpy(aim.target[None, None].astype(np.float32)), grid, **mode)[0] * inside
    if image is None:
        scene = F.grid_sample(torch.from_numpy(labels[None, None].astype(np.float32)), grid, mode="nearest", **mode)
        return drawn(scene[0, 0].long(), rng), mask
    crop = F.grid_sample(torch.from_numpy(image[None].astype(np.float32) / 255), grid, **mode)[0]
    return crop.expand(3, -1, -1), mask


def drawn(labels: Tensor, rng: np.random.Generator) -> Float[Tensor, "3 h w"]:
    """Grey or colour levels per label, smooth texture of random strength and grain, blurred edges."""
    planes = 3 if rng.random() < 0.2 else 1
    means = rng.uniform(0, 1, (LABELS, planes))
    if rng.random() < 0.7:
        means[2] = means[1]
    image = torch.from_numpy(means.astype(np.float32))[labels]
    spread = torch.from_numpy((rng.uniform(0, 0.2, LABELS) * (rng.random() < 0.8)).astype(np.float32))
    grain = int(rng.choice([32, 64, 128, 128]))
    noise = F.interpolate(
        torch.from_numpy(rng.normal(size=(1, 1, grain, grain)).astype(np.float32)), size=labels.shape, mode="bilinear"
    )[0, 0]
    image = image + (noise * spread[labels])[..., None]
    image = image.permute(2, 0, 1).expand(3, -1, -1)
    if rng.random() < 0.7:
        share = float(rng.uniform(0, 1))
        image = image * (1 - share) + blur(image[None])[0] * share
    if rng.random() < 0.2:
        image = striped(image, rng)
    return image.clamp(0, 1)


def recolour(
    image: Float[Tensor, "b 3 h w"], rng: np.random.Generator, strength: Float[np.ndarray, " b"]
) -> Float[Tensor, "b 3 h w"]:
    """Random grey curve, inversion, colour loss and mixing, shading, blur and noise; each for a share of the batch."""
    count = len(image)

    def some(share: float) -> Tensor:
        return torch.from_numpy((rng.random(count) < share * strength).astype(np.float32))[:, None, None, None]

    def draw(low: float, high: float, *shape: int) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, (count, *(shape or (1, 1, 1)))).astype(np.float32))

    pick = some(0.6)
    image = image * (1 - pick) + pick * image.clamp(min=1e-4) ** torch.exp(draw(-0.8, 0.8))
    pick = some(0.35)
    image = image + pick * draw(0.05, 0.25) * torch.sin(draw(2, 7) * image + draw(0, 6))
    pick = some(0.35)
    image = image * (1 - pick) + pick * (1 - image)
    pick = some(0.2)
    image = image * (1 - pick) + pick * image.mean(1, keepdim=True)
    pick = some(0.2)
    image = image * (1 - pick) + pick * image.flip(1)
    shade = F.interpolate(draw(-0.4, 0.4, 1, 3, 3), size=image.shape[-2:], mode="bilinear")
    image = image * (1 + some(0.4) * shade)
    pick = some(0.2)
    image = image * (1 - pick) + pick * blur(image)
    noise = torch.from_numpy(rng.standard_normal((count, 1, *image.shape[-2:]), dtype=np.float32))
    return image + some(0.35) * draw(0, 0.12) * noise


def sample(bank: dict[str, Source], rng: np.random.Generator, course: Course, count: int) -> Batch:
    """A batch of `count` crops with prompts."""
    names = [name for name in bank if name in SHARES]
    weight = np.array([SHARES[name] * (1.0 if name in EASY else course.made) for name in names])
    weight = weight * [course.thin if name == "vessels" else 1.0 for name in names]
    made = [one(bank[names[rng.choice(len(names), p=weight / weight.sum())]], rng, course) for _ in range(count)]
    batch = assemble(made)
    image = recolour(batch.image, rng, course.grey * np.array([each.grey for each in made]))
    return carried(Batch(image, batch.mask, batch.prompt, batch.ambiguous), rng, 0.12 * course.clicks)


@dataclass(frozen=True, slots=True, eq=False)
class One:
    """One crop: image, mask, box in crop pixels or none, clicks, a coarse answer or none; how strongly to recolour."""

    image: Float[Tensor, "3 h w"]
    mask: Float[Tensor, "1 h w"]
    box: Float[np.ndarray, " 4"]
    boxed: bool
    points: tuple[np.ndarray, np.ndarray]
    before: Float[Tensor, "1 h w"] | None = None
    grey: float = 1.0


def one(source: Source, rng: np.random.Generator, course: Course) -> One:
    """An object of the source, aimed at in some way and prompted in some way."""
    image, labels = source.item(int(rng.integers(len(source))))
    target = labels == 1 if image is None else labels > 127
    solid = source.name in SOLID and rng.random() < 0.1 * course.clicks
    if (solid or source.name == "vessels") and target.any():
        return close((image, labels if image is None else target), target, rng, course, solid=solid)
    aim = aimed(labels if image is None else target, target, rng, course.geometry)
    boxed = source.name == "chase" or rng.random() > (0.45 if source.name in LARGE else 0.35) * course.clicks
    where = view(aim.target, rng, course, boxed=boxed)
    crop, share = look((image, labels), aim, where.theta, side=course.side, rng=rng)
    mask = (share > (0.3 if source.name == "chase" else 0.5)).float()
    if not mask.any():
        mask[:, course.side // 2, course.side // 2] = 1
    clicks = points(mask[0].numpy() > 0.5, rng, course, boxed=boxed, told=aim.told)
    return One(crop, mask, where.box, boxed, clicks)


def close(
    seen: tuple[np.ndarray | None, np.ndarray],
    target: Bool[np.ndarray, "s s"],
    rng: np.random.Generator,
    course: Course,
    *,
    solid: bool,
) -> One:
    """One tile by its box, often after a coarse answer; or all of a thin tree around one click."""
    where = tile(target, rng, course.side, course.clicks, solid=solid)
    crop, share = look(seen, Aim(target, CONTEXT_EDGES), where.theta, side=course.side, rng=rng)
    mask = (share > 0.33).float()
    before = coarsened(mask, rng) if where.coarse else None
    mask = boxed_in(mask, where.box) if where.boxed else mask
    if not mask.any() and not where.boxed:
        mask[:, course.side // 2, course.side // 2] = 1
    return One(
        crop, mask, where.box, where.boxed, points(mask[0].numpy() > 0.5, rng, course, boxed=where.boxed), before
    )


def carried(batch: Batch, rng: np.random.Generator, share: float) -> Batch:
    """For a share of the crops, a previous mask that is a little off, as from a neighbouring slice."""
    prompt, size = batch.prompt, batch.mask.shape[-2:]
    soft = batch.mask
    for _ in range(int(rng.integers(1, 4))):
        soft = blur(soft)
    wave = F.interpolate(
        torch.from_numpy(rng.normal(size=(len(soft), 1, 5, 5)).astype(np.float32)), size=size, mode="bicubic"
    )
    soft = soft.roll([int(way) for way in rng.integers(-4, 5, 2)], (2, 3))
    guess = torch.sigmoid(12 * (soft - 0.45 + 0.25 * wave))
    pick = torch.from_numpy(rng.random(len(soft)) < share) & ~prompt.continued
    previous = torch.where(pick[:, None, None, None], guess, prompt.previous)
    later = CropPrompt(prompt.box, prompt.boxed, prompt.points, prompt.sign, previous, pick | prompt.continued)
    return Batch(batch.image, batch.mask, later, batch.ambiguous & ~pick)


def assemble(made: list[One]) -> Batch:
    """Crops and their prompts as one batch."""
    image, mask = (torch.stack([getattr(each, name) for each in made]) for name in ("image", "mask"))
    box = torch.from_numpy(np.stack([each.box for each in made]).astype(np.float32))
    boxed = torch.tensor([each.boxed for each in made])
    at, sign = (torch.from_numpy(np.stack([each.points[k] for each in made]).astype(np.float32)) for k in (0, 1))
    continued = torch.tensor([each.before is not None for each in made])
    previous = torch.stack([torch.zeros_like(each.mask) if each.before is None else each.before for each in made])
    ambiguous = ~boxed & (sign.abs().sum(1) == 1) & ~continued
    return Batch(image, mask, CropPrompt(box, boxed, at, sign, previous, continued), ambiguous)


def points(
    mask: Bool[np.ndarray, "h w"], rng: np.random.Generator, course: Course, *, boxed: bool, told: bool = False
) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, " n"]]:
    """Clicks and scribbles in SLOTS slots: none or a few beside a box, one or some without; `told`: some."""
    given: list[tuple[tuple[float, float], float]] = []
    style = 0.3 * course.clicks * rng.random() if told else rng.random()
    if not boxed:
        given.append(
            ((interaction.first_click(mask) if rng.random() < 0.6 else interaction.random_click(mask, rng)).at, 1.0)
        )
    if style < 0.12 * course.clicks:
        given += stroke(mask, rng, 1.0, 8)
        given += stroke(interaction.margin(mask, width=8), rng, -1.0, 8) if rng.random() < 0.4 else []
    elif style < 0.3 * course.clicks:
        for _ in range(int(rng.integers(1, 4))):
            inside = rng.random() < 0.6
            region = mask if inside else interaction.margin(mask, width=12)
            if region.any():
                given.append((interaction.random_click(region, rng).at, 1.0 if inside else -1.0))
    at, sign = np.zeros((SLOTS, 2)), np.zeros(SLOTS)
    for slot, (where, way) in enumerate(given[:SLOTS]):
        at[slot], sign[slot] = where, way
    return at, sign


def stroke(region: Bool[np.ndarray, "h w"], rng: np.random.Generator, way: float, most: int) -> list:
    """At most `most` points along a scribble."""
    ys, xs = np.nonzero(interaction.scribble(region, rng))
    chosen = rng.permutation(len(xs))[:most]
    return [((float(xs[one]), float(ys[one])), way) for one in chosen]


def corrected(batch: Batch, probability: Float[Tensor, "b 1 h w"], given: int) -> Batch:
    """The next round: the guess becomes the previous mask, a click is set in the middle of the largest error."""
    at, sign = batch.prompt.points.clone(), batch.prompt.sign.clone()
    for row in range(len(at)):
        guess, mask = (tensor[row, 0].numpy() > 0.5 for tensor in (probability, batch.mask))
        click = interaction.correction_click(mask, guess)
        free = int((sign[row] == 0).float().argmax()) if (sign[row] == 0).any() else SLOTS - 1 - given
        if click is not None:
            at[row, free], sign[row, free] = torch.tensor(click.at), 1.0 if click.inside else -1.0
    kept = torch.ones(len(at), dtype=torch.bool)
    prompt = CropPrompt(batch.prompt.box, batch.prompt.boxed, at, sign, probability, kept)
    return Batch(batch.image, batch.mask, prompt, torch.zeros(len(at), dtype=torch.bool))


def sample_clicks(source: Source, rng: np.random.Generator, course: Course, count: int) -> Batch:
    """One click in the middle of each object, no box, windows of random size."""
    made = []
    for _ in range(count):
        image, labels = source.item(int(rng.integers(len(source))))
        target = labels == 1 if image is None else labels > 127
        where = view(target, rng, course, boxed=False)
        crop, share = look((image, labels), Aim(target, NO_EDGES), where.theta, side=course.side, rng=rng)
        mask = (share > 0.5).float()
        clicks = points(mask[0].numpy() > 0.5, rng, course, boxed=False)
        made.append(One(crop, mask, where.box, False, clicks))
    return assemble(made)
