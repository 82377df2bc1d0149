"""Medical SAM Adapter — Wu, Ji, Liu, Fu, Xu, Xu, Jin, Medical SAM Adapter: Adapting Segment Anything Model for Medical
Image Segmentation (arXiv 2304.12620, 2023).

SAM is kept as it is and bottleneck adapters are put into its image encoder: one after the attention of every block, one
beside its MLP. Volumes are seen a few slices at a time: a second attention, with the same weights, runs along the
slices and has an adapter of its own ("SD-Trans"). Adapters and mask decoder are trained; one click says what is meant,
and on a volume each slice has its click. Pictures are stretched to the square and given as 0..1, without ImageNet's
mean; mask logits are enlarged by the nearest pixel. A LoRA mode tunes query, value and MLP instead.
Public: code in two versions (May 2023, June 2024) and checkpoints; both are here, from descriptions of their behaviour.
The paper's adapters of the decoder ("HyP-Adpt") are not in the public code: here in our reading, and off. Deviations:
see the card.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from hilum.capabilities.look import Seen, tensors
from hilum.capabilities.system import System
from hilum.capabilities.trainable import Sample
from hilum.objectives.overlap import cross_entropy, squared_dice
from hilum.objectives.terms import Terms
from hilum.parts.msa import MsaConfig, msa
from hilum.parts.msa_frame import click, enlarged, nearest, squared
from hilum.parts.sam import BASE, TINY, Sam, SamConfig
from hilum.parts.sam_image_encoder import resize_positions
from hilum.parts.sam_prompt_encoder import SamPrompts
from hilum.values.answers import PlaneMask
from hilum.values.errors import UnsupportedPrompt
from hilum.values.image import Image
from hilum.values.prompts import PlanePrompt
from hilum.weights.rename import Rule, Table, fill
from hilum.weights.tables.msa import MSA

ABDOMEN = (-175.0, 250.0)  # HU (the published 3-D data path)
SLICES = 6  # seen together; the published code is told at the command line, and its files do not say
FOREGROUND = 2.0  # weight of an object's pixels in the loss of pictures (the published training code)
THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9)  # over which the published evaluation averages Dice and IoU
ADDED = ("Adapter", "lora_", ".hyper.", ".beside.", ".after.")  # in the names of what SAM does not have
TABLES = ("rel_pos_h", "rel_pos_w", "rel_h", "rel_w")

TO_2024 = Table(
    Rule(r"(blocks\.\d+\.attn)\.rel_pos_h", r"\1.rel_h"),
    Rule(r"(blocks\.\d+\.attn)\.rel_pos_w", r"\1.rel_w"),
    Rule(r"(transformer\.layers\.\d+\.mlp)\.lin1", r"\1.layers.0.0"),
    Rule(r"(transformer\.layers\.\d+\.mlp)\.lin2", r"\1.fc"),
)  # SAM's names -> those of the same tensors in 2024


@dataclass(frozen=True, slots=True, eq=False)
class MsaBatch:
    """Stacks of adjacent slices (of one: pictures), prompts and masks slice by slice."""

    pixels: Float[Tensor, "b slices 3 height width"]
    prompts: SamPrompts
    masks: Float[Tensor, "n classes h w"]

    def to(self, device: torch.device) -> Self:
        """The same batch on a device."""
        return type(self)(self.pixels.to(device), self.prompts.to(device), self.masks.to(device))


class MedicalSamAdapter(System):
    """Clicks in, a mask out."""

    configs: ClassVar[dict[str, MsaConfig]] = {
        "vit_b": MsaConfig(BASE),
        "vit_b_row_column": MsaConfig(BASE, click="row_column"),
        "vit_b_3d": MsaConfig(BASE, slices=SLICES),
        "vit_b_2024": MsaConfig(BASE, version="2024"),
        "vit_b_2024_row_column": MsaConfig(BASE, version="2024", click="row_column"),
        "vit_b_3d_2024": MsaConfig(BASE, version="2024", slices=SLICES),
        "vit_b_lora": MsaConfig(BASE, version="2024", tuning="lora"),
        "vit_b_adapters": MsaConfig(BASE),
        "vit_b_3d_adapters": MsaConfig(BASE, slices=SLICES),
    }
    table = MSA
    network: Sam

    @classmethod
    def build(cls, config: MsaConfig) -> Sam:
        return msa(config)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """With adapters as if trained: fresh ones change nothing."""
        system = cls.seeded(MsaConfig(TINY, slices=2, out_size=32), seed)
        generator = torch.Generator().manual_seed(seed)
        for name, weight in system.network.image_encoder.named_parameters():
            if ".up." in name:
                nn.init.normal_(weight, std=0.1, generator=generator)
        return system

    @classmethod
    def beside(cls, sizes: SamConfig, targets: tuple[str, ...]) -> dict[str, MsaConfig]:
        """Adapters for pictures."""
        return {"": MsaConfig(sizes)}

    @classmethod
    def begun(cls, config: MsaConfig, sam: Mapping[str, Tensor], *, seed: int = 0) -> Self:
        """SAM's published tensors with fresh adapters: where training begins."""
        system = cls.seeded(config, seed)
        whole = cls.table.inverse(system.network.state_dict())
        fresh = {name: tensor for name, tensor in whole.items() if any(word in name for word in ADDED)}
        fill(system.network, cls.table.apply(cls.completed(config, fresh, sam)))
        return system

    @classmethod
    def carries(cls, name: str) -> bool:
        """What is trained lies in an adapter's file: adapters (or LoRA) and mask decoder."""
        return name.startswith("mask_decoder.") or any(word in name for word in ADDED)

    @classmethod
    def completed(cls, config: MsaConfig, own: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """SAM's tensors, at this image size and under this version's names, behind the file's own."""
        with torch.device("meta"):
            wanted = cls.table.inverse(cls.build(config).state_dict())
        named = TO_2024.apply(base) if config.version == "2024" else base
        return {**{name: at_size(name, tensor, wanted.get(name)) for name, tensor in named.items()}, **own}

    @property
    def side(self) -> int:
        """Of the network's square."""
        return self.config.sam.image_size

    def costly(self) -> tuple[nn.Module, tuple[int, ...]]:
        return self.network.image_encoder, (self.together(), 3, self.side, self.side)

    def prepare(self, image: Image) -> Image:
        """Colours and greys in 8 bit as they are; CT from -175 to 250 HU; what else there is in its display window."""
        if image.array.dtype == np.uint8 and not image.display.inverted:
            return image
        if image.source.modality == "CT":
            low, high = ABDOMEN
            shown = np.clip((image.array.astype(np.float32) - low) / (high - low), 0, 1)
            return image.with_array(shown).noted(f"medical_sam_adapter saw {low:g} to {high:g} HU")
        window = f"{image.display.low:g} to {image.display.high:g}"
        upright = replace(image.display, inverted=False)
        shown = image.display(image.array)
        return image.with_array(shown, upright).noted(f"medical_sam_adapter saw the display window {window}")

    def together(self) -> int:
        """Adjacent slices that see each other."""
        return self.config.slices or 1

    def see(self, plane: Image) -> Seen:
        """The embedding of one plane alone."""
        return self.see_stack([plane])[0]

    def see_stack(self, planes: Sequence[Image]) -> list[Seen]:
        """The embeddings of adjacent planes, each made in sight of the others."""
        embeddings = self.run(torch.stack([squared(plane.array, self.side) for plane in planes]))
        height, width = planes[0].grid
        return [tensors(embedding=each[None], height=height, width=width) for each in embeddings]

    @torch.inference_mode()
    def draw(self, seen: Seen, prompt: PlanePrompt) -> PlaneMask:
        """The (first) mask, and SAM's predicted overlap for it, which the adapters' training does not supervise."""
        if not len(prompt.points):
            raise UnsupportedPrompt(self.card.name, "a plane without a click", self.card.accepts)
        size = int(seen["height"]), int(seen["width"])
        prompts = SamPrompts(self.clicks(prompt.points, size)[None], torch.from_numpy(prompt.inside)[None])
        logits, quality = self.network.ask(seen["embedding"], prompts.to(self.device))
        probability = enlarged(logits[:, :1], *size).sigmoid()[0, 0]
        return PlaneMask(probability.cpu().numpy(), float(quality[0, 0].clamp(0, 1)))

    def clicks(self, points: Float[np.ndarray, "*n 2"], size: tuple[int, int]) -> Float[Tensor, "*n 2"]:
        """Clicks in the network's pixels, in the order of coordinates that it was trained with."""
        placed = torch.from_numpy(points / np.array(size[::-1]) * self.side).float()
        return placed.flip(-1) if self.config.click == "row_column" else placed

    def batch(self, samples: Sequence[Sample], rng: np.random.Generator) -> MsaBatch:
        """One object of each sample, clicked at random; a sample may be a stack of adjacent slices (c, z, h, w)."""
        pixels, points, inside, masks = zip(*(self.stack(sample, rng) for sample in samples), strict=True)
        prompts = SamPrompts(torch.cat(points), torch.cat(inside))
        return MsaBatch(torch.stack(pixels), prompts, torch.cat(masks)).to(self.device)

    def stack(self, sample: Sample, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """A sample's slices: pixels, a click on each, whether it lies inside, and the masks that are to be given."""
        planes = np.moveaxis(self.prepare(sample.image).volume(), 1, 0)  # (c, z, h, w) -> (z, c, h, w)
        height, width = planes.shape[2:]
        masks = self.chosen(sample.masks.reshape(-1, len(planes), height, width), rng)
        points, inside = zip(*(click(one.any(axis=0), rng) for one in np.moveaxis(masks, 1, 0)), strict=True)
        pixels = torch.stack([squared(plane, self.side) for plane in planes])
        places = self.clicks(np.array(points), (height, width))
        target = torch.from_numpy(nearest(masks, self.config.out_size)).float()
        return pixels, places[:, None], torch.tensor(inside)[:, None], rearrange(target, "k z h w -> z k h w")

    def chosen(
        self, masks: Bool[np.ndarray, "objects z h w"], rng: np.random.Generator
    ) -> Bool[np.ndarray, "classes z h w"]:
        """One object at random; where the network gives several masks, the sample's masks are those classes."""
        there = np.flatnonzero(masks.any(axis=(1, 2, 3)))
        if not there.size:
            raise ValueError("a sample for medical_sam_adapter must show an object: leave out planes without any")
        if self.config.classes == 1:
            return masks[rng.choice(there)][None]
        if len(masks) != self.config.classes:
            raise ValueError(f"a sample must have a mask for each of {self.config.classes} classes, got {len(masks)}")
        return masks

    def loss(self, batch: MsaBatch) -> Terms:
        """Pictures: cross-entropy, objects twice as heavy. Stacks: Dice with squares below and cross-entropy."""
        embedding = self.embedded(batch.pixels)
        logits, _ = self.network.ask(embedding, batch.prompts)
        logits = enlarged(logits[:, : self.config.classes], *batch.masks.shape[-2:])
        if self.config.slices is None:
            weight = logits.new_tensor(FOREGROUND)
            return Terms({"cross_entropy": F.binary_cross_entropy_with_logits(logits, batch.masks, pos_weight=weight)})
        dice = (1 - squared_dice(logits.sigmoid(), batch.masks)).mean()
        return Terms({"dice": dice, "cross_entropy": cross_entropy(logits, batch.masks).mean()})

    def embedded(self, pixels: Float[Tensor, "b slices 3 height width"]) -> Float[Tensor, "n c h w"]:
        """Pictures all at once; stacks one by one, so that none sees another."""
        if self.config.slices is None:
            return self.network.image_encoder(pixels.flatten(0, 1))
        return torch.cat([self.network.image_encoder(stack) for stack in pixels])


def overlaps(probability: Float[np.ndarray, " *grid"], truth: Bool[np.ndarray, " *grid"]) -> tuple[float, float]:
    """IoU and Dice, each the mean over the published evaluation's thresholds; two empty masks agree."""
    found = []
    for threshold in THRESHOLDS:
        mask = probability > threshold
        shared, either, both = (mask & truth).sum(), (mask | truth).sum(), mask.sum() + truth.sum()
        found.append((shared / either, 2 * shared / both) if both else (1.0, 1.0))
    iou, dice = np.mean(found, axis=0)
    return float(iou), float(dice)


def at_size(name: str, tensor: Tensor, wanted: Tensor | None) -> Tensor:
    """A table of positions at the size that is wanted; what else does not fit is left for the loader to refuse."""
    if wanted is None or wanted.shape == tensor.shape:
        return tensor
    if name.endswith("pos_embed"):
        return resize_positions(tensor, *wanted.shape[1:3])
    if name.endswith(TABLES):
        longer = F.interpolate(rearrange(tensor, "l d -> 1 d l"), size=len(wanted), mode="linear")
        return rearrange(longer, "1 d l -> l d")
    return tensor


SYSTEM = MedicalSamAdapter
