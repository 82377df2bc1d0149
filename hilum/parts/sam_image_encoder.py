"""SAM's image encoder: a ViT whose blocks attend inside windows, a few of them over the whole grid.

Kirillov et al. 2023, Segment Anything, sec. 3 and appendix A; the windows and the decomposed relative positions are
ViTDet's (Li et al. 2022). Every part is handed in, because eight systems work inside these blocks: an adapter goes
`after` the attention or `beside` the MLP, LoRA wraps `qkv`, `WindowedFirst` cuts the windows before the norm.
Maps of tokens are (batch, rows, columns, width) throughout.
"""

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

Tokens = Float[Tensor, "b h w c"]
BIAS_AT_ONCE = 2**24  # elements of relative bias held at a time: one head of a 64 x 64 grid, 64 MB in float32


class RelativePositions(nn.Module):
    """A learned logit per row distance and per column distance of query and key (Li et al. 2021, MViTv2, eq. 4)."""

    def __init__(self, rows: int, columns: int, width: int):
        super().__init__()
        self.rows = nn.Parameter(torch.zeros(2 * rows - 1, width))
        self.columns = nn.Parameter(torch.zeros(2 * columns - 1, width))

    def forward(
        self, query: Float[Tensor, "b heads h w d"]
    ) -> tuple[Float[Tensor, "b heads h w h"], Float[Tensor, "b heads h w w"]]:
        """The bias towards each key row and towards each key column; the query is not scaled here, as published."""
        height, width = query.shape[-3:-1]
        down, across = distances(self.rows, height), distances(self.columns, width)
        if torch.compiler.is_exporting():  # the same as products that OpenVINO makes without moving the queries
            turned = rearrange(query, "b n h w d -> b n w h d")
            return query @ down.mT, rearrange(turned @ across.mT, "b n w h k -> b n h w k")
        rows = torch.einsum("bnhwd,hkd->bnhwk", query, down)
        columns = torch.einsum("bnhwd,wkd->bnhwk", query, across)
        return rows.contiguous(), columns.contiguous()  # else their sum, which is far larger, would be copied


def distances(table: Float[Tensor, "l d"], size: int) -> Float[Tensor, "q k d"]:
    """The table's row for each pair (query, key) on an axis; a table of another length is stretched linearly."""
    if len(table) != 2 * size - 1:
        stretched = F.interpolate(rearrange(table, "l d -> 1 d l"), size=2 * size - 1, mode="linear")
        table = rearrange(stretched, "1 d l -> l d")
    place = torch.arange(size, device=table.device)
    return table[place[:, None] - place[None, :] + size - 1]


class Attention(nn.Module):
    """Multi-head self-attention of a token map with decomposed relative positions."""

    def __init__(self, qkv: nn.Module, relative: nn.Module, output: nn.Module, *, heads: int):
        super().__init__()
        self.qkv, self.relative, self.output = qkv, relative, output
        self.heads = heads

    def forward(self, x: Tokens) -> Tokens:
        query, key, value = rearrange(self.qkv(x), "b h w (three n d) -> three b n h w d", three=3, n=self.heads)
        seen = attend_with_bias(query, key, value, *self.relative(query))
        return self.output(rearrange(seen, "b n h w d -> b h w (n d)"))


def attend_with_bias(
    query: Float[Tensor, "b n h w d"],
    key: Float[Tensor, "b n h w d"],
    value: Float[Tensor, "b n h w d"],
    rows: Float[Tensor, "b n h w h"],
    columns: Float[Tensor, "b n h w w"],
) -> Float[Tensor, "b n h w d"]:
    """softmax(q k / sqrt d + rows + columns) v, a few heads at a time.

    The bias of all heads of a 1024-pixel look would take 805 MB. An exported graph keeps the heads together, because
    its runtime fuses the addition and a loop would only hide that.
    """
    heads = query.shape[1]
    each = query.shape[0] * (query.shape[2] * query.shape[3]) ** 2
    together = heads if torch.compiler.is_exporting() else max(1, BIAS_AT_ONCE // each)
    pieces = zip(*(x.split(together, dim=1) for x in (query, key, value, rows, columns)), strict=True)
    seen = [attend_to_grid(*piece) for piece in pieces]
    return seen[0] if len(seen) == 1 else torch.cat(seen, dim=1)


def attend_to_grid(
    query: Float[Tensor, "b n h w d"],
    key: Float[Tensor, "b n h w d"],
    value: Float[Tensor, "b n h w d"],
    rows: Float[Tensor, "b n h w h"],
    columns: Float[Tensor, "b n h w w"],
) -> Float[Tensor, "b n h w d"]:
    """`attend_with_bias` for the heads at hand."""
    bias = rearrange(rows.unsqueeze(-1) + columns.unsqueeze(-2), "b n h w i j -> b n (h w) (i j)")
    q, k, v = (rearrange(x, "b n h w d -> b n (h w) d") for x in (query, key, value))
    seen = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    return rearrange(seen, "b n (h w) d -> b n h w d", h=query.shape[2])


def cut_windows(x: Tokens, window: int) -> Float[Tensor, "bn window window c"]:
    """Square windows, row by row; zeros are added at the bottom and right where the grid is no multiple."""
    height, width = x.shape[1:3]
    padded = F.pad(x, (0, 0, 0, -width % window, 0, -height % window))
    return rearrange(padded, "b (i p) (j q) c -> (b i j) p q c", p=window, q=window)


def join_windows(windows: Float[Tensor, "bn window window c"], height: int, width: int) -> Tokens:
    """Undoes `cut_windows` for a grid of (height, width)."""
    window = windows.shape[1]
    rows, columns = -(-height // window), -(-width // window)
    whole = rearrange(windows, "(b i j) p q c -> b (i p) (j q) c", i=rows, j=columns)
    return whole[:, :height, :width]


def through_windows(see: Callable[[Tensor], Tensor], x: Tokens, window: int | None) -> Tokens:
    """`see` inside each window, or over the whole grid where there is no window."""
    if window is None:
        return see(x)
    return join_windows(see(cut_windows(x, window)), *x.shape[1:3])


class Attend(nn.Module):
    """The attention branch as SAM has it: norm first and windows second, so that the padded cells are zero."""

    def __init__(
        self, norm: nn.Module, attention: nn.Module, *, window: int | None = None, after: nn.Module | None = None
    ):
        super().__init__()
        self.norm, self.attention = norm, attention
        self.after = after or nn.Identity()
        self.window = window

    def forward(self, x: Tokens) -> Tokens:
        return self.after(through_windows(self.attention, self.norm(x), self.window))


class AttendWindowsFirst(nn.Module):
    """The attention branch of Medical SAM Adapter: windows first, so that the padded cells carry the norm's bias."""

    def __init__(
        self, norm: nn.Module, attention: nn.Module, *, window: int | None = None, after: nn.Module | None = None
    ):
        super().__init__()
        self.norm, self.attention = norm, attention
        self.after = after or nn.Identity()
        self.window = window

    def forward(self, x: Tokens) -> Tokens:
        return through_windows(self.inside, x, self.window)

    def inside(self, x: Tokens) -> Tokens:
        """What happens in one window."""
        return self.after(self.attention(self.norm(x)))


class Transform(nn.Module):
    """The MLP branch; `beside` is a second branch on the same normalised tokens, as the adapter of SAM-Med2D."""

    def __init__(self, norm: nn.Module, mlp: nn.Module, *, beside: nn.Module | None = None):
        super().__init__()
        self.norm, self.mlp, self.beside = norm, mlp, beside

    def forward(self, x: Tokens) -> Tokens:
        y = self.norm(x)
        return self.mlp(y) if self.beside is None else self.mlp(y) + self.beside(y)


class Mlp(nn.Module):
    """Two linear layers with a GELU between."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.widen = nn.Linear(width, hidden)
        self.narrow = nn.Linear(hidden, width)

    def forward(self, x: Float[Tensor, "*b c"]) -> Float[Tensor, "*b c"]:
        return self.narrow(F.gelu(self.widen(x)))


class Block(nn.Module):
    """Two residual branches, each handed in."""

    def __init__(self, attend: nn.Module, transform: nn.Module):
        super().__init__()
        self.attend, self.transform = attend, transform

    def forward(self, x: Tokens) -> Tokens:
        x = x + self.attend(x)
        return x + self.transform(x)


class ImageEncoder(nn.Module):
    """Patches, positions, blocks, and a neck of convolutions; images of any size that is a multiple of the patch."""

    def __init__(
        self,
        patches: nn.Module,
        position: Float[Tensor, "1 h w c"] | None,
        blocks: Iterable[nn.Module],
        neck: nn.Module,
        *,
        resize: Callable[[Tensor, int, int], Tensor] | None = None,
    ):
        super().__init__()
        self.patches = patches
        self.position = None if position is None else nn.Parameter(position)
        self.resize = resize or resize_positions
        self.blocks = nn.ModuleList(blocks)
        self.neck = neck

    def forward(self, pixels: Float[Tensor, "b 3 height width"]) -> Float[Tensor, "b d h w"]:
        return self.neck(rearrange(self.tokens(pixels), "b h w c -> b c h w"))

    def tokens(self, pixels: Float[Tensor, "b 3 height width"]) -> Tokens:
        """The tokens before the neck, which classifiers pool."""
        x = patch_tokens(self.patches, pixels)
        if self.position is not None:
            x = x + self.resize(self.position, *x.shape[1:3])
        for block in self.blocks:
            x = block(x)
        return x


def patch_tokens(patches: nn.Module, pixels: Float[Tensor, "b 3 height width"]) -> Tokens:
    """One token for each patch.

    Patches do not overlap, so an exported convolution is a linear map of each: OpenVINO would otherwise carry the order
    in which a convolution leaves its channels through all blocks, and undo it in each.
    """
    if not torch.compiler.is_exporting() or type(patches) is not nn.Conv2d:
        return rearrange(patches(pixels), "b c h w -> b h w c")
    cells = rearrange(pixels, "b c (h p) (w q) -> b h w (c p q)", p=patches.stride[0], q=patches.stride[1])
    return F.linear(cells, rearrange(patches.weight, "d c p q -> d (c p q)"), patches.bias)


def resize_positions(position: Float[Tensor, "1 h w c"], height: int, width: int) -> Float[Tensor, "1 height width c"]:
    """The position table for another grid, bilinear as SAM-Med2D and SAMed resize it; its own grid is untouched."""
    if position.shape[1:3] == (height, width):
        return position
    channels_first = rearrange(position, "1 h w c -> 1 c h w")
    resized = F.interpolate(channels_first, size=(height, width), mode="bilinear", align_corners=False)
    return rearrange(resized, "1 c h w -> 1 h w c")
