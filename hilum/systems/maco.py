"""MaCo — Huang, Li, Zhou et al., Enhancing representation in radiography-reports foundation model: a granular alignment
algorithm using masked contrastive learning (Nature Communications 2024, arXiv 2309.05904).

A masked autoencoder (ViT-B/16) sees half of a chest film and guesses the rest at twice the resolution; what it saw,
averaged, is compared with the report, which a small BERT reads. A linear map of which patches were visible says what
they are worth to the comparison; the same map weighs the patches when a phrase is looked for. A finding is scored
without labels by the softmax over dot products, not cosines, with a text for it and the mean of four against it.
Public: code (MIT) and weights. As released the code builds a report encoder that its own weights do not fit: the
pooler must lead from 384 to 768, as here. Deviations: films come in by their own display window rather than by a
converted file; a file's word head and two unused maps are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image as Pillow
from torch import Tensor, nn

from hilum.capabilities.explain import Looked
from hilum.capabilities.look import Seen, tensors
from hilum.capabilities.match import Matched
from hilum.capabilities.system import System
from hilum.capabilities.trainable import Captioned
from hilum.nn.vit import Vit, VitConfig
from hilum.objectives.masked import Masking, by_own_range, masked_error, patchified
from hilum.objectives.masked_weighted import masked_weighted
from hilum.objectives.terms import Terms
from hilum.parts import grey_frame, masked_autoencoder, tokens
from hilum.parts.bert import BertSizes, bert, pooled
from hilum.parts.centre_crop import centre_crop
from hilum.parts.phrase_map import Mode, smoothed, stretched
from hilum.parts.tokens import Reading
from hilum.parts.two_tower import groups, pair_softmax, unit
from hilum.values.image import Image
from hilum.values.prompts import Labels
from hilum.weights.rename import Ignore, Rule, Table

FOR = ("There is {}. ",)
AGAINST = ("the lung is clear.", "There is no {}. ", "no {}. ", "no evidence of {}. ")
MEAN, DEVIATION = 0.4978, 0.2449  # of films in 0..1 (published code)
VOCABULARY = "mimic_wordpiece.json"
START = "[CLS] "  # nothing is put at a text's end
SHARPNESS = 0.02  # of the patches' weights when a phrase is looked for
DEGREES, SCALE = 20.0, (0.8, 1.2)  # of random views in training (published code)
UNUSED = Ignore(r"logit_scale|(pos_weight_text|pos_cat)\.(weight|bias)|W?CE\.weight|bert_encoder\.model\.cls\..*")


@dataclass(frozen=True, slots=True, kw_only=True)
class MaCoConfig:
    """Sizes and numbers of the published code. The decoder's picture and patch are those of its target, which is twice
    as fine as what the encoder sees. `antialias`: torchvision of the time did not smooth tensors made smaller."""

    encoder: VitConfig
    decoder: VitConfig
    text: BertSizes
    reading: Reading
    report: int = 768  # width of a report's vector
    mask_ratio: float = 0.5
    temperature: float = 0.03  # at the start; its inverse is learned as it is
    norm_pixels: bool = False
    antialias: bool = False


PAPER = MaCoConfig(
    encoder=VitConfig(image_size=224, patch=16, dim=768, depth=12, heads=12),
    decoder=VitConfig(image_size=448, patch=32, dim=768, depth=4, heads=6),
    text=BertSizes(vocabulary=30000, width=384, layers=6, heads=6, hidden=1536, positions=100),
    reading=Reading("written", 100),
)
TINY = MaCoConfig(
    encoder=VitConfig(image_size=32, patch=8, dim=24, depth=1, heads=2),
    decoder=VitConfig(image_size=64, patch=16, dim=24, depth=1, heads=2),
    text=BertSizes(vocabulary=200, width=16, layers=1, heads=2, hidden=24, positions=30),
    reading=Reading("hashed", 30, size=200),
    report=20,
)


@dataclass(frozen=True, slots=True, eq=False)
class FilmsBatch:
    """Films at the size of the target, noise that decides which patches are hidden, and parts of the reports."""

    films: Float[Tensor, "b 3 s s"]
    noise: Float[Tensor, "b n"]
    words: tokens.Tokens


class MaCoNetwork(nn.Module):
    """Masked autoencoder of films, encoder of reports, and what joins them."""

    def __init__(self, config: MaCoConfig):
        super().__init__()
        self.encoder = Vit(config.encoder)
        self.decoder = masked_autoencoder.MaskedDecoder(config.decoder, encoder_dim=config.encoder.dim)
        masked_autoencoder.start(self.encoder)
        self.text = bert(config.text, pooler=True)
        self.text.get_submodule("pooler").add_module("dense", nn.Linear(config.text.width, config.report))
        self.project = nn.Linear(config.encoder.dim, config.report)
        self.worth = nn.Linear(config.encoder.grid**2, 1)
        nn.init.zeros_(self.worth.weight)
        nn.init.zeros_(self.worth.bias)
        self.scale = nn.Parameter(torch.tensor(1 / config.temperature))

    def film(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b report"]:
        """The vector of a film: the mean over its visible patches, without the class token, projected."""
        return self.project(tokens[:, 1:]).mean(dim=1)

    def reports(self, words: tokens.Tokens) -> Float[Tensor, "b report"]:
        """The vectors of reports, by the pooler."""
        return pooled(self.text, words.ids, words.mask)

    def weights(self) -> Float[Tensor, " n"]:
        """What each patch is worth when a phrase is looked for."""
        return (self.worth.weight[0] / SHARPNESS).softmax(dim=0)


class MaCo(System):
    """Chest films against findings and their denials, by dot products."""

    configs: ClassVar[dict[str, MaCoConfig]] = {"vit_b": PAPER}
    table = Table(
        UNUSED,
        Rule(r"^decoder_", r"decoder."),
        Rule(r"^mask_token$", r"decoder.mask_token"),
        Rule(r"^(cls_token|pos_embed|patch_embed|blocks|norm)", r"encoder.\1"),
        Rule(r"^bert_encoder\.model\.bert\.", "text."),
        Rule(r"^img_mlp\.", "project."),
        Rule(r"^pos_weight_img\.", "worth."),
        Rule(r"^Tpar$", "scale"),
    )
    spelling = Table(UNUSED)
    together: ClassVar[int] = 1
    network: MaCoNetwork

    @classmethod
    def build(cls, config: MaCoConfig) -> MaCoNetwork:
        return MaCoNetwork(config)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        return cls.seeded(TINY, seed)

    def costly(self) -> tuple[nn.Module, tuple[int, ...]]:
        return self.network.encoder, (1, 3, self.side, self.side)

    @property
    def side(self) -> int:
        """Pixels of a side that the encoder sees."""
        return self.config.encoder.image_size

    def prepare(self, image: Image) -> Image:
        """One channel of 8 bit."""
        return grey_frame.as_grey(image, "maco")

    def see(self, plane: Image) -> Seen:
        """The vector of one film, all of whose middle is visible."""
        film = normalised(centre_crop(plane.array[0], short=self.side, side=self.side))
        with torch.inference_mode():
            return tensors(vector=self.network.film(self.run(film)))

    def vector(self, seen: Seen) -> Float[np.ndarray, " dim"]:
        return seen["vector"][0].float().cpu().numpy()

    @torch.inference_mode()
    def worded(self, texts: Sequence[str]) -> Float[np.ndarray, "n dim"]:
        return self.encoded(texts).float().cpu().numpy()

    def encoded(self, texts: Sequence[str]) -> Float[Tensor, "n report"]:
        """Of each text what the pooler makes of its start; not normalised."""
        return self.network.reports(self.read(texts).to(self.device))

    def read(self, texts: Sequence[str]) -> tokens.Tokens:
        """Texts as ids, behind a start."""
        reader = tokens.tokenizer(self.config.reading, lambda: self.file(VOCABULARY))
        return reader([START + text for text in texts])

    @torch.inference_mode()
    def matched(self, seen: Sequence[Seen], labels: Labels) -> Matched:
        """Softmax over the dot products with the mean text for a finding and the mean text against it."""
        film = seen[0]["vector"].to(self.device)[0]
        said, denied = labels.said(FOR), labels.denied(AGAINST)
        positive, negative = (
            torch.stack([each.mean(dim=0) for each in groups(self.encoded, texts)]) @ film for texts in (said, denied)
        )
        share = pair_softmax(positive, negative)
        texts = [(*own, *other) for own, other in zip(said, denied, strict=True)]
        return Matched(positive.cpu().numpy(), share.cpu().numpy(), texts)

    @torch.inference_mode()
    def pointed(self, text: str, film: Image, *, mode: Mode = "nearest") -> Float[np.ndarray, "h w"]:
        """Where a text points to, on the film's own grid: smoothed cosines with patches by their learned weights."""
        image = self.prepare(film)
        section = image.section()
        grey = image.plane(section, 0).array[0]
        shown = self.grounded(self.patches(grey), [text], grey.shape, mode)
        return section.volume(shown[None]).reshape(image.grid)

    def patches(self, film: grey_frame.Grey) -> Float[Tensor, "n report"]:
        """The projected patches of the whole film, squeezed to a square."""
        whole = Pillow.fromarray(np.ascontiguousarray(film)).resize((self.side, self.side), Pillow.Resampling.BICUBIC)
        return unit(self.network.project(self.run(normalised(np.array(whole)))[0, 1:]))

    def grounded(
        self, patches: Float[Tensor, "n report"], texts: Sequence[str], size: tuple[int, int], mode: Mode
    ) -> Float[np.ndarray, "h w"]:
        """Weighted and smoothed cosines of the texts with patches, their mean, on a plane of `size` (height, width)."""
        said = unit(self.encoded([told(text.split(".")) for text in texts])).mean(dim=0)
        found = (patches @ said * self.network.weights()).unflatten(0, (self.config.encoder.grid, -1))
        return stretched(smoothed(found), size, mode=mode)

    @torch.inference_mode()
    def looked(self, planes: Sequence[Image], seen: Sequence[Seen], labels: Labels) -> Looked:
        """The published grounding, of each label's texts; bilinear."""
        film = planes[0].array[0]
        patches = self.patches(film)
        maps = np.stack([self.grounded(patches, texts, film.shape, "bilinear") for texts in labels.said(FOR)])
        method = "cosines of the label's texts with the film's patches by their learned weights, smoothed, as published"
        return Looked(maps, "weighted cosine", method)

    def pairs(self, samples: Sequence[Captioned], rng: np.random.Generator) -> FilmsBatch:
        """Random views of films, and some sentences of each report in random order."""
        films = [self.view(self.prepare(each.image).array[0], rng) for each in samples]
        noise = rng.random((len(samples), self.config.encoder.grid**2), dtype=np.float32)
        words = self.read([sentences(each.text, rng) for each in samples])
        return FilmsBatch(
            torch.cat(films).to(self.device), torch.from_numpy(noise).to(self.device), words.to(self.device)
        )

    def view(self, film: grey_frame.Grey, rng: np.random.Generator) -> Float[Tensor, "1 3 s s"]:
        """The middle of a film at the target's size, mirrored half of the time, turned and scaled."""
        from torchvision.transforms.functional import affine

        side = self.config.decoder.image_size
        opened = Pillow.fromarray(centre_crop(film, short=side, side=side))
        if rng.random() < 0.5:
            opened = opened.transpose(Pillow.Transpose.FLIP_LEFT_RIGHT)
        angle, scale = rng.uniform(-DEGREES, DEGREES), rng.uniform(*SCALE)
        return normalised(np.array(affine(opened, angle, [0, 0], scale, [0.0, 0.0])))

    def loss(self, batch: FilmsBatch) -> Terms:
        """Hidden patches guessed from visible ones, and films beside reports, with no factor between them."""
        config, network = self.config, self.network
        seen = self.resized(batch.films)
        masking = Masking.by_noise(batch.noise, config.mask_ratio)
        latent = masked_autoencoder.seen(network.encoder, seen, masking.kept)
        target = patchified(batch.films, config.decoder.patch)
        if config.norm_pixels:
            target = by_own_range(target)
        error = masked_error(network.decoder(latent, masking.restore), target, masking.removed)
        cosine = unit(network.film(latent)) @ unit(network.reports(batch.words)).T
        worth = F.softplus(network.worth(1 - masking.removed))[:, 0]
        return Terms({"masked": error, "contrast": masked_weighted(network.scale * cosine, worth)})

    def resized(self, films: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 s s"]:
        """Bicubic to the encoder's size; as they are where they have it."""
        if films.shape[-1] == self.side:
            return films
        size = (self.side, self.side)
        return F.interpolate(films, size=size, mode="bicubic", align_corners=False, antialias=self.config.antialias)


def normalised(film: grey_frame.Grey) -> Float[Tensor, "1 3 h w"]:
    """From 0..255, the same in three channels."""
    return ((torch.from_numpy(film).float() / 255 - MEAN) / DEVIATION).expand(1, 3, -1, -1)


def sentences(report: str, rng: np.random.Generator) -> str:
    """Some of a report's sentences in random order."""
    found = report.split(".")
    count = int(rng.integers(1, len(found), endpoint=True))
    return told([found[number] for number in rng.permutation(len(found))[:count]])


def told(parts: Sequence[str]) -> str:
    """Sentences in small letters, without those that say nothing."""
    spoken = [part.strip() for part in parts]
    return "".join(f"{part.lower()}. " for part in spoken if part.lower() not in ("", "none")) or f"{spoken[0]}. "


SYSTEM = MaCo
