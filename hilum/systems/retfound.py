"""RETFound — Zhou, Chia, Wagner et al., A foundation model for generalizable disease detection from retinal images
(Nature 2023).

A ViT-L/16 learns from 1.6 million unlabelled retinal pictures, colour photographs and OCT apart, by guessing masked
patches, beginning from an encoder that did the same on natural pictures. For a disease the decoder is thrown away: the
patch tokens are averaged, without the class token, then normalised, then classified, and the whole encoder is tuned.
What a picture is embedded as is that normalised mean. Later weights were also trained by DINOv2; they are ViT-L/14 and
give their class token. Public: code and weights (CC BY-NC 4.0, behind a form). This file is written from the paper and
a description, not from that code. Deviation: a colour photograph is first cut to the fundus disc and squared, as the
authors ask of their users; their evaluation code takes the picture as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from hilum.capabilities.look import Seen, tensors
from hilum.capabilities.system import System
from hilum.capabilities.trainable import Sample
from hilum.nn.vit import Vit, VitConfig, resampled
from hilum.objectives.masked import Masking, by_own_range, masked_error, patchified
from hilum.objectives.terms import Terms
from hilum.parts import fundus_disc, masked_autoencoder
from hilum.parts.imagenet_frame import Picture, evaluated, random_crop
from hilum.values.errors import BadInput
from hilum.values.image import Image
from hilum.weights.rename import Ignore, Rule, Table, fill

SMOOTHING = 0.1  # of labels in fine-tuning (the published recipe)
HEAD_START = 2e-5  # deviation of a fresh head's weights (ibid.)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetFoundConfig:
    """Sizes and habits of one kind of weights. With classes it is a fine-tuned model, with a decoder a pre-trained one.

    `head_norm`: the present repository normalises the mean twice before its head, that of 2023 once. A checkpoint keeps
    to the one it was tuned with; vectors are normalised once either way.
    """

    encoder: VitConfig
    decoder: VitConfig | None = None
    pool: Literal["patches", "class"] = "patches"
    head_norm: Literal["once", "twice"] = "once"
    classes: int = 0
    disc: bool = True  # whether colour photographs are cut to the fundus disc
    modality: str = ""  # what the weights have seen, DICOM's code, where it is known: photographs OP, OCT OPT
    mask_ratio: float = 0.75  # 0.85 for OCT (the paper's methods; remembered, unverified)
    norm_pixels: bool = False  # the published default: pixels as they are, not by each patch's own range


LARGE = VitConfig(image_size=224, patch=16, dim=1024, depth=24, heads=16)  # ViT-L (the paper's methods)
DECODER = VitConfig(image_size=224, patch=16, dim=512, depth=8, heads=16)  # He et al. 2022; (remembered, unverified)
DINO = VitConfig(image_size=224, patch=14, dim=1024, depth=24, heads=16, layer_scale=1e-5)  # timm's dinov2 ViT-L/14
CFP = RetFoundConfig(encoder=LARGE, decoder=DECODER, modality="OP")
OCT = replace(CFP, disc=False, mask_ratio=0.85, modality="OPT")
LATER = replace(CFP, head_norm="twice", modality="")
BY_DINO = RetFoundConfig(encoder=DINO, pool="class", head_norm="twice")
TINY = RetFoundConfig(
    encoder=VitConfig(image_size=32, patch=8, dim=24, depth=2, heads=3),
    decoder=VitConfig(image_size=32, patch=8, dim=16, depth=1, heads=2),
)


@dataclass(frozen=True, slots=True, eq=False)
class MaskedBatch:
    """Pictures as the network takes them, and the noise that decides which patches are hidden."""

    pixels: Float[Tensor, "b 3 h w"]
    noise: Float[Tensor, "b n"]

    def to(self, device: torch.device) -> MaskedBatch:
        return MaskedBatch(self.pixels.to(device), self.noise.to(device))


class RetFoundNetwork(nn.Module):
    """Encoder, and either the decoder of pre-training or the head of fine-tuning."""

    def __init__(self, config: RetFoundConfig):
        super().__init__()
        self.config = config
        dim, tuned = config.encoder.dim, config.classes > 0
        whole = config.pool == "class" or config.decoder is not None  # whether its own last norm is used at all
        self.encoder = Vit(replace(config.encoder, final_norm=whole))
        self.decoder = None
        if config.decoder is not None:
            self.decoder = masked_autoencoder.MaskedDecoder(config.decoder, encoder_dim=dim)
            masked_autoencoder.start(self.encoder)
        self.fc_norm = (  # a pre-trained file has none: a fresh one has no numbers to keep
            nn.Identity() if config.pool == "class" else nn.LayerNorm(dim, config.encoder.eps, elementwise_affine=tuned)
        )
        self.head = fresh_head(dim, config.classes) if tuned else nn.Identity()

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b dim"]:
        """The vector of each picture."""
        tokens = self.encoder.tokens(pixels)
        if self.config.pool == "class":
            return self.encoder.norm(tokens)[:, 0]
        return self.fc_norm(tokens[:, self.config.encoder.prefix :].mean(dim=1))

    def logits(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b classes"]:
        """The classes of a fine-tuned model, before the softmax."""
        vector = self(pixels)
        return self.head(self.fc_norm(vector) if self.config.head_norm == "twice" else vector)

    def guess(self, pixels: Float[Tensor, "b 3 h w"], masking: Masking) -> Float[Tensor, "b n pixels"]:
        """The pixels of every patch, from those that are kept."""
        if self.decoder is None:
            raise BadInput(
                "these weights have no decoder: only retfound's pre-trained MAE weights guess masked patches"
            )
        return self.decoder(masked_autoencoder.seen(self.encoder, pixels, masking.kept), masking.restore)


class RetFound(System):
    """Retinal pictures in, vectors out; pre-trained further by masking."""

    configs: ClassVar[dict[str, RetFoundConfig]] = {
        "mae_nature_cfp": CFP,
        "mae_nature_oct": OCT,
        "mae_meh": LATER,
        "mae_shanghai": LATER,
        "dinov2_meh": BY_DINO,
        "dinov2_shanghai": BY_DINO,
    }
    table = Table(
        Rule(r"^decoder_", r"decoder."),
        Rule(r"^mask_token$", r"decoder.mask_token"),
        Rule(r"^(cls_token|pos_embed|patch_embed|blocks|norm)", r"encoder.\1"),
    )
    spelling = Table(  # how the DINOv2 files may write it: a teacher's encoder beside the heads of its training
        Ignore(r"dino_head\..*|ibot_head\..*|backbone\.mask_token"),
        Rule(r"^backbone\.", r""),
        Rule(r"mlp\.w12\.", r"mlp.fc1."),
        Rule(r"mlp\.w3\.", r"mlp.fc2."),
    )
    network: RetFoundNetwork

    @classmethod
    def build(cls, config: RetFoundConfig) -> RetFoundNetwork:
        return RetFoundNetwork(config)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        return cls.seeded(TINY, seed)

    def costly(self) -> tuple[nn.Module, tuple[int, ...]]:
        return self.network, (1, 3, self.side, self.side)

    @property
    def side(self) -> int:
        """Pixels of a side that the network sees."""
        return self.config.encoder.image_size

    def prepare(self, image: Image) -> Image:
        """8 bit in three channels; what will be cut away, and what these weights have not seen, is said."""
        seen, given = self.config.modality, image.source.modality
        if seen and given and seen != given:
            image = image.noted(f"{self.tag} was trained on {seen}; this image says {given}")
        if image.array.dtype == np.uint8 and not image.display.inverted:
            shown = image.with_array(np.broadcast_to(image.array, (3, *image.grid)))
        else:
            low, high = image.display.low, image.display.high
            grey = np.moveaxis(image.shown(), -1, 0)
            shown = image.with_array(grey).noted(f"retfound saw {low:g} to {high:g} in 8 bit")
        if image.dimensions == 3 or not self._coloured(shown.array):
            return shown
        found = fundus_disc.disc(shown.array)
        if found is None:
            return shown.noted("retfound saw the whole photograph: no disc on black stands out from it")
        left, top, right, bottom = found
        return shown.noted(f"retfound saw the fundus disc, x {left} to {right - 1}, y {top} to {bottom - 1}, squared")

    def see(self, plane: Image) -> Seen:
        """The vector of one plane."""
        return tensors(vector=self.run(self.pixels(plane.array)))

    def vector(self, seen: Seen) -> Float[np.ndarray, " dim"]:
        return seen["vector"][0].float().cpu().numpy()

    def batch(self, samples: Sequence[Sample], rng: np.random.Generator) -> MaskedBatch:
        """A random part of each picture, a fifth of its area or more, and noise for its patches."""
        pictures = [self.cut(self.prepare(sample.image).array) for sample in samples]
        pixels = torch.cat([random_crop(picture, self.side, rng) for picture in pictures])
        noise = rng.random((len(samples), self.config.encoder.grid**2), dtype=np.float32)
        return MaskedBatch(pixels, torch.from_numpy(noise)).to(self.device)

    def loss(self, batch: MaskedBatch) -> Terms:
        """The squared error on hidden patches (He et al. 2022, sec. 3, as the paper's methods cite it)."""
        masking = Masking.by_noise(batch.noise, self.config.mask_ratio)
        target = patchified(batch.pixels, self.config.encoder.patch)
        if self.config.norm_pixels:
            target = by_own_range(target)
        return Terms({"masked": masked_error(self.network.guess(batch.pixels, masking), target, masking.removed)})

    def classify(self, pixels: Float[Tensor, "b 3 h w"], labels: Int[Tensor, " b"]) -> Terms:
        """Cross-entropy of smoothed labels: the objective of fine-tuning."""
        return Terms({"labels": F.cross_entropy(self.network.logits(pixels), labels, label_smoothing=SMOOTHING)})

    def with_classes(self, classes: int, *, image_size: int | None = None, drop_path: float = 0.2) -> RetFound:
        """A model to be fine-tuned: this encoder, positions brought to another size if asked, and a fresh head."""
        side = image_size or self.side
        encoder = replace(self.config.encoder, image_size=side, drop_path=drop_path)
        config = replace(self.config, encoder=encoder, decoder=None, classes=classes)
        network = self.build(config).eval()
        own = {name: tensor.detach().cpu().clone() for name, tensor in self.network.encoder.state_dict().items()}
        own["pos_embed"] = resampled(own["pos_embed"], (encoder.grid,) * 2, prefix=encoder.prefix, antialias=False)
        fresh = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("encoder.")}
        kept = {f"encoder.{name}": own[name] for name in network.encoder.state_dict()}
        fill(network, {**fresh, **kept})
        network.encoder.pos_embed.requires_grad_(True)
        return RetFound(network, config, tag=f"{self.tag.partition('.')[2]}+{classes}").placed(
            str(self.device), "torch"
        )

    def uncut(self) -> Self:
        """The same system, which takes photographs as they are: for those that are cut already."""
        other = copy.copy(self)
        other.config, other.tag = replace(self.config, disc=False), f"{self.tag}+uncut"  # kept looks go by the tag
        return other

    def cut(self, picture: Picture) -> Picture:
        """Cut to the fundus disc and squared, where there is one and these weights want it."""
        found = fundus_disc.disc(picture) if self._coloured(picture) else None
        return picture if found is None else fundus_disc.squared(picture, found)

    def pixels(self, picture: Picture) -> Float[Tensor, "1 3 side side"]:
        """The published evaluation's frame; above 224 pixels nothing is cut off (that is remembered, unverified)."""
        return evaluated(self.cut(picture), self.side, share=0.875 if self.side <= 224 else 1.0)

    def _coloured(self, picture: Picture) -> bool:
        """Whether a picture is to be cut to its disc: in colour, for weights that want it."""
        return self.config.disc and bool((picture[0] != picture[1]).any())


def fresh_head(dim: int, classes: int) -> nn.Linear:
    """A head that says almost nothing yet."""
    head = nn.Linear(dim, classes)
    nn.init.trunc_normal_(head.weight, std=HEAD_START)
    nn.init.zeros_(head.bias)
    return head


SYSTEM = RetFound
