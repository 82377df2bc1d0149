"""BioViL-T — Bannur, Hyland, Liu et al., Learning to exploit temporal structure for biomedical vision-language
processing (CVPR 2023); and BioViL, its predecessor without time (Boecking, Usuyama, Bannur et al., ECCV 2022).

A ResNet-50 sees the film; where there is an earlier one, a small transformer compares the two place by place, and where
there is none a learned vector stands for what has changed. Both halves are projected together, and their mean is
compared with the first state of CXR-BERT, projected. A finding is scored by several texts for it and several against
it, whose vectors are averaged before they are normalised; a phrase points to places by its cosines with the patches.
Public: code (MIT), and for each of the two an image file and a text file; the training code is not.
Our reading: what the words of change are, and how labels of change are compared, since no code for it is public; in
training the word vectors of the local part come from the same head as the text's, and the picture guides masked words
by one cross-attention, which is learned afresh. Deviations: MONOCHROME1 films are inverted, which the published reading
of DICOM files leaves out; films are not augmented.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, UInt8
from PIL import Image as Pillow
from torch import Tensor, nn

from hilum.capabilities.explain import Looked
from hilum.capabilities.look import Seen, tensors
from hilum.capabilities.match import Matched
from hilum.capabilities.system import System
from hilum.capabilities.trainable import Captioned
from hilum.objectives.local_global import Side, local_global
from hilum.objectives.masked_words import HiddenWords, hidden, spoken, word_error
from hilum.objectives.terms import Terms
from hilum.parts import tokens
from hilum.parts.bert import BertSizes, last
from hilum.parts.centre_crop import centre_crop
from hilum.parts.cxr_bert import TextTower, spelt
from hilum.parts.film_tower import FilmTower
from hilum.parts.phrase_map import Mode, laid_over, smoothed
from hilum.parts.resnet import ResNetSizes
from hilum.parts.temporal_pooler import PoolerSizes
from hilum.parts.tokens import Reading
from hilum.parts.two_tower import groups, pair_softmax, unit, unit_of_mean
from hilum.values.errors import BadInput
from hilum.values.image import Image
from hilum.values.prompts import Labels
from hilum.weights.rename import Ignore, Rule, Table, fill

FOR = (  # the published texts for pneumonia, with a place for any finding
    "Findings consistent with {}",
    "Findings suggesting {}",
    "This opacity can represent {}",
    "Findings are most compatible with {}",
)
AGAINST = ("There is no {}", "No evidence of {}", "No evidence of acute {}", "No signs of {}")
CHANGE = frozenset(
    ["improving", "improved", "better", "stable", "unchanged", "worsening", "worsened", "worse"]
)  # our reading
TEXT = ("bert.", "cls.", "cls_projection_head.")  # how names in the text file begin
TIED = Ignore(r"cls\.predictions\.decoder\.(weight|bias)")  # the words' embeddings and bias once more

RESNET_50 = ResNetSizes(classes=1000)  # with the classifier that the files carry
POOLER = PoolerSizes()
CXR_BERT = BertSizes()  # words of its own, as many as BERT's
READING = Reading("wordpiece", 512)


@dataclass(frozen=True, slots=True, kw_only=True)
class BioVilTConfig:
    """Sizes of the published code. Without `pooler` it is BioViL; without `text` an image file alone.

    `guide_heads`: of the cross-attention that lets the film guide masked words in training (our reading); 0: none.
    """

    resnet: ResNetSizes = RESNET_50
    pooler: PoolerSizes | None = POOLER
    joint: int = 128
    text: BertSizes | None = CXR_BERT
    reading: Reading = READING
    short: int = 512  # pixels of a film's short side, of which the middle is seen
    side: int = 448
    guide_heads: int = 0


BIOVIL_T = BioVilTConfig()
BIOVIL = BioVilTConfig(pooler=None, side=480)
TINY = BioVilTConfig(
    resnet=ResNetSizes(layers=(1, 1, 1, 1), width=4, classes=3),
    pooler=PoolerSizes(dim=16, grid=2, heads=2, blocks=1),
    joint=12,
    text=BertSizes(vocabulary=200, width=24, layers=1, heads=2, hidden=32, positions=40),
    reading=Reading("hashed", 40, size=200),
    short=72,
    side=64,
    guide_heads=2,
)


@dataclass(frozen=True, slots=True, eq=False)
class FilmsBatch:
    """Films; the earlier films of those that have one; the words of their reports, some of them hidden."""

    films: Float[Tensor, "b 3 s s"]
    earlier: Float[Tensor, "p 3 s s"]
    there: Bool[Tensor, " b"]
    words: tokens.Tokens
    hidden: HiddenWords


class BioVilTNetwork(nn.Module):
    """Film tower, projector, text tower, and in training the guide of masked words."""

    def __init__(self, config: BioVilTConfig):
        super().__init__()
        self.film = FilmTower(config.resnet, config.pooler)
        self.projector = nn.Sequential(
            nn.Conv2d(self.film.width, config.joint, kernel_size=1, bias=False),
            nn.BatchNorm2d(config.joint),
            nn.ReLU(),
            nn.Conv2d(config.joint, config.joint, kernel_size=1),
        )
        self.text = None if config.text is None else TextTower(config.text, config.joint)
        self.guide = None
        if config.text is not None and config.guide_heads:
            width, seen = config.text.width, self.film.width
            self.guide = nn.MultiheadAttention(width, config.guide_heads, kdim=seen, vdim=seen, batch_first=True)

    def projected(self, fused: Float[Tensor, "b d rows columns"]) -> Float[Tensor, "b rows columns joint"]:
        """Each place in the space of texts; their mean is the film's vector."""
        return rearrange(self.projector(fused), "b d h w -> b h w d")


class BioVilT(System):
    """Chest films, alone or beside an earlier one, against findings and their denials, or against words of change."""

    configs: ClassVar[dict[str, BioVilTConfig]] = {
        "biovil_t": BIOVIL_T,
        "biovil": BIOVIL,
        "biovil_t_image": replace(BIOVIL_T, text=None),
        "biovil_image": replace(BIOVIL, text=None),
    }
    table = Table(
        TIED,
        Rule(r"^encoder\.", "film."),
        Rule(r"^film\.encoder\.", "film.resnet."),
        Rule(r"^film\.backbone_to_vit\.", "film.narrow."),
        Rule(r"^film\.vit_pooler\.", "film.pooler."),
        Rule(r"^film\.missing_previous_emb$", "film.absent"),
        Rule(r"^projector\.model\.", "projector."),
        Rule(r"^bert\.", "text.bert."),
        Rule(r"^cls\.predictions\.", "text.words."),
        Rule(r"^cls_projection_head\.", "text.head."),
    )
    spelling = Table(TIED)
    together: ClassVar[int] = 2
    network: BioVilTNetwork

    @classmethod
    def build(cls, config: BioVilTConfig) -> BioVilTNetwork:
        return BioVilTNetwork(config)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        return cls.seeded(TINY, seed)

    @classmethod
    def carries(cls, name: str) -> bool:
        """Whether the text file holds it; the rest is in the image file, which is its base."""
        return name.startswith(TEXT)

    @classmethod
    def completed(
        cls, config: BioVilTConfig, own: Mapping[str, Tensor], base: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """The text file's tensors and the image file's; no name is in both."""
        return {**own, **base}

    def costly(self) -> tuple[nn.Module, tuple[int, ...]]:
        return self.network.film, (1, 3, self.config.side, self.config.side)

    def prepare(self, image: Image) -> Image:
        """Values as they are: each plane is brought to 8 bit by its own range, which is said."""
        said = f"{self.card.name} saw each film's lowest to highest value in 8-bit grey"
        return image.noted(said + (", inverted" if image.display.inverted else ""))

    def see(self, plane: Image) -> Seen:
        """The maps of one film by itself."""
        return tensors(maps=self.run(self.pixels(plane)))

    def vector(self, seen: Seen) -> Float[np.ndarray, " dim"]:
        return self.film([seen]).cpu().numpy()

    def pixels(self, film: Image) -> Float[Tensor, "1 3 s s"]:
        """The middle of the film in 0..1; no mean is taken off."""
        grey = np.asarray(Pillow.fromarray(eight_bit(film)).convert("L"))
        middle = centre_crop(
            255 - grey if film.display.inverted else grey, short=self.config.short, side=self.config.side
        )
        return (torch.from_numpy(middle).float() / 255).expand(1, 3, -1, -1)

    @torch.inference_mode()
    def film(self, seen: Sequence[Seen]) -> Float[Tensor, " joint"]:
        """The vector of the first film, beside the second where there is one; not normalised."""
        return self.places(seen).mean(dim=(0, 1))

    @torch.inference_mode()
    def places(self, seen: Sequence[Seen]) -> Float[Tensor, "rows columns joint"]:
        """The vectors of its places; not normalised."""
        maps = [each["maps"].to(self.device) for each in seen]
        return self.network.projected(self.network.film.fused(*maps))[0].float()

    @torch.inference_mode()
    def worded(self, texts: Sequence[str]) -> Float[np.ndarray, "n dim"]:
        return self.encoded(texts).float().cpu().numpy()

    def encoded(self, texts: Sequence[str]) -> Float[Tensor, "n joint"]:
        """Of each text the first state, projected and not normalised."""
        return self.tower(self.read([spelt(text) for text in texts]).to(self.device))

    def read(self, texts: Sequence[str]) -> tokens.Tokens:
        """Texts as ids."""
        return tokens.tokenizer(self.config.reading, lambda: self.file(tokens.VOCABULARY))(texts)

    @property
    def tower(self) -> TextTower:
        """The text tower, where these weights have one."""
        if self.network.text is None:
            raise BadInput(
                f"{self.tag} is an image file alone and reads no text: its text file is another, "
                f"`hilum weights pull {self.tag.removesuffix('_image')}`"
            )
        return self.network.text

    @torch.inference_mode()
    def matched(self, seen: Sequence[Seen], labels: Labels) -> Matched:
        """Findings against their denials; labels that end with a word of change against each other (our reading)."""
        moves = changing(labels)
        if any(moves) and len(seen) < 2:
            name = labels.names[moves.index(True)]
            raise BadInput(f"{name!r} says how a film has changed: give the earlier film after the present one")
        said = self.texts_for(labels)
        denied = [() if change else texts for change, texts in zip(moves, labels.denied(AGAINST), strict=True)]
        film = unit(self.film(seen))
        positive, share = unit_of_mean(groups(self.encoded, said)) @ film, torch.zeros(len(said), device=self.device)
        change = torch.tensor(moves, device=self.device)
        if change.any():
            share[change] = positive[change].softmax(dim=0)
        if not change.all():
            negative = unit_of_mean(groups(self.encoded, list(filter(None, denied)))) @ film
            share[~change] = pair_softmax(positive[~change], negative)
        texts = [(*own, *other) for own, other in zip(said, denied, strict=True)]
        return Matched(positive.cpu().numpy(), share.cpu().numpy(), texts)

    def texts_for(self, labels: Labels) -> list[tuple[str, ...]]:
        """A finding's texts by the templates; a label of change as it stands."""
        pairs = zip(changing(labels), labels.said(("{}",)), labels.said(FOR), strict=True)
        return [plain if change else found for change, plain, found in pairs]

    @torch.inference_mode()
    def looked(self, planes: Sequence[Image], seen: Sequence[Seen], labels: Labels) -> Looked:
        """The published grounding, of each label's mean text; bilinear."""
        texts = unit_of_mean(groups(self.encoded, self.texts_for(labels)))
        maps = np.stack([self.grounded(seen, text, planes[0].array.shape[1:], "bilinear") for text in texts])
        return Looked(maps, "cosine", "cosines of the label's texts with the film's patches, smoothed, as published")

    def grounded(
        self, seen: Sequence[Seen], said: Float[Tensor, " joint"], size: tuple[int, int], mode: Mode
    ) -> Float[np.ndarray, "h w"]:
        """Smoothed cosines of a text with the first film's patches, on its plane of `size` (height, width)."""
        cosines = unit(self.places(seen)) @ said
        return laid_over(smoothed(cosines), size, cut=(self.config.side, self.config.short), mode=mode)

    @torch.inference_mode()
    def pointed(self, text: str, *films: Image, mode: Mode = "nearest") -> Float[np.ndarray, "h w"]:
        """Where a text points to, on the first film's own grid: smoothed cosines, NaN in the unseen margins."""
        look = self.look(*films)
        image = look.prepared()
        section = image.section()
        seen = [look.seen(look.prepared(number).section(), 0, number) for number in range(len(films))]
        height, width = section.planes(image.volume()).shape[-2:]
        shown = self.grounded(seen, unit(self.encoded([text]))[0], (height, width), mode)
        return section.volume(shown[None]).reshape(image.grid)

    def guided(self, heads: int = 8, seed: int = 0) -> BioVilT:
        """The same weights with a fresh guide of masked words, which no published file has: to be trained further."""
        config = replace(self.config, guide_heads=heads)
        fresh = self.seeded(config, seed)
        fill(fresh.network, {**fresh.network.state_dict(), **self.network.state_dict()})
        system = type(self)(fresh.network, config, tag=f"{self.tag.partition('.')[2]}+guide")
        system.files = self.files
        return system.placed(str(self.device), "torch")

    def pairs(self, samples: Sequence[Captioned], rng: np.random.Generator) -> FilmsBatch:
        """Films, earlier films where there are some, and reports with hidden words; nothing is augmented."""
        films = [self.pixels(self.prepare(each.image)) for each in samples]
        earlier = [self.pixels(self.prepare(each.earlier)) for each in samples if each.earlier is not None]
        words, cover = self.read([each.text for each in samples]), int(self.read(["[MASK]"]).ids[0, 1])
        size = self.tower.words.bias.numel()
        return FilmsBatch(
            torch.cat(films).to(self.device),
            torch.cat([films[0][:0], *earlier]).to(self.device),
            torch.tensor([each.earlier is not None for each in samples], device=self.device),
            words.to(self.device),
            hidden(words.ids, spoken(words.mask), rng, cover=cover, vocabulary=size).to(self.device),
        )

    def loss(self, batch: FilmsBatch) -> Terms:
        """Global and local InfoNCE, and masked words under the film's guidance (as far as it is known; our reading)."""
        network, tower = self.network, self.tower
        present, earlier = network.film(torch.cat([batch.films, batch.earlier])).split(
            [len(batch.films), len(batch.earlier)]
        )
        fused = network.film.fused(present, *((earlier, batch.there) if len(earlier) else ()))
        places = network.projected(fused).flatten(1, 2)
        image = Side(places.mean(dim=1), places, torch.ones(places.shape[:2], dtype=torch.bool, device=places.device))
        words = tower.head(last(tower.bert, batch.words.ids, batch.words.mask))
        text = Side(words[:, 0], words, spoken(batch.words.mask))
        states = last(tower.bert, batch.hidden.ids, batch.words.mask)
        if network.guide is not None:
            seen = rearrange(fused, "b d h w -> b (h w) d")
            states = states + network.guide(states, seen, seen, need_weights=False)[0]
        error = word_error(tower.guesses(states), batch.words.ids, batch.hidden.asked)
        return Terms({**local_global(image, text), "words": error})


def eight_bit(film: Image) -> UInt8[np.ndarray, "h w *c"]:
    """By the film's own range, cut to whole numbers; black where all values are one."""
    values = film.array.astype(np.float64)
    values -= values.min()
    values = values / (values.max() or 1.0) * 255
    grey = values.astype(np.uint8)
    return grey[0] if len(grey) == 1 else np.ascontiguousarray(np.moveaxis(grey, 0, -1))  # (c, h, w) -> (h, w, c)


def changing(labels: Labels) -> list[bool]:
    """Which of the labels say change, and are not given texts against them."""
    return [says_change(name) and not own for name, own in zip(labels.names, labels.denied(()), strict=True)]


def says_change(name: str) -> bool:
    """Whether a label ends with a word of change."""
    return bool(CHANGE & set(name.lower().split()[-1:]))


SYSTEM = BioVilT
