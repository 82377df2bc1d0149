"""SAM-Med2D — Cheng, Ye, Deng et al., SAM-Med2D (arXiv 2308.16184, 2023).

SAM's ViT-B at 256 pixels, its encoder frozen, with an adapter beside the MLP of every block; adapters, prompt encoder
and mask decoder are trained on 4.6 million medical images with 19.7 million masks. Points, boxes and masks are prompts;
a mask prompt is the previous answer as a probability, not as logits. Three masks are drawn and the one that the network
itself rates highest is the answer. Training is interactive: a box or a click first, then eight corrections on the same
embedding, by points from the error or by the mask alone. The adapters can be dropped at test time ("SAM-Med2D*").
Public: code and weights, with adapters (`sam-med2d_b.pth`) and without (FT-SAM). Deviations: see the card.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from hilum.capabilities.look import Seen, tensors
from hilum.capabilities.system import System
from hilum.capabilities.trainable import Sample
from hilum.objectives.batch_overlap import batch_dice, batch_iou
from hilum.objectives.overlap import focal
from hilum.objectives.terms import Terms
from hilum.parts import sam_image_encoder as encoder
from hilum.parts.sam import BASE, TINY, Sam, SamBatch, SamConfig, attention, mlp, norm, sam, window
from hilum.parts.sam_med2d_adapter import Adapter, Idle
from hilum.parts.sam_med2d_frame import Med2dFrame, enlarged
from hilum.parts.sam_med2d_rounds import opening
from hilum.parts.sam_other_size import at_size_of
from hilum.values.answers import PlaneMask
from hilum.values.errors import UnsupportedPrompt
from hilum.values.image import Image
from hilum.values.prompts import PlanePrompt
from hilum.weights.rename import Rule, Table, fill
from hilum.weights.tables.sam import UPSTREAM

MASKS = 5  # of an image in a training batch, drawn with replacement (the published training code)
FOCAL = 20.0  # weight of the focal term beside Dice and quality (the published training code)


@dataclass(frozen=True, slots=True)
class SamMed2dConfig:
    """Sizes, what becomes of the adapters, and of pictures smaller than the square."""

    sam: SamConfig
    adapters: Literal["used", "idle", "none"] = "used"  # idle: in the file, and not asked (SAM-Med2D*)
    ratio: float = 0.25  # of the adapter's narrow layer to the width (the published code)
    small: Literal["padded", "stretched"] = "padded"  # as in training and evaluation, or as the published predictor

    def __post_init__(self) -> None:
        if self.sam.grid % 2 and self.adapters == "used":
            raise ValueError(f"the adapters halve and double the grid, whose side must be even; it is {self.sam.grid}")


AT_256 = replace(BASE, image_size=256)  # windows of 14 and global blocks as in SAM's ViT-B (the published files)


class SamMed2d(System):
    """Points, a box, or a mask in; a mask out."""

    configs: ClassVar[dict[str, SamMed2dConfig]] = {
        "b": SamMed2dConfig(AT_256),
        "b_without_adapters": SamMed2dConfig(AT_256, adapters="idle"),
        "ft_sam_b": SamMed2dConfig(AT_256, adapters="none"),
    }
    table = Table(Rule(r"(blocks\.\d+)\.Adapter\.", r"\1.transform.beside."), UPSTREAM)
    network: Sam

    @classmethod
    def build(cls, config: SamMed2dConfig) -> Sam:
        """Of the image encoder only the adapters are trained; the prompt encoder and the mask decoder as a whole."""
        network = sam(config.sam, block=partial(adapted_block, adapters=config))
        for name, weight in network.image_encoder.named_parameters():
            weight.requires_grad_(".beside." in name and config.adapters == "used")
        return network

    @classmethod
    def beside(cls, sizes: SamConfig, targets: tuple[str, ...]) -> dict[str, SamMed2dConfig]:
        """With adapters."""
        return {"": SamMed2dConfig(sizes)}

    @classmethod
    def begun(cls, config: SamMed2dConfig, sam: Mapping[str, Tensor], *, seed: int = 0) -> Self:
        """SAM's tensors, of another image size too, and fresh adapters."""
        system = cls.seeded(config, seed)
        fill(system.network, at_size_of(system.network.state_dict(), cls.table.apply(sam)))
        return system

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        return cls.seeded(SamMed2dConfig(TINY), seed)

    @property
    def side(self) -> int:
        """Of the network's square."""
        return self.config.sam.image_size

    def costly(self) -> tuple[nn.Module, tuple[int, ...]]:
        return self.network.image_encoder, (1, 3, self.side, self.side)

    def prepare(self, image: Image) -> Image:
        """8 bit per channel; what is not so already from its own least value to its greatest, over the whole volume."""
        shown, notes = image.array, list[str]()
        if image.array.dtype != np.uint8:
            low, high = float(image.array.min()), float(image.array.max())
            shown = stretched(image.array, low, high)
            notes.append(f"sam_med2d saw {low:g} to {high:g} in 8 bit")
        if image.display.inverted:
            shown = 255 - shown
            notes.append("sam_med2d saw the inverted values turned")
        return image.with_array(shown, replace(image.display, inverted=False)).noted(*notes) if notes else image

    def see(self, plane: Image) -> Seen:
        """The embedding of one plane."""
        height, width = plane.grid
        embedding = self.run(self.frame(height, width).pixels(plane.array))
        return tensors(embedding=embedding, height=height, width=width)

    @torch.inference_mode()
    def draw(self, seen: Seen, prompt: PlanePrompt) -> PlaneMask:
        """The best rated of three masks, and the overlap that the network predicts for it."""
        if prompt.box is None and prompt.mask is None and not len(prompt.points):
            raise UnsupportedPrompt(self.card.name, "a plane on which nothing was said", self.card.accepts)
        frame = self.frame(int(seen["height"]), int(seen["width"]))
        prompts = frame.prompts(prompt, cells=4 * self.config.sam.grid).to(self.device)
        logits, quality = best(*self.network.ask(seen["embedding"], prompts))
        probability = frame.restored(logits).sigmoid()[0, 0]
        return PlaneMask(probability.cpu().numpy(), float(quality.clamp(0, 1)))

    def frame(self, height: int, width: int) -> Med2dFrame:
        """Where a picture lies in the square."""
        padded = self.config.small == "padded" and max(height, width) < self.side
        return Med2dFrame(height, width, self.side, padded)

    def batch(self, samples: Sequence[Sample], rng: np.random.Generator) -> SamBatch:
        """The first round of training: five masks of each image, and a shifted box or a click for each of them."""
        prepared = [self.prepare(sample.image) for sample in samples]
        frames = [self.frame(*image.grid) for image in prepared]
        pixels = [frame.pixels(image.array) for frame, image in zip(frames, prepared, strict=True)]
        framed = [frame.square(sample.masks) for frame, sample in zip(frames, samples, strict=True)]
        masks = np.concatenate([some_of(each, rng) for each in framed])
        return SamBatch(torch.cat(pixels), opening(masks, rng), torch.from_numpy(masks).float()[:, None]).to(
            self.device
        )

    def loss(self, batch: SamBatch) -> Terms:
        """The loss of one round: that of the best rated mask."""
        return terms(*best(*self.network(batch.pixels, batch.prompts)), batch.masks)


def adapted_block(config: SamConfig, index: int, *, adapters: SamMed2dConfig) -> encoder.Block:
    """SAM's block with an adapter beside its MLP, asked, idle or not there."""
    adapter = None if adapters.adapters == "none" else Adapter(config.width, int(config.width * adapters.ratio))
    beside = Idle(adapter) if adapter is not None and adapters.adapters == "idle" else adapter
    attend = encoder.Attend(norm(config), attention(config, index), window=window(config, index))
    return encoder.Block(attend, encoder.Transform(norm(config), mlp(config), beside=beside))


def best(
    logits: Float[Tensor, "n m h w"], quality: Float[Tensor, "n m"]
) -> tuple[Float[Tensor, "n 1 h w"], Float[Tensor, "n 1"]]:
    """For each prompt the mask that is rated highest; the first is left out, which SAM keeps for clear prompts."""
    chosen = 1 + quality[:, 1:].argmax(dim=1)
    each = torch.arange(len(quality), device=quality.device)
    return logits[each, chosen][:, None], quality[each, chosen][:, None]


def terms(
    logits: Float[Tensor, "n 1 h w"], quality: Float[Tensor, "n 1"], masks: Float[Tensor, "n 1 height width"]
) -> Terms:
    """20 focal + Dice + squared error of the predicted overlap; the last two see the batch as a whole."""
    whole = enlarged(logits, *masks.shape[-2:])
    probability = whole.sigmoid()
    missed = (quality - batch_iou(probability, masks)) ** 2
    parts = {"focal": FOCAL * focal(whole, masks), "dice": 1 - batch_dice(probability, masks)}
    return Terms({**parts, "quality": missed.mean()})


def some_of(masks: Bool[np.ndarray, "objects h w"], rng: np.random.Generator) -> Bool[np.ndarray, "five h w"]:
    """Five of the masks that are not empty, with replacement."""
    there = np.flatnonzero(masks.any(axis=(1, 2)))
    if not there.size:
        raise ValueError("a sample for sam_med2d must show at least one object: leave out planes without any")
    return masks[rng.choice(there, size=MASKS)]


def stretched(values: np.ndarray, low: float, high: float) -> UInt8[np.ndarray, " *any"]:
    """Values from low to high as 0..255, a plane at a time, since float64 of a volume is eight times its size."""
    shown = np.empty(values.shape, dtype=np.uint8)
    for plane in np.ndindex(values.shape[:-2]):
        shown[plane] = np.rint((values[plane].astype(np.float64) - low) / max(high - low, 1e-8) * 255)
    return shown


SYSTEM = SamMed2d
