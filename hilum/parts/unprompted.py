"""A SAM that is asked nothing: an empty list of prompts and the map of no mask, and all masks come back, none chosen.

So a decoder with a token per class answers for all classes at once (Zhang & Liu 2023, SAMed).
"""

from jaxtyping import Float
from torch import Tensor, nn

from hilum.parts.sam import Sam
from hilum.parts.sam_prompt_encoder import SamPrompts


class Unprompted(nn.Module):
    """Pixels in, the logits of all masks at four times the embedding's size out."""

    def __init__(self, sam: Sam):
        super().__init__()
        self.sam = sam

    def forward(self, pixels: Float[Tensor, "b 3 height width"]) -> Float[Tensor, "b m h w"]:
        return self.answer(pixels)[0]

    def answer(
        self, pixels: Float[Tensor, "b 3 height width"]
    ) -> tuple[Float[Tensor, "b m h w"], Float[Tensor, "b m"]]:
        """Logits, and the overlaps that the quality head predicts for them."""
        embedding = self.sam.image_encoder(pixels)
        count, _, rows, columns = embedding.shape
        prompts, size = self.sam.prompt_encoder, (rows * self.sam.patch, columns * self.sam.patch)
        sparse, dense = prompts(SamPrompts(), size=size, grid=(rows, columns))
        sparse, dense = sparse.expand(count, -1, -1), dense.expand(count, -1, -1, -1)
        return self.sam.mask_decoder(embedding, prompts.fourier.grid(rows, columns), sparse, dense)
