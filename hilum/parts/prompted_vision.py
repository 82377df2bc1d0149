"""Visual prompts: learned tokens within a frozen ViT (Jia et al. 2022, Visual prompt tuning, sec. 3.2)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hilum.parts.clip_vision import entered


class PromptedVision(nn.Module):
    """CLIP's ViT, frozen, with prompts for its first `layers`: put after the class token, where each of these layers
    finds its own in the place of the one before, or added to the patches, over and over along their rows."""

    def __init__(self, tower: Any, *, layers: int, length: int, place: Literal["prepend", "add"]):
        super().__init__()
        self.model = tower.requires_grad_(False)
        self.prompt = nn.Parameter(torch.zeros(layers, length, tower.class_embedding.shape[0]))
        self.place = place

    def forward(self, pixels: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b embed"]:
        """The projected class token."""
        tower, tokens = self.model, entered(self.model, pixels)
        if self.place == "prepend":
            tokens = self.between(tokens[:, :1], 0, tokens[:, 1:])
        for number, block in enumerate(tower.transformer.resblocks):
            if number < len(self.prompt):
                tokens = self.prompted(tokens, number)
            tokens = block(tokens)
        return tower.ln_post(tokens[:, 0]) @ tower.proj

    def prompted(self, tokens: Float[Tensor, "b n d"], number: int) -> Float[Tensor, "b n d"]:
        """The tokens as layer `number` is given them."""
        length = self.prompt.shape[1]
        if self.place == "prepend":
            return self.between(tokens[:, :1], number, tokens[:, 1 + length :])
        whole = (tokens.shape[1] - 1) // length  # blocks; patches behind the last whole one stay as they are
        end = 1 + whole * length
        added = tokens[:, 1:end] + self.prompt[number].repeat(whole, 1)
        return torch.cat([tokens[:, :1], added, tokens[:, end:]], dim=1)

    def between(
        self, first: Float[Tensor, "b 1 d"], number: int, rest: Float[Tensor, "b m d"]
    ) -> Float[Tensor, "b n d"]:
        """The prompts of a layer between the class token and the patches."""
        return torch.cat([first, self.prompt[number].expand(len(first), -1, -1), rest], dim=1)

    @torch.no_grad()
    def begin(self, pixels: Float[Tensor, "b 3 s s"]) -> None:
        """Adds the mean token of a batch, the class token among them, to every prompt."""
        self.prompt.add_(entered(self.model, pixels).mean(dim=(0, 1)))
