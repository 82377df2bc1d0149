"""SAMed — Zhang, Liu, Customized segment anything model for medical image segmentation (arXiv 2304.13785, 2023).

SAM learns to name organs without a prompt. Its image encoder rests; beside the fused projection of every block, query
and value get low-rank updates. The mask decoder has a token for each class and one for the background; it is asked
nothing, all its masks are returned, and the strongest class of each pixel is the answer. Prompt encoder and decoder are
trained as a whole (in SAMed_s the decoder's transformer rests too, but for updates in its attention; SAMed_h is SAM's
ViT-H), with cross-entropy and Dice on the small masks. CT is cut to -125..275 HU and brought to 0..1, each slice to
224 pixels as the training slices were, then to 512; the classes return by nearest neighbour. Public: code and the three
files, which hold what was trained and need SAM's own beside them. Deviation: slices are shown in radiological
orientation; the published ones lie as the data set's files store them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from hilum.capabilities.look import Seen, tensors
from hilum.capabilities.system import System
from hilum.capabilities.trainable import Sample
from hilum.objectives.class_overlap import class_dice
from hilum.objectives.terms import Terms
from hilum.parts.qv_lora import merged, only_updates
from hilum.parts.sam import BASE, HUGE, LARGE, POCKET, TINY, Sam, SamConfig, sam
from hilum.parts.sam_other_size import at_size_of, fitted
from hilum.parts.sam_qv import resting_decoder, tuned_block
from hilum.parts.unprompted import Unprompted
from hilum.parts.zoomed_slice import label_map, resized, three, varied
from hilum.values.answers import PlaneMask
from hilum.values.errors import BadInput
from hilum.values.image import Image
from hilum.weights.rename import fill
from hilum.weights.tables.samed import SAMED, SAMS

TAUGHT = 224  # pixels of a side (the published preparation)
WINDOW = (-125.0, 275.0)  # HU (the published preparation)
ORGANS = (  # in the order of the published preparation and test, which is not that of the paper's table
    "spleen",
    "right kidney",
    "left kidney",
    "gallbladder",
    "liver",
    "stomach",
    "aorta",
    "pancreas",
)

HIPPOCAMPUS = ("anterior hippocampus", "posterior hippocampus")  # what the pocket weights know


@dataclass(frozen=True, slots=True)
class SamedConfig:
    """Sizes and classes. `sam.masks` is not used: the decoder has a mask for the background and for each class.

    Numbers are the defaults of the published training code.
    """

    sam: SamConfig
    classes: tuple[str, ...] = ORGANS
    rank: int = 4
    decoder_rests: bool = False  # SAMed_s: the decoder's transformer is SAM's, but for updates
    taught_size: int = TAUGHT  # of the training slices, through which every slice goes
    dice_weight: float = 0.8
    modality: str = "CT"
    window: tuple[float, float] | None = WINDOW  # HU; None: each image's own display window

    @property
    def sizes(self) -> SamConfig:
        """The SAM's own, with as many masks as there are classes."""
        return replace(self.sam, masks=1 + len(self.classes))


SMALL_BASE, SMALL_HUGE = (replace(size, image_size=512) for size in (BASE, HUGE))  # the slices are enlarged to it


Taught = tuple[Float[np.ndarray, "side side"], UInt8[np.ndarray, "side side"]]  # a slice in 0..1, its classes


@dataclass(frozen=True, slots=True, eq=False)
class SamedBatch:
    """Pixels in 0..1 and the classes at the size of the logits, 0 for the background."""

    pixels: Float[Tensor, "b 3 side side"]
    labels: Int[Tensor, "b h w"]

    def to(self, device: torch.device) -> Self:
        """The same batch on a device."""
        return type(self)(self.pixels.to(device), self.labels.to(device))


class Samed(System):
    """Eight organs of the abdomen, named without a prompt."""

    configs: ClassVar[dict[str, SamedConfig]] = {
        "vit_b": SamedConfig(SMALL_BASE),
        "vit_b_s": SamedConfig(SMALL_BASE, decoder_rests=True),
        "vit_h": SamedConfig(SMALL_HUGE),
        "pocket": SamedConfig(POCKET, HIPPOCAMPUS, modality="MR", window=None),
    }
    table = SAMED
    network: Sam
    head: ClassVar[tuple[str, ...]] = ("mask_decoder.tokens.masks", "mask_decoder.mask_heads.")

    @classmethod
    def build(cls, config: SamedConfig) -> Sam:
        """The encoder rests but for its updates; prompt encoder and decoder are trained."""
        mask_decoder = partial(resting_decoder, rank=config.rank) if config.decoder_rests else None
        network = sam(config.sizes, block=partial(tuned_block, rank=config.rank), mask_decoder=mask_decoder)
        only_updates(network.image_encoder)
        return network

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        return cls.seeded(SamedConfig(TINY, taught_size=48), seed)

    @classmethod
    def beside(cls, sizes: SamConfig, targets: tuple[str, ...]) -> dict[str, SamedConfig]:
        """These classes; slices are taught at the network's size where that is smaller."""
        return {"": SamedConfig(sizes, targets, taught_size=min(TAUGHT, sizes.image_size))}

    @classmethod
    def begun(cls, config: SamedConfig, base: Mapping[str, Tensor], *, seed: int = 0) -> Self:
        """Where training begins: SAM's weights, fresh heads and tokens for the classes, updates that change nothing."""
        system = cls.seeded(config, seed)
        fill(system.network, at_size_of(system.network.state_dict(), cls.table.apply(lent(config, base))))
        return system

    @classmethod
    def carries(cls, name: str) -> bool:
        """Whether the published file holds it."""
        return not name.startswith(SAMS)

    @classmethod
    def completed(
        cls, config: SamedConfig, own: Mapping[str, Tensor], base: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        """The file's tensors and those that rest, SAM's, whose tables of positions are resized to the smaller image."""
        with torch.device("meta"):
            wanted = cls.build(config).state_dict()
        resting = {name: tensor for name, tensor in lent(config, base).items() if name.startswith(SAMS)}
        sized = {name: fitted(name, tensor, wanted[name]) for name, tensor in cls.table.apply(resting).items()}
        return {**own, **cls.table.inverse(sized)}

    @classmethod
    def from_files(cls, config: SamedConfig, own: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> Self:
        """A file of one's own with SAM's: other classes, another rank or image size than the published ones."""
        network = cls.build(config)
        fill(network, cls.table.apply(cls.completed(config, own, base)))
        return cls(network.eval(), config, tag="own")

    def merged(self) -> Sam:
        """A SAM without updates that does the same: they are folded into the projections they stand beside."""
        return merged(self.network)  # type: ignore[return-value]

    def costly(self) -> tuple[nn.Module, tuple[int, ...]]:
        """The whole network: nothing is asked afterwards."""
        side = self.config.sizes.image_size
        return Unprompted(self.network), (1, 3, side, side)

    def prepare(self, image: Image) -> Image:
        """The soft-tissue window as 0..1; greys of 8 bit are taken for a picture of that window."""
        wanted, stated = self.config.modality, image.source.modality
        if stated is not None and stated != wanted:
            raise BadInput(f"{self.tag} was trained on {wanted}; this image says {stated}")
        if image.array.shape[0] != 1:
            raise BadInput(f"{self.tag} wants {wanted}: one value for each pixel; this picture has colours")
        if self.config.window is None:
            low, high = image.display.low, image.display.high
            upright = replace(image.display, low=0, high=1, inverted=False)
            return image.with_array(image.display(image.array), upright).noted(f"samed saw {low:g} to {high:g}")
        low, high = self.config.window
        if image.array.dtype == np.uint8:
            greys = image.array / np.float32(255)
            greys = 1 - greys if image.display.inverted else greys
            note = f"samed took 8-bit greys for {low:g} to {high:g} HU; the picture does not say what they are"
            return image.with_array(greys, replace(image.display, low=0, high=1, inverted=False)).noted(note)
        doubt = ["no value is below 0: samed's answer means nothing if these are not HU"] * bool(image.array.min() >= 0)
        return image.with_array(windowed(image.array, (low, high))).noted(f"samed saw {low:g} to {high:g} HU", *doubt)

    def see(self, plane: Image) -> Seen:
        """The class of each pixel (0: background) and, for each class, the mean probability where it won."""
        logits = self.run(network_input(plane.array[0], self.config))
        probability = enlarged(logits, self.config.sizes.image_size).softmax(dim=1)[0]
        best, labels = probability.max(dim=0)
        won = [best[labels == number] for number in range(len(probability))]
        sure = torch.stack([each.mean() if each.numel() else best.new_zeros(()) for each in won])
        back = resized(labels.to(torch.uint8).cpu().numpy(), *plane.grid, order=0)
        return tensors(labels=torch.from_numpy(back), confidence=sure)

    def targets(self) -> tuple[str, ...]:
        """The classes without the background."""
        return self.config.classes

    def parse(self, seen: Seen) -> list[PlaneMask]:
        """One mask for each class; they exclude each other, so a pixel's probability is given as 0 or 1."""
        labels, sure = seen["labels"].cpu().numpy(), seen["confidence"].tolist()
        return [
            PlaneMask((labels == number).astype(np.float32), sure[number])
            for number in range(1, 1 + len(self.targets()))
        ]

    def batch(self, samples: Sequence[Sample], rng: np.random.Generator) -> SamedBatch:
        """Slices at the size they were taught at, turned at random; the classes at the size of the logits."""
        return self.joined([self.taught(sample) for sample in samples], rng)

    def joined(self, slices: Sequence[Taught], rng: np.random.Generator) -> SamedBatch:
        """A batch of slices that are stored as the training slices are."""
        side, cells = self.config.sizes.image_size, 4 * self.config.sizes.grid
        pixels, labels = [], []
        for grey, classes in (varied(*each, rng) for each in slices):
            pixels.append(three(resized(grey, side, side, order=3)))
            labels.append(resized(resized(classes, side, side, order=0), cells, cells, order=0))
        return SamedBatch(torch.cat(pixels), torch.from_numpy(np.stack(labels)).long()).to(self.device)

    def taught(self, sample: Sample) -> Taught:
        """A sample as the training slices are stored: 0..1, and the classes as numbers."""
        if len(sample.masks) != len(self.targets()):
            wanted = f"samed learns {len(self.targets())} classes ({', '.join(self.targets())})"
            raise ValueError(f"{wanted}: a sample has a mask for each of them, got {len(sample.masks)}")
        size = self.config.taught_size
        grey = resized(self.prepare(sample.image).array[0], size, size, order=3)
        return grey, resized(label_map(sample.masks), size, size, order=0)

    def loss(self, batch: SamedBatch) -> Terms:
        """0.2 cross-entropy + 0.8 Dice, of the logits as they are (the paper's training loss)."""
        logits, weight = Unprompted(self.network)(batch.pixels), self.config.dice_weight
        entropy, dice = F.cross_entropy(logits, batch.labels), 1 - class_dice(logits, batch.labels)
        return Terms({"cross_entropy": (1 - weight) * entropy, "dice": weight * dice})


def config_of(own: Mapping[str, Tensor], classes: Sequence[str], *, image_size: int = 512) -> SamedConfig:
    """What a file of one's own says of its sizes; the classes' names and the image's size it does not say."""
    layers, width = sum(name.startswith("w_a_") for name in own) // 2, own["w_a_000"].shape[1]
    size = next((size for size in (BASE, LARGE, HUGE) if (size.depth, size.width) == (layers, width)), None)
    if size is None:
        raise BadInput(f"updates of {layers} layers of width {width} belong to none of SAM's encoders (B, L, H)")
    known = len(own["mask_decoder.mask_tokens.weight"]) - 1
    if known != len(classes):
        raise BadInput(f"this file has {known} classes beside the background, and {len(classes)} names were given")
    sized = replace(size, image_size=image_size)
    return SamedConfig(sized, tuple(classes), rank=len(own["w_a_000"]), decoder_rests="sa_a_000" in own)


def lent(config: SamedConfig, base: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """SAM's tensors; what rests in SAMed, and is in no file of its own, is marked as SAM's."""
    rests = ("image_encoder.", "mask_decoder.transformer.") if config.decoder_rests else ("image_encoder.",)
    return {SAMS + name if name.startswith(rests) else name: tensor for name, tensor in base.items()}


def windowed(values: np.ndarray, window: tuple[float, float] = WINDOW) -> Float[np.ndarray, " *any"]:
    """HU in the window as 0..1, in the published precision."""
    low, high = (np.float32(bound) for bound in window)
    return (np.clip(values.astype(np.float32), low, high) - low) / (high - low)


def network_input(plane: Float[np.ndarray, "h w"], config: SamedConfig) -> Float[Tensor, "1 3 side side"]:
    """By cubic splines to the size of the training slices, and from there to the network's."""
    taught, side = config.taught_size, config.sizes.image_size
    return three(resized(resized(plane, taught, taught, order=3), side, side, order=3))


def enlarged(logits: Float[Tensor, "b k h w"], side: int) -> Float[Tensor, "b k side side"]:
    """Bilinear, as everywhere in SAM."""
    return F.interpolate(logits, size=(side, side), mode="bilinear", align_corners=False)


SYSTEM = Samed
