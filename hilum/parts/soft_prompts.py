"""Two towers and a fusion that take an image, a text, or both: what is missing is replaced by learned tokens that are
picked from a pool for what is there (Chen et al. 2023, PTUnifier, sec. 3.2)."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from hilum.parts.clip_vision import ClipVisionSizes, clip_vision, placed, transformed
from hilum.parts.co_attention import Fused, Fusion, FusionSizes
from hilum.parts.masked_autoencoder import picked
from hilum.parts.masked_patch_head import PatchHead, PatchHeadSizes
from hilum.parts.tokens import Tokens
from hilum.parts.two_tower import unit
from hilum.values.errors import MissingExtra


@dataclass(frozen=True, slots=True, kw_only=True)
class RobertaSizes:
    """By default those of RoBERTa-base (Liu et al. 2019), with its special ids."""

    vocabulary: int = 50265
    layers: int = 12
    heads: int = 12
    inner: int = 3072
    positions: int = 514
    dropout: float = 0.1
    eps: float = 1e-5
    start: int = 0
    pad: int = 1
    end: int = 2
    cover: int = 50264  # <mask>


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSizes:
    """Rows of the two pools, and how many are picked in the place of an image and of a text."""

    vision: int = 2048
    language: int = 2048
    vision_picked: int = 49
    language_picked: int = 32


def roberta(sizes: RobertaSizes, width: int) -> nn.Module:
    """transformers.RobertaModel without its pooler."""
    try:
        from transformers import RobertaConfig, RobertaModel
    except ImportError as error:
        raise MissingExtra("RoBERTa", "transformers", "systems") from error
    config = RobertaConfig(
        vocab_size=sizes.vocabulary,
        hidden_size=width,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        intermediate_size=sizes.inner,
        max_position_embeddings=sizes.positions,
        type_vocab_size=1,
        layer_norm_eps=sizes.eps,
        pad_token_id=sizes.pad,
        hidden_dropout_prob=sizes.dropout,
        attention_probs_dropout_prob=sizes.dropout,
    )
    network = RobertaModel(config, add_pooling_layer=False)
    network.set_attn_implementation("eager")
    return network


class PairHead(nn.Module):
    """A pooled pair to its place in the space in which images and texts are compared."""

    def __init__(self, dim: int):
        super().__init__()
        self.ln, self.proj = nn.LayerNorm(2 * dim), nn.Linear(2 * dim, dim, bias=False)

    def forward(self, pooled: Float[Tensor, "b 2*d"]) -> Float[Tensor, "b d"]:
        return unit(self.proj(self.ln(pooled)))


class PromptedPair(nn.Module):
    """Towers, pools, fusion, and the heads of pre-training."""

    def __init__(
        self,
        vision: ClipVisionSizes,
        text: RobertaSizes,
        fusion: FusionSizes,
        pools: PoolSizes,
        patches: PatchHeadSizes | None,
    ):
        super().__init__()
        self.ends, self.pools = (text.start, text.end), pools
        width, dim = vision.width, fusion.dim
        self.vision, self.text = clip_vision(vision), roberta(text, width)
        self.vision_proj, self.text_proj = nn.Linear(width, dim), nn.Linear(width, dim)
        self.fusion = Fusion(fusion)
        self.vision_pool, self.text_pool = (
            nn.Parameter(torch.empty(rows, width).normal_(std=0.02)) for rows in (pools.vision, pools.language)
        )
        self.word_head = nn.Sequential(
            OrderedDict(dense=nn.Linear(dim, dim), act=nn.GELU(), norm=nn.LayerNorm(dim, fusion.eps))
        )
        self.word_scores = nn.Linear(dim, text.vocabulary)
        self.match_head = nn.Linear(2 * dim, 2)
        self.image_place, self.text_place = PairHead(dim), PairHead(dim)
        self.hidden = patches
        self.patch_head = None
        if patches is not None:
            grid, pixels = vision.image_size // vision.patch, 3 * vision.patch**2
            self.patch_head = PatchHead(patches, given=dim, grid=grid, pixels=pixels)

    def forward(self, pixels: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b n d"]:
        """Images as tokens of the fusion: the part that asks for no text."""
        return self.image_tokens(placed(self.vision, pixels))

    def image_tokens(self, tokens: Float[Tensor, "b n width"]) -> Float[Tensor, "b n d"]:
        """Class token and others, with their positions, through the tower."""
        return self.vision_proj(transformed(self.vision, tokens))

    def embedded(self, ids: Int[Tensor, "b t"]) -> Float[Tensor, "b t width"]:
        """Words with positions, which begin behind the id of padding."""
        return self.text.embeddings(input_ids=ids)  # type: ignore[union-attr, operator]

    def text_tokens(self, embedded: Float[Tensor, "b t width"], there: Bool[Tensor, "b t"]) -> Float[Tensor, "b t d"]:
        """Embedded words through the tower."""
        mask = torch.zeros(there.shape, device=there.device).masked_fill(~there, torch.finfo(torch.float32).min)
        return self.text_proj(self.text.encoder(embedded, attention_mask=mask[:, None, None]).last_hidden_state)  # type: ignore[union-attr, operator]

    def paired(self, image: Float[Tensor, "b n d"], words: Tokens) -> Fused:
        """Image tokens beside words."""
        return self.fusion(self.text_tokens(self.embedded(words.ids), words.mask), image, words.mask)

    def text_alone(self, words: Tokens) -> Fused:
        """Words beside what the pool of vision has for them."""
        embedded = self.embedded(words.ids)
        prompts = self.vision_pool[best(text_query(embedded, words.mask), self.vision_pool, self.pools.vision_picked)]
        first = (self.vision.class_embedding + self.vision.positional_embedding[:1]).expand(len(prompts), 1, -1)  # type: ignore[operator, index]
        image = self.image_tokens(torch.cat([first, prompts], dim=1))
        return self.fusion(self.text_tokens(embedded, words.mask), image, words.mask)

    def image_alone(self, image: Float[Tensor, "b n d"], query: Float[Tensor, "b width"]) -> Fused:
        """Image tokens beside what the pool of language has for them; start and end stand around it, each as if it
        were a text's first id."""
        prompts = self.text_pool[best(query, self.text_pool, self.pools.language_picked)]
        ids = torch.tensor(self.ends, device=query.device)[:, None]
        start, end = self.embedded(ids)[:, None].expand(-1, len(prompts), -1, -1)
        text = torch.cat([start, prompts, end], dim=1)
        there = torch.ones(text.shape[:2], dtype=torch.bool, device=text.device)
        return self.fusion(self.text_tokens(text, there), image, there)

    def image_query(self, pixels: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b width"]:
        """By which an image asks the pool of language: the mean of its patches, with positions."""
        return placed(self.vision, pixels)[:, 1:].mean(dim=1)

    def guessed_words(self, text: Float[Tensor, "b t d"]) -> Float[Tensor, "b t vocabulary"]:
        """Scores of all words at each place."""
        return self.word_scores(self.word_head(text))

    def guessed_patches(
        self,
        pixels: Float[Tensor, "b 3 s s"],
        words: Tokens,
        *,
        kept: Int[Tensor, "b k"],
        restore: Int[Tensor, "b n"],
    ) -> Float[Tensor, "b n pixels"]:
        """All patches from the few that are kept, beside the whole text; `restore` undoes their shuffling."""
        tokens = placed(self.vision, pixels)
        image = torch.cat([tokens[:, :1], picked(tokens[:, 1:], kept)], dim=1)
        text = self.text_tokens(self.embedded(words.ids), words.mask)
        streams = self.fusion.streams(text, self.image_tokens(image), words.mask)
        return self.patch_head(streams[self.hidden.before][1], restore)  # type: ignore[misc, union-attr]


def text_query(embedded: Float[Tensor, "b t width"], there: Bool[Tensor, "b t"]) -> Float[Tensor, "b width"]:
    """By which a text asks the pool of vision: the mean of its embedded words, without the start."""
    weight = there[:, 1:, None].float()
    return (embedded[:, 1:] * weight).sum(1) / (weight.sum(1) + 1e-8)


def best(query: Float[Tensor, "b width"], pool: Float[Tensor, "rows width"], count: int) -> Int[Tensor, "b count"]:
    """The rows whose products with the query are largest, largest first."""
    return (query @ pool.T).topk(count, dim=-1).indices
