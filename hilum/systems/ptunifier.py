"""PTUnifier — Chen, Diao, Wang, Li, Wan, Towards unifying medical vision-and-language pre-training via soft prompts
(ICCV 2023).

CLIP's ViT-B/16 and BioMed-RoBERTa, six layers of co-attention above them, and two pools of learned tokens: where the
text is missing, 32 rows of one pool that suit the image stand in its place; where the image is missing, 49 rows of the
other. So one network takes images, texts, and pairs. It learns to guess hidden words, to tell true pairs from false
ones, and to bring an image alone and its text alone together. Retrieval is by the score that a pair is a true one, and
labels are scored so here. Public: code (no licence file); weights on request, with a PhysioNet licence.
Deviations: as released, the contrastive loss is never run and the pools are never taught; here both are, as the paper
says. False pairs come from the batch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from PIL import Image as Pillow
from torch import Tensor, nn

from hilum.capabilities.look import Seen, tensors
from hilum.capabilities.match import Matched
from hilum.capabilities.system import System
from hilum.capabilities.trainable import Captioned
from hilum.objectives.contrastive import info_nce
from hilum.objectives.masked import Masking, by_own_range, masked_error, patchified
from hilum.objectives.masked_words import HiddenWords, hidden, spoken, word_error
from hilum.objectives.terms import Terms
from hilum.parts import tokens
from hilum.parts.clip_vision import ClipVisionSizes
from hilum.parts.co_attention import FusionSizes
from hilum.parts.colour_frame import as_colour
from hilum.parts.imagenet_frame import OPENAI, Picture, evaluated, normalised, opened_as_rgb, random_part
from hilum.parts.masked_patch_head import PatchHeadSizes
from hilum.parts.soft_prompts import PoolSizes, PromptedPair, RobertaSizes
from hilum.parts.tokens import Reading, Tokens
from hilum.values.image import Image
from hilum.values.prompts import Labels
from hilum.weights.rename import Ignore, Rule, Table

TEMPLATES = ("{}",)  # captions and findings are compared as they are
TEMPERATURE = 0.1  # of the contrastive loss, fixed (published configuration)
WEIGHTS = {"words": 1.0, "match": 0.5, "contrast": 0.1, "patches": 1.0}  # of the terms (ibid.; patches: our reading)
CUT = (0.9, 1.0)  # share of a picture that training sees (ibid.)
TOGETHER = 16  # texts that are fused with an image at once
SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
UNUSED = Ignore(
    r"vision_encoder\.(token_embedding\.weight|positional_embedding|ln_final\.(weight|bias))"
    r"|language_encoder\.pooler\.dense\.(weight|bias)"
)  # of the towers' own files, never asked
VIT = ClipVisionSizes(image_size=288, layers=11, embed=None)  # METER leaves the last of CLIP's layers out
ROBERTA, FUSION, POOLS = RobertaSizes(), FusionSizes(), PoolSizes()
READING = Reading("roberta", 48)


@dataclass(frozen=True, slots=True, kw_only=True)
class PTUnifierConfig:
    """Sizes of the published pre-training; `patches` adds the masked image modelling that the code has and the
    published run leaves out."""

    vision: ClipVisionSizes = VIT
    text: RobertaSizes = ROBERTA
    fusion: FusionSizes = FUSION
    pools: PoolSizes = POOLS
    patches: PatchHeadSizes | None = None
    reading: Reading = READING


PAPER = PTUnifierConfig()
TINY = PTUnifierConfig(
    vision=ClipVisionSizes(image_size=32, patch=16, width=64, layers=1, embed=None),
    text=RobertaSizes(
        vocabulary=200, layers=1, heads=2, inner=64, positions=26, start=198, pad=0, end=199, cover=1, dropout=0.0
    ),
    fusion=FusionSizes(dim=32, layers=2, heads=2, inner=64, dropout=0.0),
    pools=PoolSizes(vision=12, language=14, vision_picked=4, language_picked=3),
    patches=PatchHeadSizes(width=16, layers=1, heads=2, before=1),
    reading=Reading("hashed", 24, size=200),
)


@dataclass(frozen=True, slots=True, eq=False)
class PromptedBatch:
    """Images and their words, some of them hidden; `shown`: which image stands beside each text when pairs are told
    from false ones, `true`: whether it is the text's own; `noise` decides which patches are hidden."""

    pixels: Float[Tensor, "b 3 s s"]
    words: Tokens
    hidden: HiddenWords
    shown: Int[Tensor, " b"]
    true: Int[Tensor, " b"]
    noise: Float[Tensor, "b n"]


class PTUnifier(System):
    """Images, texts, and pairs of both."""

    configs: ClassVar[dict[str, PTUnifierConfig]] = {"pretrained": PAPER}
    table = Table(
        UNUSED,
        Rule(r"^vision_encoder\.visual\.", "vision."),
        Rule(r"^language_encoder\.", "text."),
        Rule(r"^multi_modal_vision_proj\.", "vision_proj."),
        Rule(r"^multi_modal_language_proj\.", "text_proj."),
        Rule(r"^modality_type_embeddings\.", "fusion.kinds."),
        Rule(r"^multi_modal_vision_pooler\.dense\.", "fusion.image_pooler."),
        Rule(r"^multi_modal_language_pooler\.dense\.", "fusion.text_pooler."),
        Rule(r"^multi_modal_vision_layers\.(\d+)\.", r"fusion.image_layers.\1."),
        Rule(r"^multi_modal_language_layers\.(\d+)\.", r"fusion.text_layers.\1."),
        Rule(r"^(fusion\.\w+\.\d+)\.attention\.self\.", r"\1.own."),
        Rule(r"^(fusion\.\w+\.\d+)\.attention\.output\.dense\.", r"\1.own.out."),
        Rule(r"^(fusion\.\w+\.\d+)\.attention\.output\.LayerNorm\.", r"\1.own.norm."),
        Rule(r"^(fusion\.\w+\.\d+)\.crossattention\.self\.", r"\1.other."),
        Rule(r"^(fusion\.\w+\.\d+)\.crossattention\.output\.dense\.", r"\1.other.out."),
        Rule(r"^(fusion\.\w+\.\d+)\.crossattention\.output\.LayerNorm\.", r"\1.other.norm."),
        Rule(r"^(fusion\.\w+\.\d+)\.intermediate\.dense\.", r"\1.widen."),
        Rule(r"^(fusion\.\w+\.\d+)\.output\.dense\.", r"\1.narrow."),
        Rule(r"^(fusion\.\w+\.\d+)\.output\.LayerNorm\.", r"\1.norm."),
        Rule(r"^pseudo_vision_token_pool$", "vision_pool"),
        Rule(r"^pseudo_language_token_pool$", "text_pool"),
        Rule(r"^mlm_head\.transform\.dense\.", "word_head.dense."),
        Rule(r"^mlm_head\.transform\.LayerNorm\.", "word_head.norm."),
        Rule(r"^mlm_head\.decoder\.weight$", "word_scores.weight"),
        Rule(r"^mlm_head\.bias$", "word_scores.bias"),
        Rule(r"^itm_head\.fc\.", "match_head."),
        Rule(r"^itc_head\.vision_(ln|proj)\.", r"image_place.\1."),
        Rule(r"^itc_head\.language_(ln|proj)\.", r"text_place.\1."),
        Rule(r"^mim_head\.", "patch_head."),
    )
    spelling = Table(UNUSED)
    together: ClassVar[int] = 1
    network: PromptedPair

    @classmethod
    def build(cls, config: PTUnifierConfig) -> PromptedPair:
        return PromptedPair(config.vision, config.text, config.fusion, config.pools, config.patches)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        return cls.seeded(TINY, seed)

    def costly(self) -> tuple[nn.Module, tuple[int, ...]]:
        side = self.config.vision.image_size
        return self.network, (1, 3, side, side)

    def prepare(self, image: Image) -> Image:
        """Three channels of 8 bit."""
        return as_colour(image, "ptunifier")

    def see(self, plane: Image) -> Seen:
        """The tokens of one image before the fusion, and what it asks the pool of language by."""
        pixels = evaluated(plane.array, self.config.vision.image_size, share=1.0, statistics=OPENAI)
        with torch.inference_mode():
            query = self.network.image_query(pixels.to(self.device))
        return tensors(tokens=self.run(pixels)[0], query=query[0])

    @torch.inference_mode()
    def vector(self, seen: Seen) -> Float[np.ndarray, " dim"]:
        """The pooled pair of the image alone."""
        image, query = (seen[name].to(self.device)[None] for name in ("tokens", "query"))
        return self.network.image_alone(image, query).pooled[0].float().cpu().numpy()

    @torch.inference_mode()
    def worded(self, texts: Sequence[str]) -> Float[np.ndarray, "n dim"]:
        """The pooled pair of each text alone."""
        return self.network.text_alone(self.words(texts)).pooled.float().cpu().numpy()

    def words(self, texts: Sequence[str]) -> Tokens:
        """The texts' ids."""
        read = tokens.tokenizer(self.config.reading, lambda: self.file(tokens.PAIRS))
        return read(texts).to(self.device)

    @torch.inference_mode()
    def matched(self, seen: Sequence[Seen], labels: Labels) -> Matched:
        """The score that image and text are a true pair, and its softmax over the labels; of several texts the mean."""
        said = labels.said(TEMPLATES)
        flat = [text for each in said for text in each]
        image = seen[0]["tokens"].to(self.device)[None]
        parts = [self.truth(image, flat[at : at + TOGETHER]) for at in range(0, len(flat), TOGETHER)]
        score = torch.stack([each.mean() for each in torch.cat(parts).split([len(each) for each in said])])
        return Matched(score.cpu().numpy(), score.softmax(dim=-1).cpu().numpy(), said)

    def truth(self, image: Float[Tensor, "1 n d"], texts: Sequence[str]) -> Float[Tensor, " texts"]:
        """The logit that the image belongs to each text (published retrieval)."""
        fused = self.network.paired(image.expand(len(texts), -1, -1), self.words(texts))
        return self.network.match_head(fused.pooled)[:, 1]

    def pairs(self, samples: Sequence[Captioned], rng: np.random.Generator) -> PromptedBatch:
        """Pictures a little cut, one sentence of each text, half of the texts beside another's picture."""
        pixels = torch.cat([self.cut(self.prepare(each.image).array, rng) for each in samples]).to(self.device)
        words = self.words([sentence(each.text, rng) for each in samples])
        text, count = self.config.text, len(samples)
        hide = hidden(words.ids.cpu(), spoken(words.mask.cpu()), rng, cover=text.cover, vocabulary=text.vocabulary)
        true = rng.permutation(count) < (count // 2 if count > 1 else 1)
        other = (np.arange(count) + rng.integers(1, max(count, 2), count)) % count
        shown = torch.from_numpy(np.where(true, np.arange(count), other)).to(self.device)
        patches = (self.config.vision.image_size // self.config.vision.patch) ** 2
        noise = torch.from_numpy(rng.random((count, patches))).float().to(self.device)
        labels = torch.from_numpy(true).long().to(self.device)
        return PromptedBatch(pixels, words, hide.to(self.device), shown, labels, noise)

    def cut(self, picture: Picture, rng: np.random.Generator) -> Float[Tensor, "1 3 s s"]:
        """At least nine tenths of the picture, squeezed to a square."""
        opened, side = opened_as_rgb(picture), self.config.vision.image_size
        left, top, width, height = random_part(opened.size, rng, CUT)
        part = opened.crop((left, top, left + width, top + height))
        return normalised(part.resize((side, side), Pillow.Resampling.BICUBIC), OPENAI)

    def loss(self, batch: PromptedBatch) -> Terms:
        """Hidden words, true pairs, contrast, and where there is a head for them hidden patches."""
        network = self.network
        image = network(batch.pixels)
        read = network.paired(image, Tokens(batch.hidden.ids, batch.words.mask))
        parts = {
            "words": word_error(network.guessed_words(read.text), batch.words.ids, batch.hidden.asked),
            "match": F.cross_entropy(self.told(batch, image), batch.true),
            "contrast": info_nce(self.contrast(batch, image)),
        }
        if network.patch_head is not None:
            parts["patches"] = self.patches(batch)[1]
        return Terms({name: WEIGHTS[name] * part for name, part in parts.items()})

    def patches(self, batch: PromptedBatch) -> tuple[Float[Tensor, "b n pixels"], Float[Tensor, ""]]:
        """All patches guessed from those with the smallest noise, and the error on the hidden ones."""
        masking = Masking.by_noise(batch.noise, self.config.patches.ratio)
        kept, restore = masking.kept, masking.restore
        guess = self.network.guessed_patches(batch.pixels, batch.words, kept=kept, restore=restore)
        target = by_own_range(patchified(batch.pixels, self.config.vision.patch))
        return guess, masked_error(guess, target, masking.removed)

    def told(self, batch: PromptedBatch, image: Float[Tensor, "b n d"]) -> Float[Tensor, "b 2"]:
        """Each text beside the image that is shown: false or true."""
        return self.network.match_head(self.network.paired(image[batch.shown], batch.words).pooled)

    def contrast(self, batch: PromptedBatch, image: Float[Tensor, "b n d"]) -> Float[Tensor, "b b"]:
        """Images alone against texts alone, by the temperature: rows are images."""
        network = self.network
        images = network.image_place(network.image_alone(image, network.image_query(batch.pixels)).pooled)
        return images @ network.text_place(network.text_alone(batch.words).pooled).T / TEMPERATURE


def sentence(text: str, rng: np.random.Generator) -> str:
    """One of the text's sentences."""
    found = [each for each in SENTENCE.split(text.strip()) if each]
    return found[rng.integers(len(found))] if found else " "


SYSTEM = PTUnifier
