"""CLIP-Driven Universal Model — Liu, Zhang, Chen, Xiao, Lu, Landman, Yuan, Yuille, Tang, Zhou, CLIP-driven universal
model for organ segmentation and tumor detection (ICCV 2023; Medical Image Analysis 2024).

One network for organs, vessels, tumours and cysts of the abdomen on CT, 32 classes in all, learned from 14 public sets
that each label others. CLIP's vector of "A computerized tomography of a {organ}" and what the backbone makes of the
image choose three small layers for each class; each class is a mask of its own, so that a tumour also belongs to its
organ, and an image teaches only the organs that its set labels. A CT is brought to cubes of 1.5 mm along the patient
and seen in overlapping windows; the masks are then corrected by what an abdomen must look like. Public: code and
weights (CC BY-NC-ND 4.0). This file is written from a description, not from that code. Deviation: masks return to the
user's own grid; lungs that hang together are told apart by their channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Self

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from hilum.capabilities.look import Seen, tensors
from hilum.capabilities.system import System
from hilum.capabilities.volumetric import Outlined
from hilum.objectives.partial_label import By, partial_label_bce_dice
from hilum.objectives.terms import Terms
from hilum.parts import abdominal_classes, organ_rules
from hilum.parts.abdominal_classes import CLASSES
from hilum.parts.isotropic_grid import IsotropicGrid
from hilum.parts.sliding_window import slabs
from hilum.parts.swin_unetr import SwinUnetrConfig, swin_unetr
from hilum.parts.text_driven import TextDriven, TextDrivenConfig
from hilum.parts.volume_crops import cubes
from hilum.values.answers import tight_box
from hilum.values.errors import BadInput
from hilum.values.image import Image
from hilum.weights.rename import Rule, Table

WINDOW = (-175.0, 250.0)  # HU (the published preparation)
STEP = 1.5  # mm (ibid.)


@dataclass(frozen=True, slots=True)
class UniversalConfig:
    """Sizes. `sides` are the window's, in cubes of 1.5 mm; windows overlap by a half (the published inference)."""

    backbone: SwinUnetrConfig
    text: int = 512  # of CLIP ViT-B/32
    width: int = 256
    groups: int = 16
    sides: tuple[int, int, int] = (96, 96, 96)
    dice: By = "rowwise"  # as published; "volume" does not stay near 0.8

    @property
    def head(self) -> TextDrivenConfig:
        """The text-driven segmentor around this backbone."""
        return TextDrivenConfig(
            deep=self.backbone.deepest,
            fine=self.backbone.feature,
            classes=len(CLASSES),
            text=self.text,
            width=self.width,
            groups=self.groups,
        )


PAPER = UniversalConfig(SwinUnetrConfig())
TINY = UniversalConfig(
    SwinUnetrConfig(12, (1, 1, 1, 1), (1, 1, 1, 1), 2), text=16, width=16, groups=4, sides=(64, 32, 32)
)


@dataclass(frozen=True, slots=True, eq=False)
class UniversalBatch:
    """Cubes in 0..1, the masks of all classes, and which of them each cube's data set labels."""

    pixels: Float[Tensor, "b 1 x y z"]
    masks: Float[Tensor, "b k x y z"]
    labelled: Bool[Tensor, "b k"]


class ClipDrivenUniversal(System):
    """32 classes of the abdomen and chest on CT, chosen by name."""

    configs: ClassVar[dict[str, UniversalConfig]] = {"swin_unetr": PAPER}
    table = Table()  # the published names are those of the parts
    spelling = Table(  # older files name the backbone's parts without it
        Rule(r"^(swinViT|encoder|decoder)", r"backbone.\1"),
        Rule(r"^module\.(swinViT|encoder|decoder)", r"module.backbone.\1"),
    )
    network: TextDriven

    @classmethod
    def build(cls, config: UniversalConfig) -> TextDriven:
        return TextDriven(swin_unetr(config.backbone), config.head)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        return cls.seeded(TINY, seed)

    def costly(self) -> tuple[nn.Module, tuple[int, ...]]:
        """One window; a CT of the abdomen takes some hundred of them."""
        return self.network, (1, 1, *self.config.sides)

    def prepare(self, image: Image) -> Image:
        """HU as they are; where they may be none, it is said."""
        if image.array.shape[0] != 1:
            raise BadInput("clip_driven_universal wants CT: one value for each voxel, in HU; this image has colours")
        low, high = WINDOW
        doubt = "no value is below 0: the answer means nothing if these are not HU"
        seen = f"clip_driven_universal saw {low:g} to {high:g} HU in cubes of {STEP:g} mm"
        return image.noted(seen, *[doubt] * bool(image.array.min() >= 0))

    def targets(self) -> tuple[str, ...]:
        """The 32 classes in the order of the channels."""
        return CLASSES

    def called(self, label: str) -> tuple[str, ...]:
        """By plain words and the published spelling, without case; a pair without a side means both."""
        return abdominal_classes.called(label)

    def see_volume(self, volume: Image) -> Seen:
        """One bit for each class and cube: whether the mean of the windows' logits is above 0. And how sure each
        class is where it is: its mean probability there.

        What bounds the memory is the slab of `slabs` with 32 channels, never 32 channels of the whole CT.
        """
        values = scaled(self.grid(volume).sampled(volume.array[0]))
        low, high = foreground(values)
        body = torch.from_numpy(np.ascontiguousarray(values[_box(low, high)]))
        bits = np.zeros((-(-len(CLASSES) // 8), *body.shape), dtype=np.uint8)
        sums, counts = torch.zeros(len(CLASSES)), torch.zeros(len(CLASSES))
        for slab in slabs(body, self.config.sides, self.run) if body.numel() else ():
            inside = slab.values > 0
            bits[(slice(None), *slab.place)] = np.packbits(inside.cpu().numpy(), axis=0)
            counts += inside.flatten(1).sum(1).cpu()
            sums += slab.values.sigmoid_().mul_(inside).flatten(1).sum(1).cpu()
        return tensors(bits=torch.from_numpy(bits), low=torch.from_numpy(low), sure=sums / counts.clamp(min=1))

    def outline(self, seen: Seen, volume: Image, target: str) -> Outlined:
        """One class, corrected by its rule, on the volume's own grid."""
        bits, low = seen["bits"].cpu().numpy(), seen["low"].cpu().numpy()
        grid = self.grid(volume)
        mask = np.zeros(grid.shape, dtype=bool)
        mask[_box(low, low + bits.shape[1:])] = organ_rules.corrected(target, partial(channel, bits))
        return Outlined(grid.returned(mask), float(seen["sure"][CLASSES.index(target)]))

    def grid(self, volume: Image) -> IsotropicGrid:
        """The cubes over a volume."""
        return IsotropicGrid.over(volume.affine, volume.grid, STEP)

    def crops(
        self, volume: Image, masks: Mapping[str, Bool[np.ndarray, "z y x"]], rng: np.random.Generator, *, count: int = 2
    ) -> UniversalBatch:
        """Cubes of a volume to learn from; the classes of `masks` are those that its data set labels."""
        grid = self.grid(volume)
        values = scaled(grid.sampled(volume.array[0]))
        place = _box(*foreground(values))
        truth = np.stack([grid.sampled(mask.astype(np.uint8), order=0)[place] > 0 for mask in masks.values()])
        batch = UniversalBatch(
            torch.zeros(count, 1, *self.config.sides),
            torch.zeros(count, len(CLASSES), *self.config.sides),
            torch.zeros(count, len(CLASSES), dtype=torch.bool),
        )
        channels = torch.tensor([CLASSES.index(name) for name in masks])
        batch.labelled[:, channels] = True
        drawn = cubes(values[place], truth, self.config.sides, rng, count=count)
        for number, (cube, inside) in enumerate(drawn):
            batch.pixels[number, 0] = torch.from_numpy(cube.copy())
            batch.masks[number, channels] = torch.from_numpy(inside.copy()).float()
        return batch

    def loss(self, batch: UniversalBatch) -> Terms:
        """Cross-entropy and Dice of the organs that each cube's data set labels (the paper's masked objective)."""
        logits = self.network(batch.pixels.to(self.device))
        masks, labelled = batch.masks.to(self.device), batch.labelled.to(self.device)
        return partial_label_bce_dice(logits, masks, labelled, dice=self.config.dice)


def scaled(values: Float[np.ndarray, " *any"]) -> Float[np.ndarray, " *any"]:
    """HU in the window as 0..1."""
    low, high = WINDOW
    return ((np.clip(values, low, high) - low) / (high - low)).astype(np.float32)


def foreground(values: Float[np.ndarray, "x y z"]) -> tuple[np.ndarray, np.ndarray]:
    """The least box around all that is above the window's lower end, as first and one behind the last; maybe empty."""
    box = tight_box(values > 0)
    if box is None:
        return np.zeros(3, dtype=np.int64), np.zeros(3, dtype=np.int64)
    return np.array(box[0][::-1]), np.array(box[1][::-1]) + 1


def channel(bits: np.ndarray, name: str) -> Bool[np.ndarray, "x y z"]:
    """One class out of the bits of all."""
    number = CLASSES.index(name)
    return ((bits[number // 8] >> (7 - number % 8)) & 1).astype(bool)


def _box(low: np.ndarray, high: np.ndarray) -> tuple[slice, ...]:
    return tuple(slice(int(first), int(behind)) for first, behind in zip(low, high, strict=True))


SYSTEM = ClipDrivenUniversal
