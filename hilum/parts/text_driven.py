"""The text-driven segmentor (Liu et al. 2023, sec. 3.2): the text of a class and the image together choose three small
layers for it, which run over the backbone's features and say for each voxel whether it belongs to the class.

Classes do not exclude each other. Texts are kept as vectors in the file, so no text encoder is needed to ask.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

INNER = 8  # channels of the small layers (the paper's implementation details)
KERNELS = (INNER * INNER, INNER * INNER, INNER)  # numbers of their weights, then as many biases as each gives channels
BIASES = (INNER, INNER, 1)
AT_ONCE = 8  # classes whose layers run together: with 32 of them a window of 96³ would take 2 GB more


@dataclass(frozen=True, slots=True)
class TextDrivenConfig:
    """Sizes around a backbone whose deepest features have `deep` channels and whose finest have `fine`."""

    deep: int
    fine: int
    classes: int = 32
    text: int = 512  # of CLIP ViT-B/32
    width: int = 256
    groups: int = 16


@dataclass(frozen=True, slots=True, eq=False)
class Layers:
    """Three layers for each image and class: weights (b, k, out, in) and biases (b, k, out, 1)."""

    weights: tuple[Tensor, Tensor, Tensor]
    biases: tuple[Tensor, Tensor, Tensor]

    def of(self, classes: slice) -> Iterator[tuple[Tensor, Tensor]]:
        """Weight and bias of each layer, first to last, for some of the classes."""
        for weight, bias in zip(self.weights, self.biases, strict=True):
            yield weight[:, classes], bias[:, classes]


class TextDriven(nn.Module):
    """The whole network; attributes are named as in the published file. `organ_embedding` holds the texts' vectors."""

    def __init__(self, backbone: nn.Module, config: TextDrivenConfig):
        super().__init__()
        self.backbone = backbone
        deep, fine, width, groups = config.deep, config.fine, config.width, config.groups
        self.precls_conv = nn.Sequential(nn.GroupNorm(groups, fine), nn.ReLU(), nn.Conv3d(fine, INNER, 1))
        pool = nn.AdaptiveAvgPool3d(1)
        self.GAP = nn.Sequential(nn.GroupNorm(groups, deep), nn.ReLU(), pool, nn.Conv3d(deep, width, 1))
        self.controller = nn.Conv3d(2 * width, sum(KERNELS) + sum(BIASES), 1)
        self.text_to_vision = nn.Linear(config.text, width)
        self.organ_embedding: Tensor
        self.register_buffer("organ_embedding", torch.randn(config.classes, config.text))

    def forward(self, x: Float[Tensor, "b 1 x y z"]) -> Float[Tensor, "b k x y z"]:
        """Logits of each class."""
        deepest, finest = self.backbone(x)
        return self.drawn(finest, self.layers(deepest))

    def said(self) -> Float[Tensor, "k width"]:
        """What the texts of the classes come to."""
        return F.relu(self.text_to_vision(self.organ_embedding))

    def seen(self, deepest: Float[Tensor, "b deep i j k"]) -> Float[Tensor, "b width"]:
        """What the image comes to, without its places."""
        return self.GAP(deepest).flatten(1)

    def numbers(self, deepest: Float[Tensor, "b deep i j k"]) -> Float[Tensor, "b k n"]:
        """All numbers of the small layers: the image first, the text behind it, through one linear map."""
        seen, said = self.seen(deepest), self.said()
        images, classes = len(seen), len(said)
        both = torch.cat([seen[:, None].expand(-1, classes, -1), said.expand(images, -1, -1)], dim=-1)
        return F.linear(both, self.controller.weight.flatten(1), self.controller.bias)

    def layers(self, deepest: Float[Tensor, "b deep i j k"]) -> Layers:
        """The same, laid out as layers."""
        parts = self.numbers(deepest).split([*KERNELS, *BIASES], dim=-1)
        weights = [rearrange(each, "b k (out inner) -> b k out inner", inner=INNER) for each in parts[:3]]
        return Layers(tuple(weights), tuple(each[..., None] for each in parts[3:]))  # type: ignore[arg-type]

    def drawn(self, finest: Float[Tensor, "b fine x y z"], layers: Layers) -> Float[Tensor, "b k x y z"]:
        """The small layers over the features, a few classes at a time."""
        x = self.precls_conv(finest)
        images, classes = layers.weights[0].shape[:2]
        flat = rearrange(x, "b c x y z -> b 1 c (x y z)")
        logits = []
        for start in range(0, classes, AT_ONCE):
            inner = flat.expand(-1, min(AT_ONCE, classes - start), -1, -1).flatten(0, 1)
            for number, (weight, bias) in enumerate(layers.of(slice(start, start + AT_ONCE))):
                inner = torch.baddbmm(bias.flatten(0, 1), weight.flatten(0, 1), F.relu_(inner) if number else inner)
            logits.append(inner.unflatten(0, (images, -1))[:, :, 0])
        return torch.cat(logits, dim=1).unflatten(-1, x.shape[2:])
