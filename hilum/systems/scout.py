"""Scout, the house's own promptable segmenter, named after the scout view of a CT: small enough to ship.

One object is asked for at a time. A window half as large again as the prompt is brought to a fixed number of pixels;
geometry maps of the prompt and grey-level evidence (`parts.prompt_maps`) lie beside the pixels; a small U-Net answers
with candidate masks and judges them. Clicks are replayed in the order given, each after the answer to those before it.
A click alone has no scale: windows of several sizes are tried, the best judged candidate is looked at again up close.
Thin answers seen from afar, and poor ones to boxes, are looked at again tile by tile (`parts.crop_tiles`).
The confidence is a calibrated mix of the network's own judgement, the mask's decidedness, and its agreement with the
ellipse in the box and with the evidence. Trained from nothing by `recipes/scout.py`; the card says on what.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from hilum.capabilities.look import Seen, tensors
from hilum.capabilities.system import System
from hilum.capabilities.trainable import Sample
from hilum.objectives.overlap import candidate_loss
from hilum.objectives.terms import Terms
from hilum.parts import interaction
from hilum.parts.crop_dialogue import FEATURES, Clicks, Dialogue, Drawn, Manner
from hilum.parts.crop_tiles import AT_ONCE
from hilum.parts.crop_window import Window
from hilum.parts.prompt_maps import CHANNELS, CropPrompt, prompt_maps
from hilum.parts.prompted_unet import PromptedUNet
from hilum.values.answers import PlaneMask
from hilum.values.errors import BadInput
from hilum.values.image import Display, Image
from hilum.values.prompts import PlanePrompt

REPLAYED = 8  # clicks answered one by one; earlier ones are given together


@dataclass(frozen=True, slots=True)
class Config:
    """Feature maps per scale, from half the crop's size down; candidate masks; how windows are laid."""

    widths: tuple[int, ...] = (32, 48, 96, 192, 256)
    candidates: int = 4
    manner: Manner = field(default_factory=Manner)


TINY = Config(widths=(8, 8, 8), manner=Manner(side=32, shrinks=(0.8, 1.8)))


@dataclass(frozen=True, slots=True, eq=False)
class ScoutBatch:
    """Crops in 0..1, their masks, their prompts, and which prompts leave the object open (one lone click)."""

    image: Float[Tensor, "b 3 h w"]
    mask: Float[Tensor, "b 1 h w"]
    prompt: CropPrompt
    ambiguous: Bool[Tensor, " b"]


class ScoutNetwork(nn.Module):
    """Prompt maps, the U-Net, and the weights of the confidence (rows: without a box, with one)."""

    calibration: Tensor

    def __init__(self, config: Config):
        super().__init__()
        self.unet = PromptedUNet(CHANNELS, config.widths, config.candidates).to(memory_format=torch.channels_last)
        judged_alone = torch.zeros(2, FEATURES)
        judged_alone[:, 1] = 1.0
        self.register_buffer("calibration", judged_alone)

    def forward(
        self, image: Float[Tensor, "b 3 h w"], prompt: CropPrompt
    ) -> tuple[Float[Tensor, "b k h w"], Float[Tensor, "b k"], Float[Tensor, "b c h w"]]:
        """Logits of the candidates, the logit of each one's expected Dice, and the maps they were drawn from."""
        maps = prompt_maps(image, prompt)
        return *self.unet(maps.contiguous(memory_format=torch.channels_last)), maps


class Scout(System):
    """Boxes, clicks, scribbles and previous masks in, one mask with a calibrated confidence out."""

    configs: ClassVar[dict[str, Config]] = {"pocket": Config()}
    head: ClassVar[tuple[str, ...]] = ("unet.last_norm", "unet.unfold", "unet.fine", "unet.masks", "unet.judge")
    network: ScoutNetwork

    @classmethod
    def build(cls, config: Config) -> ScoutNetwork:
        return ScoutNetwork(config)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        return cls.seeded(TINY, seed)

    def costly(self) -> None:
        """Nothing: what scout looks at depends on the prompt."""
        return None

    def priced(self) -> tuple[nn.Module, tuple[int, ...]]:
        """The largest pass of a prompt: tiles of a closer look, or a lone click's windows."""
        side, manner = self.config.manner.side, self.config.manner
        return self.network.unet, (max(AT_ONCE, len(manner.shrinks)), CHANNELS, side, side)

    def prepare(self, image: Image) -> Image:
        """Grey levels or colours as they are shown, 0..1; each window's own range is taken later."""
        low, high = image.display.low, image.display.high
        shown = image.with_array(image.display(image.array), Display(0.0, 1.0))
        return shown.noted(f"scout saw the values {low:g} to {high:g} as they are shown")

    def see(self, plane: Image) -> Seen:
        """The plane itself."""
        return tensors(image=torch.from_numpy(np.ascontiguousarray(plane.array, dtype=np.float32)))

    @torch.inference_mode()
    def draw(self, seen: Seen, prompt: PlanePrompt) -> PlaneMask:
        """The object's probability on the whole plane, and the mask's calibrated confidence."""
        dialogue = Dialogue(self.network, seen["image"].expand(3, -1, -1), self.config.manner)
        before = None if prompt.mask is None else torch.from_numpy(np.array(prompt.mask, dtype=np.float32))
        drawn = answered(dialogue, prompt, before)
        probability = dialogue.canvas(drawn).numpy()
        told(probability, prompt)
        return PlaneMask(probability, self.confidence(drawn, boxed=prompt.box is not None))

    def confidence(self, drawn: Drawn, *, boxed: bool) -> float:
        """The expected Dice of the mask, 0..1."""
        return float(torch.sigmoid(self.network.calibration[int(boxed)] @ drawn.features))

    def batch(self, samples: Sequence[Sample], rng: np.random.Generator) -> ScoutBatch:
        """One object of each sample, by a box that is a little off or by one click."""
        return joined([single(sample, rng, self.config.manner) for sample in samples])

    def loss(self, batch: ScoutBatch) -> Terms:
        """Dice and cross-entropy of the right candidate, and the error of the judged quality."""
        logits, quality, _ = self.network(batch.image, batch.prompt)
        return Terms(candidate_loss(logits, quality, batch.mask, batch.ambiguous))


def answered(dialogue: Dialogue, prompt: PlanePrompt, before: Float[Tensor, "h w"] | None) -> Drawn:
    """Box or mask first, or the clicks up to the first one inside; then the other clicks, one after the other."""
    strokes, clicks = stroked(prompt, dialogue.manner.slots // 2), Clicks(prompt.points, prompt.inside)
    box = prompt.box
    if box is not None:
        drawn, given = dialogue.boxed(box, strokes, before), 0
    elif before is not None and bool((before > 0.5).any()):
        around = interaction.tight_box(before.numpy() > 0.5)
        drawn, given = (
            (dialogue.continued(before, strokes), 0) if len(strokes) else (dialogue.boxed(around, strokes, before), 0)
        )
    else:
        if not (clicks.inside.any() or strokes.inside.any()):
            raise BadInput("scout wants a box, a mask, or at least one point or stroke inside the object")
        given = 0 if strokes.inside.any() else int(clicks.inside.argmax()) + 1
        drawn = dialogue.unboxed(strokes.then(clicks.first(given)))
    for count in range(max(given + 1, len(clicks) - REPLAYED + 1), len(clicks) + 1):
        said, guess = strokes.then(clicks.first(count)), dialogue.canvas(drawn)
        drawn = dialogue.continued(guess, said) if box is None else dialogue.boxed(box, said, guess)
    return drawn


def stroked(prompt: PlanePrompt, most: int) -> Clicks:
    """Strokes as points: evenly chosen pixels, at most half of `most` of each kind."""
    places, ways = [np.zeros((0, 2))], [np.zeros(0, bool)]
    for drawn, inside in ((prompt.strokes_in, True), (prompt.strokes_out, False)):
        if drawn is not None and drawn.any():
            rows, columns = np.nonzero(drawn)
            kept = np.unique(np.linspace(0, len(rows) - 1, most // 2).round().astype(int))
            places.append(np.stack([columns[kept], rows[kept]], 1).astype(float))
            ways.append(np.full(len(kept), inside))
    return Clicks(np.concatenate(places), np.concatenate(ways))


def told(probability: Float[np.ndarray, "h w"], prompt: PlanePrompt) -> None:
    """What the user clicked is so: the clicked pixels, in place, if resampling put them on the wrong side."""
    height, width = probability.shape
    columns, rows = np.clip(np.rint(prompt.points), 0, [width - 1, height - 1]).astype(int).T
    kept = probability[rows, columns]
    probability[rows, columns] = np.where(prompt.inside, np.maximum(kept, 0.51), np.minimum(kept, 0.49))


def single(sample: Sample, rng: np.random.Generator, manner: Manner) -> ScoutBatch:
    """A random object of the sample, in the window that its prompt asks for."""
    mask = sample.masks[rng.integers(len(sample.masks))]
    boxed = rng.random() < 0.7
    box = interaction.jittered_box(mask, rng)
    window = Window.around(box, scale=manner.scale if boxed else float(rng.uniform(1.3, 3.8)))
    image = torch.from_numpy(sample.image.display(sample.image.array)).expand(3, -1, -1)
    target = (window.cut(torch.from_numpy(mask[None].astype(np.float32)), manner.side) > 0.5).float()
    at, sign = torch.zeros(1, manner.slots, 2), torch.zeros(1, manner.slots)
    if not boxed:
        click = np.array([interaction.random_click(mask, rng).at])
        at[0, 0], sign[0, 0] = torch.from_numpy(window.to_crop(click, manner.side))[0], 1.0
    corners = torch.from_numpy(window.box_to_crop(box, manner.side).reshape(1, 4)).float()
    with_box, nothing = torch.tensor([boxed]), torch.tensor([False])
    prompt = CropPrompt(corners, with_box, at, sign, torch.zeros_like(target)[None], nothing)
    return ScoutBatch(window.cut(image, manner.side)[None], target[None], prompt, ~with_box)


def joined(parts: Sequence[ScoutBatch]) -> ScoutBatch:
    """Batches as one."""
    names = ("box", "boxed", "points", "sign", "previous", "continued")
    prompt = CropPrompt(*(torch.cat([getattr(part.prompt, name) for part in parts]) for name in names))
    image, mask, ambiguous = (
        torch.cat([getattr(part, name) for part in parts]) for name in ("image", "mask", "ambiguous")
    )
    return ScoutBatch(image, mask, prompt, ambiguous)


SYSTEM = Scout
