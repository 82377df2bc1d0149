"""Virchow — Vorontsov, Bozkurt, Casson et al., A foundation model for clinical-grade computational pathology and rare
cancers detection (Nature Medicine 2024).

A ViT-H/14 with a packed SwiGLU and LayerScale, trained by DINOv2 on tiles of 1.5 million stained slides: a student
matches its own running mean on differently cut views, class token to class token and, where patches are hidden from
it, patch to patch. A tile's vector is its class token and the mean of its patch tokens, one after the other. A slide is
a bag of such vectors; a small aggregator with a learned query tells whether it shows cancer (`parts/mil.py`). Virchow2
has four register tokens more, which are left out of the mean. Public: weights, behind a form; no training code, no
aggregator. The objective and recipe here are DINOv2's (`objectives/distill.py`, `recipes/virchow.py`), written from its
paper. Deviation: a tile that is not square is cut in its middle after its short side has 224 pixels, as timm does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from hilum.capabilities.look import Seen, tensors
from hilum.capabilities.system import System
from hilum.nn.vit import Vit, VitConfig
from hilum.parts.imagenet_frame import evaluated
from hilum.values.image import Display, Image
from hilum.weights.rename import Table

TILE = (0.5, 2.0)  # a tile's short side, in shares of the network's side, within which nothing is said

HUGE = VitConfig(  # the published model card's options of timm's vit_huge_patch14_224
    image_size=224,
    patch=14,
    dim=1280,
    depth=32,
    heads=16,
    mlp="swiglu",
    mlp_ratio=5.3375,  # gate and value together: 6832, so 3416 after the gate
    layer_scale=1e-5,
)
TINY = replace(HUGE, image_size=56, dim=32, depth=2, heads=2, layer_scale=0.5)


class Virchow(System):
    """Tiles in, vectors out."""

    configs: ClassVar[dict[str, VitConfig]] = {"virchow": HUGE, "virchow2": replace(HUGE, registers=4)}
    table = Table()  # the parts carry the published names
    network: Vit

    @classmethod
    def build(cls, config: VitConfig) -> Vit:
        return Vit(config)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        return cls.seeded(TINY, seed)

    def costly(self) -> tuple[nn.Module, tuple[int, ...]]:
        return self.network, (1, 3, self.config.image_size, self.config.image_size)

    def prepare(self, image: Image) -> Image:
        """8-bit colour; what is not so already is shown through its display window."""
        side, (height, width) = self.config.image_size, image.grid[-2:]
        if not TILE[0] <= min(height, width) / side <= TILE[1]:
            image = image.noted(f"virchow saw a picture of {width} x {height} pixels at {side}; it knows tiles")
        shown = image.array
        if image.array.dtype != np.uint8 or image.display.inverted:
            image = image.noted(f"virchow saw the display window {window(image)} in 8 bit")
            shown = np.rint(image.display(image.array) * 255).astype(np.uint8)
        return image.with_array(np.broadcast_to(shown, (3, *image.grid)), Display(0.0, 255.0))

    def see(self, plane: Image) -> Seen:
        """The plane's vector; the tokens would take a hundred times as much."""
        tokens = self.run(evaluated(plane.array, self.config.image_size, share=1.0))
        return tensors(vector=embedding(tokens, self.config.prefix)[0])

    def vector(self, seen: Seen) -> Float[np.ndarray, " dim"]:
        """Class token and mean of the patch tokens."""
        return seen["vector"].cpu().numpy()


def window(image: Image) -> str:
    """The display window in words."""
    return f"{image.display.low:g} to {image.display.high:g}"


def embedding(tokens: Float[Tensor, "b n d"], prefix: int) -> Float[Tensor, "b 2*d"]:
    """[class token, mean of the patch tokens]; `prefix` counts the class token and the registers."""
    return torch.cat([tokens[:, 0], tokens[:, prefix:].mean(dim=1)], dim=-1)


SYSTEM = Virchow
