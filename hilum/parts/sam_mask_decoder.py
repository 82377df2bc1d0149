"""SAM's mask decoder: tokens and image attend to each other, and every mask token paints one mask.

Kirillov et al. 2023, appendix A and figure 14. All masks are returned; choosing among them is the caller's. The tokens
are handed in, so that a system may have any number of masks (SAMed), or a set of tokens per class (AutoSAM).
"""

import math
from collections.abc import Callable, Iterable
from itertools import pairwise

import torch
import torch.nn.functional as F
from einops import einsum, rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

Queries = Float[Tensor, "n t c"]
Keys = Float[Tensor, "n l c"]
Answer = Callable[[Tensor, slice], tuple[Tensor, Tensor]]  # a prompt's tokens, the masks wanted -> masks, overlaps


class CrossAttention(nn.Module):
    """Multi-head attention through a narrower inner width.

    Where a few tokens meet a whole image, the image is not projected: the projections are moved to the tokens, which is
    the same by associativity, (W x) k = x (W' k), and nearly halves the decoder's work for one prompt. A projection
    that something is wrapped around (LoRA) is called as it is, and so is an exported one, for any number of tokens.
    """

    def __init__(self, width: int, inner: int, *, heads: int):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, inner) for _ in range(3))
        self.output = nn.Linear(inner, width)
        self.heads = heads

    def forward(self, query: Queries, key: Keys, value: Keys) -> Queries:
        if not torch.compiler.is_exporting() and self.plain():
            asking, asked, inner = query.shape[1], key.shape[1], self.output.in_features
            if self.heads * asking <= inner < asked:
                return self.few_to_many(query, key, value)
            if self.heads * asked <= inner < asking:
                return self.many_to_few(query, key, value)
        return self.asked_of(key, value)(query)

    def asked_of(self, key: Keys, value: Keys) -> Callable[[Queries], Queries]:
        """The attention of any queries to these keys, which are projected now."""
        k, v = self.split(self.key(key)), self.split(self.value(value))

        def attend(query: Queries) -> Queries:
            seen = F.scaled_dot_product_attention(self.split(self.query(query)), k, v)
            return self.output(rearrange(seen, "n heads t d -> n t (heads d)"))

        return attend

    def asked_by(self, query: Queries) -> Callable[[Keys, Keys], Queries]:
        """The attention of these many queries, which are projected now, to any few keys."""
        q = self.split(self.query(query)) / math.sqrt(self.output.in_features // self.heads)
        return lambda key, value: self.spread(self.split(self.key(key)) @ q.mT, value)

    def few_to_many(self, query: Queries, key: Keys, value: Keys) -> Queries:
        """The value's bias passes whole, since the attention to a query's keys sums to one."""
        logits = self.logits(self.query(query), self.key, key)
        seen = rearrange(logits.softmax(dim=-1), "n h t l -> n (h t) l") @ value
        seen = rearrange(seen, "n (h t) c -> n h t c", h=self.heads)
        narrow = einsum(seen, self.by_head(self.value), "n h t c, h d c -> n h t d")
        return self.output(rearrange(narrow, "n h t d -> n t (h d)") + self.value.bias)

    def many_to_few(self, query: Queries, key: Keys, value: Keys) -> Queries:
        """The keys are the shorter axis here."""
        return self.spread(self.logits(self.key(key), self.query, query), value)

    def spread(self, logits: Float[Tensor, "n heads t l"], value: Float[Tensor, "n t c"]) -> Float[Tensor, "n l c"]:
        """Each of l queries takes from t values; the softmax goes over the values."""
        told = rearrange(self.output.weight, "c (h d) -> h c d", h=self.heads)
        told = einsum(self.split(self.value(value)), told, "n h t d, h c d -> n h t c")
        seen, told = rearrange(logits.softmax(dim=2), "n h t l -> n l (h t)"), rearrange(told, "n h t c -> n (h t) c")
        return torch.baddbmm(self.output.bias, seen, told)

    def logits(
        self, tokens: Float[Tensor, "n t inner"], projection: nn.Linear, image: Keys
    ) -> Float[Tensor, "n heads t l"]:
        """Projected tokens against cells that `projection` would project; its bias is a number for each token."""
        few = self.split(tokens) / math.sqrt(self.output.in_features // self.heads)
        wide = einsum(few, self.by_head(projection), "n h t d, h d c -> n h t c")
        shift = few @ rearrange(projection.bias, "(h d) -> h d 1", h=self.heads)
        wide, shift = (rearrange(each, "n h t c -> n c (h t)") for each in (wide, shift))
        return rearrange(torch.baddbmm(shift, image, wide), "n l (h t) -> n h t l", h=self.heads)  # cells first: faster

    def plain(self) -> bool:
        """Whether all projections are just that."""
        return all(type(each) is nn.Linear for each in (self.query, self.key, self.value, self.output))

    def by_head(self, projection: nn.Linear) -> Float[Tensor, "heads d c"]:
        """A projection's matrix."""
        return rearrange(projection.weight, "(heads d) c -> heads d c", heads=self.heads)

    def split(self, x: Float[Tensor, "n t inner"]) -> Float[Tensor, "n heads t d"]:
        """Each head's share."""
        return rearrange(x, "n t (heads d) -> n heads t d", heads=self.heads)


class ReluMlp(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, *widths: int):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Float[Tensor, "*b i"]) -> Float[Tensor, "*b o"]:
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


class SelfReplace(nn.Module):
    """Self-attention of SAM's first layer: no positional term, and its output replaces the queries."""

    def __init__(self, attention: nn.Module):
        super().__init__()
        self.attention = attention

    def forward(self, queries: Queries, place: Queries) -> Queries:
        return self.attention(queries, queries, queries)


class SelfResidual(nn.Module):
    """Self-attention of the later layers: positions in query and key, and a residual."""

    def __init__(self, attention: nn.Module):
        super().__init__()
        self.attention = attention

    def forward(self, queries: Queries, place: Queries) -> Queries:
        placed = queries + place
        return queries + self.attention(placed, placed, queries)


class TwoWayLayer(nn.Module):
    """Tokens to tokens, tokens to image, MLP, image to tokens."""

    def __init__(
        self, self_attend: nn.Module, to_image: nn.Module, mlp: nn.Module, to_tokens: nn.Module, *, width: int
    ):
        super().__init__()
        self.self_attend, self.to_image, self.mlp, self.to_tokens = self_attend, to_image, mlp, to_tokens
        self.self_norm, self.image_norm, self.mlp_norm, self.key_norm = (nn.LayerNorm(width) for _ in range(4))

    def forward(self, queries: Queries, keys: Keys, query_place: Queries, key_place: Keys) -> tuple[Queries, Keys]:
        placed = keys + key_place
        return self.exchange(
            queries,
            keys,
            query_place,
            to_image=lambda asking: self.to_image(asking, placed, keys),
            to_tokens=lambda asked, told: self.to_tokens(placed, asked, told),
        )

    def exchange(
        self,
        queries: Queries,
        keys: Keys,
        query_place: Queries,
        *,
        to_image: Callable[[Queries], Queries],
        to_tokens: Callable[[Queries, Queries], Keys],
    ) -> tuple[Queries, Keys]:
        """The layer with its two attentions to and from the image handed in."""
        queries = self.self_norm(self.self_attend(queries, query_place))
        queries = self.image_norm(queries + to_image(queries + query_place))
        queries = self.mlp_norm(queries + self.mlp(queries))
        return queries, self.key_norm(keys + to_tokens(queries + query_place, queries))

    def prepared(self, keys: Keys, key_place: Keys) -> Callable[[Queries, Queries], tuple[Queries, Keys]]:
        """The layer for any queries at these keys, which are projected now."""
        placed, seen, shown = keys + key_place, self.to_image, self.to_tokens
        assert isinstance(seen, CrossAttention)
        assert isinstance(shown, CrossAttention)
        to_image, to_tokens = seen.asked_of(placed, keys), shown.asked_by(placed)
        return lambda queries, place: self.exchange(queries, keys, place, to_image=to_image, to_tokens=to_tokens)

    def preparable(self) -> bool:
        """Whether both attentions between tokens and image are SAM's own."""
        return all(type(each) is CrossAttention and each.plain() for each in (self.to_image, self.to_tokens))


class TwoWayTransformer(nn.Module):
    """The layers, and one last look of the tokens at the image."""

    def __init__(self, layers: Iterable[nn.Module], final_attention: nn.Module, *, width: int):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.final_attention = final_attention
        self.final_norm = nn.LayerNorm(width)

    def forward(self, tokens: Queries, keys: Keys, key_place: Keys) -> tuple[Queries, Keys]:
        queries, keys = self.layers[0](tokens, keys, tokens, key_place)  # the tokens are their own positions
        return self.further(queries, keys, tokens, key_place)

    def further(
        self, queries: Queries, keys: Keys, tokens: Queries, key_place: Keys, wanted: int | None = None
    ) -> tuple[Queries, Keys]:
        """All after the first layer; the last attention only for the first tokens, as many as are wanted."""
        for layer in self.layers[1:]:
            queries, keys = layer(queries, keys, tokens, key_place)
        queries, tokens = queries[:, :wanted], tokens[:, :wanted]
        queries = queries + self.final_attention(queries + tokens, keys + key_place, keys)
        return self.final_norm(queries), keys

    def prepared(self, keys: Keys, key_place: Keys) -> Callable[[Queries, int], tuple[Queries, Keys]]:
        """The transformer for any tokens at this image, the first of them wanted; it sees now what it can."""
        layer = self.layers[0]
        assert isinstance(layer, TwoWayLayer)
        first = layer.prepared(keys, key_place)

        def attend(tokens: Queries, wanted: int) -> tuple[Queries, Keys]:
            return self.further(*first(tokens, tokens), tokens, key_place, wanted)

        return attend

    def preparable(self) -> bool:
        """Whether the first layer is SAM's own."""
        first = self.layers[0]
        return type(first) is TwoWayLayer and first.preparable()


class OutputTokens(nn.Module):
    """One token for the predicted quality and one per mask, in front of the prompt's tokens."""

    def __init__(self, masks: int, width: int):
        super().__init__()
        self.quality = nn.Parameter(torch.randn(1, width))
        self.masks = nn.Parameter(torch.randn(masks, width))

    def forward(self, prompt: Queries) -> Queries:
        own = torch.cat([self.quality, self.masks])
        return torch.cat([repeat(own, "t c -> n t c", n=prompt.shape[0]), prompt], dim=1)


class Doubling(nn.Module):
    """A transposed convolution of 2 × 2 with stride 2. Nothing overlaps, so it is one linear map from a cell to four.

    The cells stay apart, as two axes more, until the masks are painted: that is three times as fast as the convolution.
    """

    def __init__(self, width: int, narrower: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, narrower, 2, 2))
        self.bias = nn.Parameter(torch.zeros(narrower))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, x: Float[Tensor, "*cells c"]) -> Float[Tensor, "*cells 2 2 d"]:
        four = F.linear(x, rearrange(self.weight, "c d p q -> (p q d) c"), self.bias.repeat(4))
        return rearrange(four, "... (p q d) -> ... p q d", p=2, q=2)


def upscaling(width: int) -> nn.Sequential:
    """Twice the size, twice; an eighth of the channels remains."""
    quarter = width // 4
    doublings = Doubling(width, quarter), Doubling(quarter, quarter // 2)
    return nn.Sequential(doublings[0], nn.LayerNorm(quarter, eps=1e-6), nn.GELU(), doublings[1], nn.GELU())


class MaskDecoder(nn.Module):
    """Mask logits at four times the embedding's size, and a predicted overlap with the truth for each of them."""

    def __init__(
        self,
        tokens: nn.Module,
        transformer: nn.Module,
        upscale: nn.Module,
        mask_heads: Iterable[nn.Module],
        quality_head: nn.Module,
    ):
        super().__init__()
        self.tokens, self.transformer, self.upscaling = tokens, transformer, upscale
        self.mask_heads = nn.ModuleList(mask_heads)
        self.quality_head = quality_head

    def forward(
        self,
        embedding: Float[Tensor, "b c h w"],
        place: Float[Tensor, "1 c h w"],
        sparse: Float[Tensor, "n t c"],
        dense: Float[Tensor, "n c h w"],
        *,
        only: slice = slice(None),
    ) -> tuple[Float[Tensor, "n some height width"], Float[Tensor, "n m"]]:
        """Prompts are image-major: n / b of them for each image, in the images' order; only some masks need be painted.

        The predicted overlaps are those of all masks.
        """
        tokens = self.tokens(sparse)
        keys, key_place = image_side(embedding, place, dense, prompts=tokens.shape[0])
        tokens, keys = self.transformer(tokens, keys, key_place)
        return self.drawn(tokens, keys, embedding.shape[-2], only)

    def prepared(
        self, embedding: Float[Tensor, "1 c h w"], place: Float[Tensor, "1 c h w"], dense: Float[Tensor, "1 c h w"]
    ) -> Answer:
        """The decoder for any one prompt of one image, whose side is computed now as far as no prompt is needed."""
        transformer = self.transformer
        assert isinstance(transformer, TwoWayTransformer)
        attend = transformer.prepared(*image_side(embedding, place, dense, prompts=1))

        def answer(sparse: Float[Tensor, "1 t c"], only: slice) -> tuple[Tensor, Tensor]:
            last = range(len(self.mask_heads))[only][-1]
            tokens, cells = attend(self.tokens(sparse), 2 + last)  # the quality's, and the masks' up to the last one
            return self.drawn(tokens, cells, embedding.shape[-2], only)

        return answer

    def preparable(self) -> bool:
        """Whether the first layer is SAM's own."""
        transformer = self.transformer
        return type(transformer) is TwoWayTransformer and transformer.preparable()

    def drawn(
        self, tokens: Queries, keys: Keys, rows: int, only: slice
    ) -> tuple[Float[Tensor, "n some height width"], Float[Tensor, "n m"]]:
        """The masks wanted of an embedding with this many rows, and the overlaps of all."""
        heads = list(enumerate(self.mask_heads, 1))[only]
        paint = torch.stack([head(tokens[:, token]) for token, head in heads], dim=1)
        masks = einsum(paint, self.upscaling(keys), "n m c, n l p q r s c -> n m l p q r s")
        placed = rearrange(masks, "n m (h w) p q r s -> n m (h p r) (w q s)", h=rows)
        return placed, self.quality_head(tokens[:, 0])


def image_side(
    embedding: Float[Tensor, "b c h w"],
    place: Float[Tensor, "1 c h w"],
    dense: Float[Tensor, "n c h w"],
    *,
    prompts: int,
) -> tuple[Float[Tensor, "n l c"], Float[Tensor, "1 l c"]]:
    """The image's cells for each prompt, and their positions."""
    image = per_prompt(embedding, prompts) + per_prompt(dense, prompts)
    keys, key_place = (rearrange(x, "n c h w -> n (h w) c").contiguous() for x in (image, place))
    return keys, key_place


def per_prompt(maps: Float[Tensor, "b c h w"], prompts: int) -> Float[Tensor, "n c h w"]:
    """Each map as often as it has prompts; one prompt each needs no copy."""
    images = maps.shape[0]  # not len(), which would make the number of prompts a constant of an exported graph
    if prompts % images:
        raise ValueError(f"{prompts} prompts cannot be shared evenly by {images} images: give each image as many")
    return repeat(maps, "b c h w -> (b p) c h w", p=prompts // images)
