"""A closer look at thin answers: tiles of the window near the image's own resolution, each after the coarse answer.

A window of a fixed number of pixels loses what is only a pixel or two wide there: vessels, rims. Where the window was
shrunk and the coarse answer is thin, or a box was given and the answer is judged poor, tiles are cut from the window,
the tile is the box, and what was seen from afar is the previous mask. The tiles are laid side by side in the window's
own pixels.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from hilum.parts.crop_window import Window

THICK = 7  # crop pixels: a mask that hardly holds squares of this side is thin
HELD = 0.25  # share of a thin mask that such squares cover at most
SHRUNK = 1.2  # image pixels per crop pixel from which a closer look can show more
POOR = 0.5  # judged Dice of a coarse answer under which a closer look is tried
TILE = 85  # image pixels per tile, or less: with its surroundings as many as the crop has
MOST = 100  # tiles at most; of larger windows they are larger
AT_ONCE = 16  # tiles in one pass

# Logits of the tiles' own pixels and judged quality, for tiles as boxes.
Asked = Callable[[list[Window]], tuple[list[Float[Tensor, "h w"]], Float[Tensor, " n"]]]


def thin(mask: Bool[Tensor, "s s"]) -> bool:
    """Whether little of the mask is left when it is opened with a square."""
    held = mask[None, None].float()
    room = THICK // 2
    worn = -F.max_pool2d(-F.pad(held, (room,) * 4), THICK, stride=1)
    opened = F.max_pool2d(F.pad(worn, (room,) * 4), THICK, stride=1)
    return bool(mask.any()) and float((opened * held).sum() / held.sum()) < HELD


def shrunk(logits: Float[Tensor, "s s"], window: Window) -> bool:
    """Whether the image has more to show than the window's crop does."""
    return max(window.width, window.height) > SHRUNK * logits.shape[-1]


def closer(
    window: Window, inner: Window, logits: Float[Tensor, "s s"], asked: Asked
) -> tuple[Float[Tensor, "h w"], Float[Tensor, ""]]:
    """Logits of the window in image pixels: the coarse answer, with tiles of the `inner` part looked at closely; and
    the judged quality, the mean over tiles weighted by how much of the answer lies there."""
    fine = F.interpolate(logits[None, None], size=(window.height, window.width), mode="bilinear")[0, 0]
    count = min(-(-max(inner.width, inner.height) // TILE), int(MOST**0.5))
    tiles = [tile for tile in inner.tiles(count) if min(tile.width, tile.height) > 0]
    judged, weight = logits.new_zeros(()), logits.new_full((), 1e-6)
    for start in range(0, len(tiles), AT_ONCE):
        some = tiles[start : start + AT_ONCE]
        for tile, answer, quality in zip(some, *asked(some), strict=True):
            Window(tile.left - window.left, tile.top - window.top, tile.width, tile.height).paste(answer, fine)
            share = (answer > 0).float().mean() * tile.width * tile.height
            judged, weight = judged + share * quality, weight + share
    return fine, judged / weight


def seen_in(logits: Float[Tensor, "s s"], around: Window, tile: Window) -> Float[Tensor, "h w"]:
    """The logits of the window `around` at the pixels of the tile."""
    x = (torch.arange(tile.width) + (tile.left - around.left + 0.5)) / around.width * 2 - 1
    y = (torch.arange(tile.height) + (tile.top - around.top + 0.5)) / around.height * 2 - 1
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
    return F.grid_sample(logits[None, None], grid[None], padding_mode="border", align_corners=False)[0, 0]
