"""MedSAM — Ma, He, Li, Han, You, Wang, Segment anything in medical images (Nature Communications 2024).

SAM's ViT-B, tuned as a whole but for its prompt encoder on 1.5 million pairs of medical image and mask. The only prompt
is a box. The picture is stretched to the network's square (its aspect ratio is not kept), with a cubic spline, and
brought to 0..1 by its own range; ImageNet's mean and deviation are not used. The answer's probability, not its logit,
is enlarged to the picture and cut at one half. Trained with Dice and cross-entropy on boxes a little too large.
Public: code and weights (`medsam_vit_b.pth`). Deviation: where a spline meets a patch of one constant grey, the
published code rounds at random to that grey or the one below; here it may round the other way, by one level of 256.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from hilum.capabilities.look import Seen, tensors
from hilum.capabilities.system import System
from hilum.capabilities.trainable import Sample
from hilum.objectives.overlap import cross_entropy, squared_dice
from hilum.objectives.terms import Terms
from hilum.parts.interaction import tight_box
from hilum.parts.sam import BASE, POCKET, TINY, Sam, SamBatch, SamConfig, sam
from hilum.parts.sam_other_size import at_size_of
from hilum.parts.sam_prompt_encoder import SamPrompts
from hilum.parts.spline_resize import spline_resize
from hilum.values.answers import PlaneMask
from hilum.values.errors import UnsupportedPrompt
from hilum.values.image import Image
from hilum.values.prompts import PlanePrompt
from hilum.weights.rename import fill
from hilum.weights.tables.sam import UPSTREAM

SOFT_TISSUE = (-160.0, 240.0)  # HU: level 40, width 400 (the paper's methods, "Data curation and pre-processing")
PERCENTILES = (0.5, 99.5)  # of the voxels above zero, for all other grey images (ibid.)
BOX_SHIFT = 20 / 1024  # of the side: the box in training is too large by up to this (the published training code)


class MedSam(System):
    """A box in, a mask out."""

    configs: ClassVar[dict[str, SamConfig]] = {"vit_b": BASE, "pocket": POCKET}
    table = UPSTREAM
    head: ClassVar[tuple[str, ...]] = ("mask_decoder",)
    patches: ClassVar[str] = "image_encoder.patches"
    network: Sam

    @classmethod
    def build(cls, config: SamConfig) -> Sam:
        """Image encoder and mask decoder are trained, the prompt encoder is not."""
        network = sam(config)
        network.prompt_encoder.requires_grad_(False)
        return network

    @classmethod
    def beside(cls, sizes: SamConfig, targets: tuple[str, ...]) -> dict[str, SamConfig]:
        """A SAM itself."""
        return {"": sizes}

    @classmethod
    def begun(cls, config: SamConfig, sam: Mapping[str, Tensor], *, seed: int = 0) -> Self:
        """SAM's tensors, nothing fresh."""
        system = cls.seeded(config, seed)
        fill(system.network, at_size_of(system.network.state_dict(), cls.table.apply(sam)))
        return system

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        return cls.seeded(TINY, seed)

    def costly(self) -> tuple[nn.Module, tuple[int, ...]]:
        return self.network.image_encoder, (1, 3, self.config.image_size, self.config.image_size)

    def prepare(self, image: Image) -> Image:
        """8 bit per channel, by the paper's rule for the modality, over the whole volume."""
        if image.display.inverted:
            return self.prepare(upright(image))
        if image.array.dtype == np.uint8:
            return image
        if image.source.modality == "CT":
            low, high = SOFT_TISSUE
            return image.with_array(stretched(image.array, low, high)).noted(
                f"medsam saw {low:g} to {high:g} HU in 8 bit"
            )
        if image.array.shape[0] == 3:
            return image.with_array(stretched(image.array)).noted("medsam saw the colours' own range in 8 bit")
        low, high = percentiles(image.array)
        shown = np.where(image.array == 0, np.uint8(0), stretched(image.array, low, high))
        return image.with_array(shown).noted(f"medsam saw {low:g} to {high:g} in 8 bit: most of what is above zero")

    def see(self, plane: Image) -> Seen:
        """The embedding of one plane."""
        height, width = plane.grid
        embedding = self.run(network_input(plane.array, self.config.image_size))
        return tensors(embedding=embedding, height=height, width=width)

    @torch.inference_mode()
    def draw(self, seen: Seen, prompt: PlanePrompt) -> PlaneMask:
        """The mask in a box; its quality is predicted by SAM's head, which MedSAM's training does not supervise."""
        if prompt.box is None:
            raise UnsupportedPrompt(self.card.name, "a plane without a box", self.card.accepts)
        height, width = int(seen["height"]), int(seen["width"])
        box = scaled(prompt.box, (height, width), self.config.image_size)
        logits, quality = self.network.ask(seen["embedding"], SamPrompts(boxes=box.to(self.device)), only=slice(0, 1))
        probability = enlarged(logits.sigmoid(), height, width)[0, 0]
        return PlaneMask(probability.cpu().numpy(), float(quality[0, 0].clamp(0, 1)))

    def batch(self, samples: Sequence[Sample], rng: np.random.Generator) -> SamBatch:
        """One object of each plane, at random, in a box that is up to 20 of 1024 pixels too large on each side."""
        side = self.config.image_size
        masks = np.stack([one_of(nearest(sample.masks, side), rng) for sample in samples])
        boxes = np.stack([widened_box(mask, round(BOX_SHIFT * side), rng) for mask in masks])
        pixels = [network_input(self.prepare(sample.image).array, side) for sample in samples]
        prompts = SamPrompts(boxes=torch.from_numpy(boxes).float().reshape(-1, 4))
        return SamBatch(torch.cat(pixels), prompts, torch.from_numpy(masks).float()[:, None]).to(self.device)

    def loss(self, batch: SamBatch) -> Terms:
        """Dice and cross-entropy of the enlarged logits, equally weighted (the paper's "Loss function")."""
        logits, _ = self.network(batch.pixels, batch.prompts)
        logits = enlarged(logits[:, :1], *batch.masks.shape[-2:])
        dice = (1 - squared_dice(logits.sigmoid(), batch.masks)).mean()
        return Terms({"dice": dice, "cross_entropy": cross_entropy(logits, batch.masks).mean()})


def upright(image: Image) -> Image:
    """A picture stored with its brightest value lowest, the right way up."""
    array = image.array.max() - image.array
    return image.with_array(array, replace(image.display, inverted=False)).noted(
        "medsam saw the inverted values turned"
    )


def stretched(values: np.ndarray, low: float = -np.inf, high: float = np.inf) -> UInt8[np.ndarray, " *any"]:
    """The values between low and high, their range as 0..255, rounded down as the published preparation does."""
    low, high = np.clip((float(values.min()), float(values.max())), low, high)
    shown = np.empty(values.shape, dtype=np.uint8)
    for plane in np.ndindex(values.shape[:-2]):  # one at a time: float64 of a whole volume is eight times its size
        shown[plane] = (np.clip(values[plane].astype(np.float64), low, high) - low) / max(high - low, 1e-8) * 255
    return shown


def percentiles(values: np.ndarray) -> tuple[float, float]:
    """The bounds of what is above zero without its extremes; of everything where nothing is."""
    positive = values[values > 0]
    low, high = np.percentile(positive if positive.size else values, PERCENTILES)
    return float(low), float(high)


def network_input(picture: UInt8[np.ndarray, "c h w"], side: int) -> Float[Tensor, "1 3 side side"]:
    """Stretched to the square, back to 8 bit, then its range to 0..1; a grey picture is given to all three channels."""
    square = spline_resize(picture, side, side).astype(np.uint8).astype(np.float64)
    values = (square - square.min()) / max(square.max() - square.min(), 1e-8)
    return torch.from_numpy(values).float().expand(3, side, side)[None]


def nearest(masks: Bool[np.ndarray, "objects h w"], side: int) -> Bool[np.ndarray, "objects side side"]:
    """The masks on the network's square, each pixel from the nearest one."""
    rows, columns = (((np.arange(side) + 0.5) * size / side).astype(int) for size in masks.shape[1:])
    return masks[:, rows[:, None], columns[None, :]]


def one_of(masks: Bool[np.ndarray, "objects h w"], rng: np.random.Generator) -> Bool[np.ndarray, "h w"]:
    """One of the masks that are not empty."""
    there = np.flatnonzero(masks.any(axis=(1, 2)))
    if not there.size:
        raise ValueError("a sample for medsam must show at least one object: leave out planes without any")
    return masks[rng.choice(there)]


def widened_box(mask: Bool[np.ndarray, "h w"], shift: int, rng: np.random.Generator) -> Float[np.ndarray, "2 2"]:
    """The tight box, each side moved outward by 0 to `shift` pixels, within the picture."""
    low, high = tight_box(mask)
    outward = rng.integers(0, shift, size=(2, 2), endpoint=True)
    return np.clip([low - outward[0], high + outward[1]], 0, np.array(mask.shape[::-1]) - 1)


def scaled(box: Float[np.ndarray, "2 2"], size: tuple[int, int], side: int) -> Float[Tensor, "1 4"]:
    """The box in the network's pixels; size is the picture's (height, width)."""
    height, width = size
    return torch.from_numpy(box / np.array([width, height]) * side).float().reshape(1, 4)


def enlarged(maps: Float[Tensor, "n m h w"], height: int, width: int) -> Float[Tensor, "n m height width"]:
    """Bilinear, as everywhere in SAM."""
    return F.interpolate(maps, size=(height, width), mode="bilinear", align_corners=False)


SYSTEM = MedSam
