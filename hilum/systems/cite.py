"""CITE — Zhang, Gao, Zhou, Wang, Qiao, Zhang, Wang, Text-guided foundation model adaptation for pathological image
classification (MICCAI 2023).

CLIP's ViT-B/16 and BioLinkBERT stay as they are; between them a single learned token after the class token, and a
linear layer that begins near the identity, carry pictures of tissue to the vectors of class names. A picture's score
for a class is a cosine times 100, the loss is cross-entropy, and a slide is the mean of its patches' probabilities.
Public: code for training (mmcls), no weights. The names' vectors are not in the checkpoints that the code writes: here
BioLinkBERT-large is the base that a checkpoint is completed by, so that any name can be asked for.
Deviations: 32-bit floats instead of 16; evaluation is not random (see `saturation`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from PIL import Image as Pillow
from PIL import ImageEnhance
from torch import Tensor, nn

from hilum.capabilities.look import Seen, tensors
from hilum.capabilities.match import Matched, Score
from hilum.capabilities.system import System
from hilum.capabilities.trainable import Captioned
from hilum.objectives.terms import Terms
from hilum.parts import tokens
from hilum.parts.bert import BertSizes, bert, pooled
from hilum.parts.clip_vision import ClipVisionSizes, clip_vision
from hilum.parts.colour_frame import as_colour
from hilum.parts.imagenet_frame import Picture, normalised, opened_as_rgb
from hilum.parts.prompted_vision import PromptedVision
from hilum.parts.tissue_warp import jittered, turned
from hilum.parts.tokens import Reading
from hilum.parts.two_tower import groups, mean_of_units, unit
from hilum.values.errors import BadInput
from hilum.values.image import Image
from hilum.values.prompts import Labels
from hilum.weights.rename import Rule, Table, fill

TEMPLATES = ("{}",)  # a class is its bare name (published configuration)
OWN = ("backbone.", "neck.")  # how names in a checkpoint of the published code begin
PATCH_GASTRIC = (
    "Well differentiated tubular adenocarcinoma",
    "Moderately differentiated tubular adenocarcinoma",
    "Poorly differentiated adenocarcinoma",
)
VIT_B_16 = ClipVisionSizes()
BIOLINKBERT = BertSizes(vocabulary=28895, width=1024, layers=24, heads=16, hidden=4096, dropout=0.0)  # never trained
NAMES = Reading("wordpiece", 512)


@dataclass(frozen=True, slots=True, kw_only=True)
class CiteConfig:
    """Sizes of the published configuration; without `vision` the text tower alone.

    `classes` are those that training tells apart. `saturation`: what is left of a picture's colours when it is looked
    at; the published code draws a share between 0 and 0.2 in training and, by a setting, in evaluation as well.
    """

    vision: ClipVisionSizes | None = VIT_B_16
    text: BertSizes = BIOLINKBERT
    reading: Reading = NAMES
    place: Literal["prepend", "add"] = "prepend"
    prompted: int = 1  # layers with prompts of their own, counted from the first
    length: int = 1  # prompts of a layer
    temperature: float = 4.6052  # log of the scale, which is not learned
    classes: tuple[str, ...] = PATCH_GASTRIC
    saturation: float = 0.1


PAPER = CiteConfig()
TINY = CiteConfig(
    vision=ClipVisionSizes(image_size=32, patch=16, width=64, layers=2, embed=16),
    text=BertSizes(vocabulary=200, width=24, layers=1, heads=2, hidden=32, positions=40, dropout=0.0),
    reading=Reading("hashed", 40, size=200),
)


@dataclass(frozen=True, slots=True, eq=False)
class ClassBatch:
    """Pictures as the network takes them, the vectors of the classes, and which class each picture is."""

    pixels: Float[Tensor, "b 3 s s"]
    classes: Float[Tensor, "k dim"]
    own: Int[Tensor, " b"]


class CiteNetwork(nn.Module):
    """Prompted tower and neck carry pictures to the space of the frozen text tower."""

    def __init__(self, config: CiteConfig):
        super().__init__()
        self.text = bert(config.text, pooler=True).requires_grad_(False)
        self.backbone, self.neck = None, None
        if config.vision is not None:
            tower = clip_vision(config.vision)
            self.backbone = PromptedVision(tower, layers=config.prompted, length=config.length, place=config.place)
            self.neck = near_identity(tower.proj.shape[1], config.text.width)

    def forward(self, pixels: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b dim"]:
        return self.neck(self.backbone(pixels))  # type: ignore[misc]


class Cite(System):
    """Pictures of tissue, one or a bag of them, against names of classes."""

    configs: ClassVar[dict[str, CiteConfig]] = {"vit_b_16": PAPER, "biolinkbert_large": replace(PAPER, vision=None)}
    table = Table(Rule(r"^(embeddings|encoder|pooler)\.", r"text.\1."))
    together: ClassVar[int] = 0
    network: CiteNetwork

    @classmethod
    def build(cls, config: CiteConfig) -> CiteNetwork:
        return CiteNetwork(config)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        return cls.seeded(TINY, seed)

    @classmethod
    def carries(cls, name: str) -> bool:
        """Whether a checkpoint of the published code holds it; the rest is the text tower's."""
        return name.startswith(OWN)

    @classmethod
    def completed(cls, config: CiteConfig, own: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The checkpoint's tensors and the text tower's; no name is in both."""
        return {**own, **base}

    @classmethod
    def begun(
        cls, config: CiteConfig, clip: Mapping[str, Tensor], words: Mapping[str, Tensor], *, seed: int = 0
    ) -> Self:
        """Before training: CLIP's tensors (OpenAI's names), the text tower's; prompt and neck by the seed."""
        system = cls.seeded(config, seed)
        visual = {name.removeprefix("visual."): each for name, each in clip.items() if name.startswith("visual.")}
        fresh = {
            name: each for name, each in system.network.state_dict().items() if name.startswith(("backbone.p", "neck."))
        }
        tower = {f"backbone.model.{name}": each for name, each in visual.items()}
        fill(system.network, cls.table.apply({**fresh, **tower, **words}))
        return system

    def costly(self) -> tuple[nn.Module, tuple[int, ...]] | None:
        if self.config.vision is None:
            return None
        side = self.config.vision.image_size
        return self.network, (1, 3, side, side)

    def prepare(self, image: Image) -> Image:
        """Three channels of 8 bit."""
        if self.config.vision is None:
            raise BadInput(f"{self.tag} is the tower of class names alone; ask cite.vit_b_16, which builds on it")
        return as_colour(image, "cite")

    def see(self, plane: Image) -> Seen:
        """The vector of one picture."""
        return tensors(vector=self.run(self.pixels(plane.array))[0])

    def vector(self, seen: Seen) -> Float[np.ndarray, " dim"]:
        return seen["vector"].float().cpu().numpy()

    def pixels(self, picture: Picture) -> Float[Tensor, "1 3 s s"]:
        """The whole picture, squeezed to a square, with a part of its colours."""
        return normalised(ImageEnhance.Color(self.squeezed(picture)).enhance(self.config.saturation))

    def squeezed(self, picture: Picture) -> Pillow.Image:
        """Both sides at the network's, bilinear."""
        side = self.config.vision.image_size
        return opened_as_rgb(picture).resize((side, side), Pillow.Resampling.BILINEAR)

    @torch.inference_mode()
    def worded(self, texts: Sequence[str]) -> Float[np.ndarray, "n dim"]:
        return self.encoded(texts).float().cpu().numpy()

    def encoded(self, texts: Sequence[str]) -> Float[Tensor, "n dim"]:
        """What the text tower's pooler makes of each text."""
        read = tokens.tokenizer(self.config.reading, lambda: self.file(tokens.VOCABULARY))
        words = read(texts).to(self.device)
        return pooled(self.network.text, words.ids, words.mask)

    @torch.inference_mode()
    def matched(self, seen: Sequence[Seen], labels: Labels) -> Matched:
        """Cosines, and the softmax of each picture; of several pictures the means of both (soft voting)."""
        said = labels.said(TEMPLATES)
        pictures = torch.stack([each["vector"] for each in seen]).to(self.device)
        cosine = cosines(pictures, mean_of_units(groups(self.encoded, said)))
        share = (self.scale() * cosine).softmax(dim=-1)
        return Matched(cosine.mean(0).cpu().numpy(), share.mean(0).cpu().numpy(), said)

    def scorer(self, labels: Labels) -> Score:
        texts = mean_of_units(groups(self.encoded, labels.said(TEMPLATES)))
        return lambda seen: cosines(torch.stack([each["vector"] for each in seen]).to(self.device), texts).mean(dim=0)

    def shows(self, size: tuple[int, int]) -> tuple[float, float]:
        return size

    def scale(self) -> float:
        """By which cosines are multiplied: about 100."""
        return float(np.exp(self.config.temperature))

    def pairs(self, samples: Sequence[Captioned], rng: np.random.Generator) -> ClassBatch:
        """Pictures with random colours, mirrored and turned; texts are names of classes.

        The classes are the config's; where a text is none of these, those of the batch.
        """
        names = [each.text for each in samples]
        classes = self.config.classes if set(names) <= set(self.config.classes) else tuple(dict.fromkeys(names))
        pictures = [self.squeezed(self.prepare(each.image).array) for each in samples]
        pixels = [normalised(turned(jittered(each, rng), rng)) for each in pictures]
        with torch.no_grad():
            vectors = self.encoded(classes)
        own = torch.tensor([classes.index(name) for name in names], device=self.device)
        return ClassBatch(torch.cat(pixels).to(self.device), vectors, own)

    def loss(self, batch: ClassBatch) -> Terms:
        """Cross-entropy over the classes; a prompt of zeros first begins as the mean token of this batch."""
        backbone = self.network.backbone
        if not bool(backbone.prompt.any()):  # type: ignore[union-attr]
            backbone.begin(batch.pixels)  # type: ignore[union-attr]
        return Terms({"class": F.cross_entropy(self.logits(batch), batch.own)})

    def logits(self, batch: ClassBatch) -> Float[Tensor, "b k"]:
        """The scale times the cosines."""
        return self.scale() * cosines(self.network(batch.pixels), batch.classes)


def cosines(pictures: Float[Tensor, "b dim"], classes: Float[Tensor, "k dim"]) -> Float[Tensor, "b k"]:
    """Of each picture with each class."""
    return unit(pictures) @ unit(classes).T


def near_identity(given: int, made: int) -> nn.Linear:
    """A linear layer that begins as small noise with ones on its diagonal (published configuration)."""
    layer = nn.Linear(given, made)
    nn.init.normal_(layer.weight, std=0.02)
    with torch.no_grad():
        layer.weight.diagonal().add_(1.0)
    return layer


SYSTEM = Cite
