"""AutoSAM — Hu, Xu, Shi, How to efficiently adapt large segmentation model (SAM) to medical images (arXiv 2306.13731).

SAM's image encoder rests; a head beside it learns to name classes, without any prompt, from as little as one labelled
volume. There are three heads: SAM's own mask decoder with one set of tokens for each class, the classes folded into the
batch, and a random Fourier layer of its own for the places; a small convolutional network; a linear map for each pixel.
What the head has in common with SAM begins with SAM's weights, but for the tokens and the quality head. A picture is
brought to 0..1 by its own range and to 256 pixels; the network enlarges it to 1024, and its answer is brought back.
Trained with cross-entropy and soft Dice. Public: code, no weights. Not the other method called AutoSAM (Shaharabany).
Deviation: a picture of one constant value is seen as zeros; the published preparation divides by zero there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from safetensors import safe_open
from torch import Tensor, nn

from hilum.capabilities.look import Seen, tensors
from hilum.capabilities.system import System
from hilum.capabilities.trainable import Sample
from hilum.objectives.class_overlap import foreground_dice_loss
from hilum.objectives.terms import Terms
from hilum.parts.nearest_resize import nearest_resize
from hilum.parts.sam import BASE, POCKET, TINY, SamConfig, image_encoder, plain_block
from hilum.parts.sam_heads import DecoderNetwork, FeatureNetwork, GrowingHead, PixelwiseHead, class_decoder
from hilum.parts.sam_prompt_encoder import FourierFeatures
from hilum.parts.zoomed_slice import label_map
from hilum.values.answers import PlaneMask
from hilum.values.errors import BadInput
from hilum.values.image import Image
from hilum.weights.rename import Rule, Table, fill
from hilum.weights.tables.sam import DECODER, ENCODER
from hilum.weights.tensor_file import sha256

HEART = ("right ventricle", "myocardium", "left ventricle")  # ACDC's labels 1, 2, 3
HEADING = "autosam"  # the entry in a file's head
NOT_SAMS = ("iou", "mask_tokens")  # in the name of what begins at random although SAM has it (the published builder)


@dataclass(frozen=True, slots=True)
class DecoderHead:
    """SAM's mask decoder, its classes folded into the batch."""

    masks: int = 2  # tokens of each class; the first one answers
    places: int = 64  # side of the grid that the Fourier layer is made for; a constant in the published code


@dataclass(frozen=True, slots=True)
class CnnHead:
    """Convolutions, in stages."""

    depth: int = 4  # of which the last two double the map
    top: int = 64  # channels after the last stage


@dataclass(frozen=True, slots=True)
class LinearHead:
    """SAM's upscaling and a linear map for each pixel."""


Head = DecoderHead | CnnHead | LinearHead


@dataclass(frozen=True, slots=True)
class AutoSamConfig:
    """Sizes of SAM (B, L or H), the head, and the classes without the background."""

    sam: SamConfig
    head: Head = field(default_factory=DecoderHead)
    classes: tuple[str, ...] = HEART
    picture: int = 256  # side in pixels to which pictures are brought first (the published code's --img_size)

    @classmethod
    def read(cls, told: str) -> Self:
        """From what `told` wrote."""
        table = json.loads(told)
        sam = SamConfig(**{**table["sam"], "global_blocks": tuple(table["sam"]["global_blocks"])})
        heads: dict[str, type[Head]] = {kind.__name__: kind for kind in (DecoderHead, CnnHead, LinearHead)}
        kind, sizes = table["head"]
        return cls(sam, heads[kind](**sizes), tuple(table["classes"]), table["picture"])

    def told(self) -> str:
        """As text, for the head of a weights file."""
        return json.dumps({**asdict(self), "head": [type(self.head).__name__, asdict(self.head)]})

    def __post_init__(self) -> None:
        if isinstance(self.head, DecoderHead) and self.head.places != self.sam.grid:
            raise ValueError(
                f"{self.head.places} places on a side, but the embedding has {self.sam.grid}: make them equal"
            )


@dataclass(frozen=True, slots=True, eq=False)
class AutoSamBatch:
    """Pictures in 0..1, and the class of each pixel, 0 for the background."""

    pictures: Float[Tensor, "b 3 side side"]
    labels: Int[Tensor, "b side side"]

    def to(self, device: torch.device) -> Self:
        """The same batch on a device."""
        return type(self)(self.pictures.to(device), self.labels.to(device))


Network = DecoderNetwork | FeatureNetwork


class AutoSam(System):
    """Classes, named without a prompt, by a head on SAM's resting encoder."""

    configs: ClassVar[dict[str, AutoSamConfig]] = {
        "pocket": AutoSamConfig(POCKET, DecoderHead(places=POCKET.grid), ("nuclei",))
    }
    table = Table(ENCODER, DECODER, Rule(r"^pe_layer\.positional_encoding_gaussian_matrix$", r"fourier.frequencies"))
    network: Network

    @classmethod
    def build(cls, config: AutoSamConfig) -> Network:
        """The encoder rests, and so does what predicts overlap, which no loss asks."""
        encoder = image_encoder(config.sam, block=plain_block).requires_grad_(False)
        width, classes = config.sam.channels, 1 + len(config.classes)
        match config.head:
            case CnnHead(depth, top):
                return FeatureNetwork(encoder, GrowingHead(width, classes, depth=depth, top=top))
            case LinearHead():
                return FeatureNetwork(encoder, PixelwiseHead(width, classes))
            case DecoderHead(masks, _):
                mask_decoder = class_decoder(config.sam, classes=classes, masks=masks)
                mask_decoder.tokens.quality.requires_grad_(False)
                mask_decoder.quality_head.requires_grad_(False)
                return DecoderNetwork(encoder, mask_decoder, FourierFeatures(width))

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        return cls.seeded(AutoSamConfig(TINY, DecoderHead(places=TINY.grid), picture=48), seed)

    @classmethod
    def beside(cls, sizes: SamConfig, targets: tuple[str, ...]) -> dict[str, AutoSamConfig]:
        """Each of the three heads; the convolutions are narrower where SAM's embedding is."""
        top = max(1, CnnHead().top * sizes.channels // BASE.channels)
        return {
            "decoder": AutoSamConfig(sizes, DecoderHead(places=sizes.grid), targets),
            "cnn": AutoSamConfig(sizes, CnnHead(top=top), targets),
            "linear": AutoSamConfig(sizes, LinearHead(), targets),
        }

    @classmethod
    def begun(cls, config: AutoSamConfig, sam: Mapping[str, Tensor], *, seed: int = 0) -> Self:
        """Where training begins: a fresh network with what it takes from SAM's published file."""
        system = cls.seeded(config, seed)
        own = cls.table.inverse(system.network.state_dict())
        fill(system.network, cls.table.apply({**own, **lent(own, sam)}))
        return system

    @classmethod
    def carries(cls, name: str) -> bool:
        """What is trained lies in a head's file: all but SAM's encoder."""
        return not name.startswith("image_encoder.")

    @classmethod
    def completed(
        cls, config: AutoSamConfig, own: Mapping[str, Tensor], base: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        """The file's tensors and SAM's encoder."""
        return {**{name: tensor for name, tensor in base.items() if not cls.carries(name)}, **own}

    @classmethod
    def trained(cls, file: Path) -> Self:
        """From a weights file that says its sizes and classes in its own head, as the recipe writes it."""
        if file.suffix != ".safetensors" or not file.is_file():
            raise BadInput(f"no safetensors file is at {file}")
        with safe_open(file, "pt") as opened:
            told = (opened.metadata() or {}).get(HEADING)
            if told is None:
                raise BadInput(
                    f"{file.name} does not say its sizes and classes: recipes/autosam.py writes files that do"
                )
            upstream = {name: opened.get_tensor(name).float() for name in opened.keys()}  # noqa: SIM118
        config = AutoSamConfig.read(told)
        with torch.device("meta"):
            network = cls.build(config)
        fill(network, cls.table.apply(upstream))
        system = cls(network.eval(), config, tag=file.stem)
        system.weights_sha256 = sha256(file)
        return system

    def costly(self) -> tuple[nn.Module, tuple[int, ...]]:
        side = self.config.sam.image_size
        return self.network.image_encoder, (1, 3, side, side)

    def prepare(self, image: Image) -> Image:
        """The values as they are; a picture stored with its brightest value lowest is turned."""
        if not image.display.inverted:
            return image.noted("autosam saw each plane's own range of values as 0 to 1")
        turned = image.with_array(image.array.max() - image.array, replace(image.display, inverted=False))
        return self.prepare(turned.noted("autosam saw the inverted values turned"))

    def see(self, plane: Image) -> Seen:
        """The embedding of one plane."""
        height, width = plane.grid
        picture = resized(ranged(plane.array), self.config.picture)
        embedding = self.run(resized(picture, self.config.sam.image_size))
        return tensors(embedding=embedding, height=height, width=width)

    def targets(self) -> tuple[str, ...]:
        """The classes without the background."""
        return self.config.classes

    @torch.inference_mode()
    def parse(self, seen: Seen) -> list[PlaneMask]:
        """Of each class where it is the strongest: the probability is that against its strongest rival."""
        small = resized(self.network.head(seen["embedding"]), self.config.picture)
        size = int(seen["height"]), int(seen["width"])
        logits = F.interpolate(small, size=size, mode="bilinear", align_corners=False)[0]
        share = logits.softmax(dim=0)
        found = []
        for number in range(1, len(logits)):
            rival = torch.cat([logits[:number], logits[number + 1 :]]).amax(dim=0)
            probability = torch.sigmoid(logits[number] - rival)
            won = share[number][probability > 0.5]
            found.append(PlaneMask(probability.cpu().numpy(), float(won.mean()) if won.numel() else 0.0))
        return found

    def batch(self, samples: Sequence[Sample], rng: np.random.Generator) -> AutoSamBatch:
        """Pictures and label maps at the size of pictures; the published augmentation is the recipe's."""
        side = self.config.picture
        pictures = [resized(ranged(self.prepare(sample.image).array), side) for sample in samples]
        labels = [nearest_resize(self.labelled(sample), side, side) for sample in samples]
        return AutoSamBatch(torch.cat(pictures), torch.from_numpy(np.stack(labels)).long()).to(self.device)

    def labelled(self, sample: Sample) -> np.ndarray:
        """The label map of a sample that has a mask for each class."""
        if len(sample.masks) != len(self.targets()):
            wanted = f"autosam learns {len(self.targets())} classes ({', '.join(self.targets())})"
            raise ValueError(f"{wanted}: a sample has a mask for each of them, got {len(sample.masks)}")
        return label_map(sample.masks)

    def loss(self, batch: AutoSamBatch) -> Terms:
        """Cross-entropy and soft Dice of the logits at the pictures' size, equally weighted."""
        logits = self.logits(batch.pictures)
        return Terms(
            {
                "cross_entropy": F.cross_entropy(logits, batch.labels),
                "dice": foreground_dice_loss(logits, batch.labels),
            }
        )

    def logits(self, pictures: Float[Tensor, "b 3 side side"]) -> Float[Tensor, "b k side side"]:
        """From pictures to the logits of their classes, background first."""
        with torch.no_grad():
            embedding = self.network.image_encoder(resized(pictures, self.config.sam.image_size))
        return resized(self.network.head(embedding), pictures.shape[-1])


def lent(own: Mapping[str, Tensor], sam: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a network, by its upstream names, takes from SAM's file: all of one name but tokens and quality head."""
    taken = {name: sam[name] for name in own if name in sam and not any(word in name for word in NOT_SAMS)}
    encoder = [name for name in own if name.startswith("image_encoder.")]
    wrong = [name for name in encoder if name not in taken or taken[name].shape != own[name].shape]
    if wrong:
        raise BadInput(f"this is not the file of a SAM of this size: {len(wrong)} tensors differ, such as {wrong[0]}")
    return taken


def ranged(picture: np.ndarray) -> Float[Tensor, "1 3 h w"]:
    """Its range, over all channels, as 0..1; a grey picture on all three channels."""
    values = picture.astype(np.float32)
    low, high = values.min(), values.max()
    values = (values - low) / (high - low) if high > low else np.zeros_like(values)
    return torch.from_numpy(values).expand(1, 3, *picture.shape[-2:])


def resized(maps: Float[Tensor, "b c h w"], side: int) -> Float[Tensor, "b c side side"]:
    """Stretched to a square, bilinear; untouched where it is one of this size."""
    if maps.shape[-2:] == (side, side):
        return maps
    return F.interpolate(maps, size=(side, side), mode="bilinear", align_corners=False)


SYSTEM = AutoSam
