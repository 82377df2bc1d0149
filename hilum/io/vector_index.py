"""A folder of vectors that grows: one row for each picture or plane, written as it is made, so that a kill loses none.

`index.json` says what made the vectors, `items.jsonl` names each row, `vectors.f32` holds the rows. Rows count as far
as both of the latter have them whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from hilum.values.errors import BadInput, MissingExtra

from .atomic import replacing

ABOUT, ITEMS, ROWS, NEAR = "index.json", "items.jsonl", "vectors.f32", "near.usearch"
SCHEMA = "hilum.index/1"
MANY = 100_000  # rows from which neighbours are found through a graph (usearch) and not by looking at all


@dataclass(frozen=True, slots=True)
class Row:
    """Where a vector comes from: the image's name and files, its plane, and what tells that the file changed."""

    item: str
    files: tuple[str, ...]
    plane: int
    stamp: str


@dataclass(frozen=True, slots=True)
class Hit:
    """A row near a vector, by the cosine of both."""

    row: Row
    cosine: float


class VectorIndex:
    """An index on disk; rows are added at its end."""

    def __init__(self, folder: Path):
        self.folder = folder
        try:
            about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadInput(f"{folder} is no index: make one with hilum embed SYSTEM IMAGES -o {folder}/") from error
        if about.get("schema") != SCHEMA:
            raise BadInput(f"{folder} was written as {about.get('schema')}; this version reads {SCHEMA}: embed again")
        self.about: Mapping[str, Any] = about

    @classmethod
    def begin(cls, folder: Path, about: Mapping[str, Any]) -> VectorIndex:
        """The index in the folder, if the same system made it; a new one where there is none."""
        if not (folder / ABOUT).is_file():
            if folder.is_dir() and any(folder.iterdir()):
                raise BadInput(f"{folder} is a folder with other things in it: name a new one for the index")
            folder.mkdir(parents=True, exist_ok=True)
            with replacing(folder / ABOUT) as temporary:
                temporary.write_text(json.dumps({"schema": SCHEMA, **about}, indent=1) + "\n", encoding="utf-8")
        index = cls(folder)
        differing = [key for key, value in about.items() if index.about.get(key) != value]
        if differing:
            key = differing[0]
            raise BadInput(
                f"{folder} holds vectors whose {key} is {index.about.get(key)}, and these would have {about[key]}: "
                "give the index of each system its own folder"
            )
        index._trim()
        return index

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """What each row is, in order."""
        lines = self._lines()[: self._whole()]
        return tuple(Row(**{**told, "files": tuple(told["files"])}) for told in map(json.loads, lines))

    @cached_property
    def vectors(self) -> Float[np.ndarray, "n dim"]:
        """All rows, read where they lie."""
        count, dim = self._whole(), int(self.about["dim"])
        if not count:
            return np.zeros((0, dim), np.float32)
        return np.memmap(self.folder / ROWS, np.float32, "r", shape=(count, dim))

    def append(self, vectors: Float[np.ndarray, "n dim"], rows: Sequence[Row]) -> None:
        """Adds rows: the vectors first, so that a name never lacks its vector."""
        with (self.folder / ROWS).open("ab") as stream:
            stream.write(np.ascontiguousarray(vectors, dtype=np.float32).tobytes())
        told = [{"item": row.item, "files": row.files, "plane": row.plane, "stamp": row.stamp} for row in rows]
        with (self.folder / ITEMS).open("a", encoding="utf-8") as stream:
            stream.writelines(json.dumps(each, ensure_ascii=False) + "\n" for each in told)
        for made in ("rows", "vectors"):
            self.__dict__.pop(made, None)

    def nearest(self, query: Float[np.ndarray, " dim"], top: int) -> list[Hit]:
        """The rows with the largest cosines, the best first."""
        if not len(self.vectors):
            raise BadInput(f"{self.folder} is empty: no image was embedded into it")
        query = query / max(float(np.linalg.norm(query)), 1e-12)
        if len(self.vectors) >= MANY:
            return list(self._by_graph(query, top))
        found = np.concatenate(
            [_cosines(part, query) for part in np.array_split(self.vectors, len(self.rows) // 4096 + 1)]
        )
        order = np.argsort(-found, kind="stable")[:top]
        return [Hit(self.rows[place], float(found[place])) for place in order]

    def _by_graph(self, query: Float[np.ndarray, " dim"], top: int) -> Iterator[Hit]:
        """Through usearch's graph, which is built once and grown with the rows."""
        try:
            from usearch.index import Index
        except ImportError as error:
            raise MissingExtra(f"searching {len(self.rows):,} vectors", "usearch", "scale") from error
        path = self.folder / NEAR
        graph = Index(ndim=int(self.about["dim"]), metric="cos", dtype="f32")
        if path.is_file():
            graph.load(str(path))
        if len(graph) < len(self.rows):
            new = np.arange(len(graph), len(self.rows))
            graph.add(new, np.asarray(self.vectors[new[0] :]))
            with replacing(path, force=True) as temporary:
                graph.save(str(temporary))
        found = graph.search(query.astype(np.float32), top)
        for key, distance in zip(found.keys, found.distances, strict=True):
            yield Hit(self.rows[int(key)], 1.0 - float(distance))

    def _lines(self) -> list[str]:
        path = self.folder / ITEMS
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        return text.split("\n")[:-1]  # what follows the last line break is half a line

    def _whole(self) -> int:
        """Rows that have a name and all of their numbers."""
        path = self.folder / ROWS
        size = path.stat().st_size if path.is_file() else 0
        return min(len(self._lines()), size // (4 * int(self.about["dim"])))

    def _trim(self) -> None:
        """Cuts off what a kill left half."""
        count, lines = self._whole(), self._lines()
        if (self.folder / ROWS).is_file():
            os.truncate(self.folder / ROWS, count * 4 * int(self.about["dim"]))
        if (self.folder / ITEMS).is_file():
            kept = "".join(f"{line}\n" for line in lines[:count]).encode()
            os.truncate(self.folder / ITEMS, len(kept))


def _cosines(vectors: Float[np.ndarray, "n dim"], query: Float[np.ndarray, " dim"]) -> Float[np.ndarray, " n"]:
    lengths = np.maximum(np.linalg.norm(vectors, axis=1), 1e-12)
    return vectors @ query.astype(np.float32) / lengths


def stamp(files: Sequence[Path]) -> str:
    """Sizes and times of change of the files: another stamp, another image."""
    return " ".join(f"{path.stat().st_size}:{path.stat().st_mtime_ns}" for path in files)
