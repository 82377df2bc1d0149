"""A SAM's weights for another image size: positions are resized, and the decoder's heads stay as they are.

As SAM-Med2D's published loader starts a 256-pixel network from SAM's 1024-pixel file: the table of positions is resized
bilinearly, the tables of relative positions of the blocks that attend to the whole grid along their length. Mask
tokens, mask heads and quality head are not taken then, nor where the network has fewer masks than the file; they are
kept as they were, and so is what the file lacks. Names are ours.
"""

from collections.abc import Mapping

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from hilum.parts.sam_image_encoder import resize_positions
from hilum.values.errors import BadInput

POSITION = "image_encoder.position"
RELATIVE = (".relative.rows", ".relative.columns")
KEPT = ("mask_decoder.tokens.masks", "mask_decoder.mask_heads.", "mask_decoder.quality_head.")


def at_size_of(own: Mapping[str, Tensor], source: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `own`, which is a whole network's, taken from `source` where it has them."""
    beyond = source.keys() - own.keys()
    strange = [name for name in beyond if not name.startswith(KEPT)]
    if strange:
        raise BadInput(f"{len(strange)} of these weights have no place in the network, such as {min(strange)}")
    other = bool(beyond) or any(source[name].shape != own[name].shape for name in source)
    taken = {name: fitted(name, source[name], own[name]) for name in source if not (other and name.startswith(KEPT))}
    return {**own, **taken}


def fitted(name: str, tensor: Tensor, own: Tensor) -> Tensor:
    """One tensor at the size of the network's own."""
    if tensor.shape == own.shape:
        return tensor
    if name == POSITION and tensor.shape[-1] == own.shape[-1]:
        return resize_positions(tensor, *own.shape[1:3])
    if name.endswith(RELATIVE) and tensor.shape[-1] == own.shape[-1]:
        return stretched(tensor, len(own))
    raise BadInput(f"{name} is {list(tensor.shape)}, wanted {list(own.shape)}: only tables of positions can be resized")


def stretched(table: Float[Tensor, "l d"], length: int) -> Float[Tensor, "length d"]:
    """A table of relative positions at another length, linear between its rows."""
    longer = F.interpolate(rearrange(table, "l d -> 1 d l"), size=length, mode="linear", align_corners=False)
    return rearrange(longer, "1 d l -> l d")
