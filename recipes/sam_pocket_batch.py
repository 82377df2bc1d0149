"""Batches for the pocket SAM from its bank: random views and grey levels, and prompts as SAM simulates them."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from scipy import ndimage
from scout_batch import drawn, recolour
from scout_data import SIDE
from torch import Tensor

from hilum.parts import interaction
from hilum.parts.sam import SamBatch
from hilum.parts.sam_frame import DEVIATION, MEAN
from hilum.parts.sam_med2d_rounds import error_points
from hilum.parts.sam_prompt_encoder import SamPrompts

SHARES = {
    "regions": 3.0,
    "bodies": 2.0,
    "brain": 2.5,
    "threshold": 0.7,
    "organs": 0.2,
    "tumour": 0.6,
    "scenes": 3.0,
    "trees": 2.5,
}
SMALLEST = 25  # pixels of a mask in the network's square
TOGETHER = 6  # masks of one picture


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Pictures with packed masks, or label scenes whose picture is drawn when it is used."""

    name: str
    images: np.ndarray | None
    masks: np.ndarray

    def __len__(self) -> int:
        return len(self.masks)


def open_bank(folder: Path, split: str) -> dict[str, Source]:
    """The sources that are there, read where they lie."""
    found = {}
    for path in sorted(folder.iterdir()):
        if (path / f"{split}.scene.npy").exists():
            found[path.name] = Source(path.name, None, np.load(path / f"{split}.scene.npy", mmap_mode="r"))
        elif (path / f"{split}.masks.npy").exists():
            images = np.load(path / f"{split}.image.npy", mmap_mode="r")
            found[path.name] = Source(path.name, images, np.load(path / f"{split}.masks.npy", mmap_mode="r"))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A picture in the square, in 0..1; where it is; TOGETHER masks."""

    image: Float[Tensor, "3 s s"]
    inside: Float[Tensor, "1 s s"]
    masks: Bool[np.ndarray, "k s s"]


def view(source: Source, rng: np.random.Generator, side: int, *, still: bool = False) -> View | None:
    """A picture turned, stretched, cropped at random (or as it is), and some of its masks; None where none is left."""
    index = int(rng.integers(len(source)))
    labels = source.masks[index]
    masks = None if source.images is None else np.unpackbits(labels, axis=-1).astype(bool)
    anchor = None
    if masks is not None:
        masks = masks[masks.any((1, 2))]
        anchor = masks[int(rng.integers(len(masks)))]
    grid = looking(np.eye(2, 3) if still else way(rng, anchor), side)
    inside = (grid.abs() <= 1).all(-1).float()
    if masks is None or source.images is None:
        scene = sampled(torch.from_numpy(labels.astype(np.float32))[None], grid, "nearest")[0].long()
        found = of_scene(scene.numpy() * inside[0].numpy().astype(int), rng)
        image = drawn(scene, rng)
    else:
        image = sampled(torch.from_numpy(source.images[index].astype(np.float32) / 255), grid, "bilinear")
        soft = sampled(torch.from_numpy(masks.astype(np.float32)), grid, "bilinear").numpy() > 0.5
        found = [mask for mask in soft if mask.sum() >= SMALLEST]
    if not found:
        return None
    chosen = [found[place] for place in rng.permutation(len(found))[:TOGETHER]]
    chosen += [found[int(rng.integers(len(found)))] for _ in range(TOGETHER - len(chosen))]
    return View(image, inside, np.stack(chosen))


def way(rng: np.random.Generator, anchor: Bool[np.ndarray, "s s"] | None) -> Float[np.ndarray, "2 3"]:
    """A quarter turn or a small one, a mirror, a stretch, a window of 0.35 to 1.15 of the picture, small ones near the
    anchor."""
    turn = rng.integers(4) * np.pi / 2 + rng.normal() * 0.3 * (rng.random() < 0.5)
    size = np.exp(rng.uniform(np.log(0.35), np.log(1.15))) * np.exp(rng.normal(size=2) * 0.12)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.diag(
        size * np.array([rng.choice([-1, 1]), 1])
    )
    middle = rng.uniform(-0.3, 0.3, 2)
    if anchor is not None:
        ys, xs = np.nonzero(anchor)
        pixel = rng.integers(len(xs))
        middle = (np.array([xs[pixel], ys[pixel]]) + 0.5) / SIDE * 2 - 1
    free = np.clip(1 - size, 0, None) + 0.1
    return np.concatenate([matrix, np.clip(middle, -free, free)[:, None]], axis=1)


def looking(theta: Float[np.ndarray, "2 3"], side: int) -> Float[Tensor, "1 s s 2"]:
    """Where each pixel of the square looks in the picture, -1 to 1."""
    return F.affine_grid(torch.from_numpy(theta[None].astype(np.float32)), [1, 1, side, side], align_corners=False)


def sampled(planes: Float[Tensor, "c h w"], grid: Float[Tensor, "1 s s 2"], mode: str) -> Float[Tensor, "c s s"]:
    """The planes there; zeros outside, as in SAM's padding."""
    return F.grid_sample(planes[None], grid, mode=mode, padding_mode="zeros", align_corners=False)[0]


def of_scene(scene: np.ndarray, rng: np.random.Generator) -> list[Bool[np.ndarray, "s s"]]:
    """Masks of a label map: some labels as they are, of others one connected part."""
    found = []
    for label in rng.permutation(np.unique(scene[scene > 0]))[: 2 * TOGETHER]:
        mask = scene == label
        if label > 1 and rng.random() < 0.7:
            parts, count = ndimage.label(mask)
            mask = parts == rng.integers(1, count + 1)
        if mask.sum() >= SMALLEST:
            found.append(mask)
    return found


def sample(
    bank: dict[str, Source], rng: np.random.Generator, count: int, side: int, *, boxes: bool = False
) -> SamBatch:
    """`count` pictures, TOGETHER masks of each, opening prompts (of boxes alone, where so asked)."""
    names = [name for name in bank if name in SHARES]
    weight = np.array([SHARES[name] for name in names])
    views: list[View] = []
    while len(views) < count:
        found = view(bank[names[rng.choice(len(names), p=weight / weight.sum())]], rng, side)
        views += [] if found is None else [found]
    image = recolour(torch.stack([each.image for each in views]), rng, np.full(count, 0.8))
    return batched(views, image.clamp(0, 1), opening(np.concatenate([each.masks for each in views]), rng, boxes=boxes))


def batched(views: list[View], image: Float[Tensor, "b 3 s s"], prompts: SamPrompts) -> SamBatch:
    """Pixels as SAM takes them: on 0..255, without ImageNet's mean, zero outside the picture."""
    mean, deviation = (torch.tensor(constants)[:, None, None] for constants in (MEAN, DEVIATION))
    pixels = (255 * image - mean) / deviation * torch.stack([each.inside for each in views])
    masks = torch.from_numpy(np.concatenate([each.masks for each in views])).float()[:, None]
    return SamBatch(pixels, prompts, masks)


def opening(masks: Bool[np.ndarray, "n s s"], rng: np.random.Generator, *, boxes: bool = False) -> SamPrompts:
    """A box for every mask, off by a tenth of its side (appendix A), or one click in each, or several at once."""
    kind = 0.0 if boxes else rng.random()
    if kind < 0.5:
        around = np.stack([interaction.jittered_box(mask, rng) for mask in masks])
        return SamPrompts(boxes=torch.from_numpy(around).float().reshape(-1, 4))
    count = 1 if kind < 0.85 else int(rng.integers(2, 7))
    at = np.stack([[clicked(mask, rng) for _ in range(count)] for mask in masks])
    return SamPrompts(torch.from_numpy(at).float(), torch.ones(at.shape[:2], dtype=torch.bool))


def clicked(mask: Bool[np.ndarray, "s s"], rng: np.random.Generator) -> tuple[float, float]:
    """Any pixel of the mask, or its middle."""
    if rng.random() < 0.3:
        return interaction.first_click(mask).at
    rows, columns = np.nonzero(mask)
    chosen = rng.integers(len(rows))
    return float(columns[chosen]), float(rows[chosen])


def corrected(
    batch: SamBatch,
    logits: Float[Tensor, "n 1 s s"],
    low: Float[Tensor, "n 1 h w"],
    rng: np.random.Generator,
    *,
    silent: bool,
) -> SamBatch:
    """What is said next: all that was said, a click anywhere in the error (unless silent), and the answer's logits."""
    prompts = replace(batch.prompts, masks=low.detach().float())
    if silent:
        return replace(batch, prompts=prompts)
    pairs = zip((batch.masks[:, 0] > 0.5).numpy(), (logits[:, 0] > 0).numpy(), strict=True)
    at, inside, present = (
        torch.from_numpy(np.stack(part))
        for part in zip(*(error_points(mask, guess, 1, rng) for mask, guess in pairs), strict=True)
    )
    old = prompts.points, prompts.inside, prompts.present
    if old[0] is not None and old[1] is not None:
        there = torch.ones_like(old[1]) if old[2] is None else old[2]
        at, inside = torch.cat([old[0], at.float()], dim=1), torch.cat([old[1], inside], dim=1)
        present = torch.cat([there, present], dim=1)
    return replace(batch, prompts=SamPrompts(at.float(), inside, prompts.boxes, prompts.masks, present))


def ambiguous(prompts: SamPrompts) -> bool:
    """One click and nothing else: three masks answer it."""
    one = prompts.points is not None and prompts.points.shape[1] == 1
    return one and prompts.boxes is None and prompts.masks is None
