"""Texts as ids: WordPiece as BERT's towers read them, byte pairs as CLIP's and RoBERTa's do, and hashed words for tiny
networks."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from hilum.values.errors import BadInput, MissingExtra


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """Ids of texts and which of them are not padding."""

    ids: Int[Tensor, "n length"]
    mask: Bool[Tensor, "n length"]

    def to(self, device: torch.device) -> Tokens:
        """The same on a device."""
        return Tokens(self.ids.to(device), self.mask.to(device))


Tokenizer = Callable[[Sequence[str]], Tokens]


@dataclass(frozen=True, slots=True)
class Reading:
    """How a tower reads: its vocabulary's kind, the most ids of a text, and whether all texts are padded to that.

    A written tokenizer says all of itself in its file. Hashed words stand in `size` ids; they know no language and
    belong to networks that know none either.
    """

    kind: Literal["wordpiece", "clip", "roberta", "written", "hashed"]
    context: int
    whole: bool = False
    lowercase: bool = True
    size: int = 0


VOCABULARY = "vocab.txt"  # the file of a WordPiece vocabulary, a word on each line
PAIRS = "tokenizer.json"  # the file of RoBERTa's byte pairs, as the library tokenizers writes it


def tokenizer(reading: Reading, vocabulary: Callable[[], Path]) -> Tokenizer:
    """The tokenizer; `vocabulary` says where the words lie, and is called where the kind needs a file."""
    if reading.kind == "wordpiece":
        return wordpiece(reading, vocabulary())
    if reading.kind == "roberta":
        return roberta(reading, vocabulary())
    if reading.kind == "written":
        return written(reading, vocabulary())
    return clip(reading) if reading.kind == "clip" else hashed(reading)


@lru_cache(maxsize=8)  # to read a vocabulary takes longer than to read a text
def wordpiece(reading: Reading, vocabulary: Path) -> Tokenizer:
    """BERT's: [CLS] words [SEP], cut at `context`, padded with [PAD]."""
    try:
        from tokenizers import BertWordPieceTokenizer
    except ImportError as error:
        raise MissingExtra("reading texts", "tokenizers", "systems") from error
    reader = BertWordPieceTokenizer(str(vocabulary), lowercase=reading.lowercase)
    pad = reader.token_to_id("[PAD]")
    if pad is None:
        raise BadInput(f"{vocabulary.name} is not a WordPiece vocabulary: it has no [PAD]")
    return cut_and_padded(reader, reading, pad)


@lru_cache(maxsize=8)
def roberta(reading: Reading, pairs: Path) -> Tokenizer:
    """RoBERTa's: <s> byte pairs </s>, with their case, cut at `context`, padded with <pad>."""
    try:
        from tokenizers import Tokenizer as Reader
    except ImportError as error:
        raise MissingExtra("reading texts", "tokenizers", "systems") from error
    reader = Reader.from_file(str(pairs))
    pad = reader.token_to_id("<pad>")
    if pad is None:
        raise BadInput(f"{pairs.name} does not hold RoBERTa's byte pairs: it has no <pad>")
    return cut_and_padded(reader, reading, pad)


def cut_and_padded(reader: Any, reading: Reading, pad: int) -> Tokenizer:
    """By a reader of the library tokenizers, in batches."""
    reader.enable_truncation(reading.context)
    reader.enable_padding(pad_id=pad, length=reading.context if reading.whole else None)
    return partial(_encoded, reader)


def _encoded(reader: Any, texts: Sequence[str]) -> Tokens:
    """What a reader of the tokenizers library makes of texts."""
    found = reader.encode_batch(list(texts))
    ids, mask = ([getattr(each, part) for each in found] for part in ("ids", "attention_mask"))
    return Tokens(torch.tensor(ids), torch.tensor(mask).bool())


@lru_cache(maxsize=8)
def written(reading: Reading, file: Path) -> Tokenizer:
    """As a file of the tokenizers library says; cut at `context`, padded with id 0. No start or end is added."""
    try:
        from tokenizers import Tokenizer as Written
    except ImportError as error:
        raise MissingExtra("reading texts", "tokenizers", "systems") from error
    return cut_and_padded(Written.from_file(str(file)), reading, 0)


@lru_cache(maxsize=8)
def clip(reading: Reading) -> Tokenizer:
    """OpenAI's byte pairs: start, words, end; cut so that the end stays, padded with zeros to the context."""
    try:
        from open_clip.tokenizer import SimpleTokenizer
    except ImportError as error:
        raise MissingExtra("reading texts", "open_clip", "systems") from error
    reader = SimpleTokenizer(context_length=reading.context)

    def read(texts: Sequence[str]) -> Tokens:
        ids = reader(list(texts))
        end = ids.argmax(dim=1, keepdim=True)
        return Tokens(ids, torch.arange(ids.shape[1]) <= end)

    return read


def hashed(reading: Reading) -> Tokenizer:
    """A start (the last id but one), a number for each word, an end (the last id), zeros."""

    def ids_of(text: str) -> list[int]:
        words = [3 + zlib.crc32(word.encode()) % (reading.size - 5) for word in text.lower().split()]
        return [reading.size - 2, *words[: reading.context - 2], reading.size - 1]

    def read(texts: Sequence[str]) -> Tokens:
        rows = [ids_of(text) for text in texts]
        length = reading.context if reading.whole else max(map(len, rows))
        ids = torch.tensor([row + [0] * (length - len(row)) for row in rows])
        return Tokens(ids, ids > 0)

    return read
