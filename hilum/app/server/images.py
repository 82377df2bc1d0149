"""Registered images: each has a random id and a folder of its own; the id is looked up, never made into a path."""

from __future__ import annotations

import json
import secrets
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...values.errors import BadInput
from ...values.image import Image
from . import stored_image
from .absent import Absent, Full
from .decoding import Decoding
from .ledger import Ledger
from .sessions import forget
from .settings import Settings

GIVEN = "given"  # the folder of an upload's own files, under names of ours


@dataclass(frozen=True, slots=True)
class Registered:
    """An image that can be asked about: what `hilum inspect` would say of it, and when it will be forgotten."""

    id: str
    facts: dict[str, Any]
    expires: float | None  # seconds since 1970; None: as long as the server runs


class Images:
    """All that were registered, on disk; those that were used last, in memory as well."""

    def __init__(self, ledger: Ledger, settings: Settings, decoding: Decoding):
        self.ledger, self.settings, self.decoding = ledger, settings, decoding
        self.folder = settings.state / "images"
        self.folder.mkdir(exist_ok=True, mode=0o700)
        self._kept: OrderedDict[str, Image] = OrderedDict()
        self._turn = threading.Lock()
        self._sweep_strangers()

    def place(self) -> Path:
        """A new folder for an upload's files; `read` makes an image of it, or it is taken away again."""
        self._room()
        folder = self.folder / secrets.token_hex(16)
        (folder / GIVEN).mkdir(parents=True, mode=0o700)
        return folder

    async def read(
        self, files: Sequence[Path], options: Mapping[str, Any], *, folder: Path | None = None, kept: bool = False
    ) -> str:
        """Registers the image of these files by a decoder of its own; `kept` ones do not expire."""
        if not files:
            raise BadInput("an upload without a file: send the image as the part `file`, or as the body itself.")
        place = self.place() if folder is None else folder
        try:
            decoded = await self.decoding.decode(files, place, options)
            return self._register(place, decoded.facts, kept=kept)
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise

    def add(self, image: Image, *, kept: bool = False) -> str:
        """Registers an image that is in memory already, such as an array that a client sent."""
        from .described import described

        self._fits(image)
        place = self.place()
        try:
            stored_image.store(image, place)
            return self._register(place, described(image), kept=kept)
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise

    def get(self, id: str) -> Image:
        """The image itself; from disk, if it was not asked about of late."""
        self.touch(id)
        with self._turn:
            if id not in self._kept:
                self._kept[id] = self._load(id)
            self._kept.move_to_end(id)
            while len(self._kept) > 1 and self._bytes() > self.settings.caps.images_memory:
                self._kept.popitem(last=False)
            return self._kept[id]

    def touch(self, id: str) -> None:
        """Keeps an image from expiring: somebody asks about it."""
        self._row(id)
        self.ledger.run("UPDATE image SET used = ? WHERE id = ?", (time.time(), id))

    def registered(self, id: str) -> Registered:
        """What is known of an image without touching its values."""
        return self._known(self._row(id))

    def all(self) -> list[Registered]:
        """All images, in the order in which they came."""
        return [self._known(row) for row in self.ledger.all("SELECT * FROM image ORDER BY created")]

    def delete(self, id: str) -> None:
        """Forgets an image: its values, the files it came in, its sessions."""
        self._row(id)
        with self.ledger.writing():
            for row in self.ledger.all("SELECT id FROM session WHERE image = ?", (id,)):
                forget(self.ledger, row["id"])
            self.ledger.run("DELETE FROM image WHERE id = ?", (id,))
        with self._turn:
            self._kept.pop(id, None)
        shutil.rmtree(self.folder / id, ignore_errors=True)

    def expire(self) -> list[str]:
        """Forgets the images that nobody used for as long as uploads are kept; gives back their ids."""
        limit = time.time() - self.settings.keep
        query = (
            "SELECT id FROM image WHERE kept = 0 AND used < ? AND id NOT IN (SELECT image FROM session WHERE used >= ?)"
        )
        gone = [str(row["id"]) for row in self.ledger.all(query, (limit, limit))]
        for id in gone:
            self.delete(id)
        return gone

    def _load(self, id: str) -> Image:
        try:
            return stored_image.load(self.folder / id)
        except FileNotFoundError:  # taken away since its row was read
            raise Absent("image") from None

    def _register(self, place: Path, facts: dict[str, Any], *, kept: bool) -> str:
        size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
        now = time.time()
        self.ledger.run(
            "INSERT INTO image (id, created, used, bytes, kept, facts) VALUES (?, ?, ?, ?, ?, ?)",
            (place.name, now, now, size, int(kept), json.dumps(facts, ensure_ascii=False)),
        )
        return place.name

    def _row(self, id: str) -> Any:
        row = self.ledger.one("SELECT * FROM image WHERE id = ?", (id,))
        if row is None:
            raise Absent("image")
        return row

    def _known(self, row: Any) -> Registered:
        return Registered(
            row["id"], json.loads(row["facts"]), None if row["kept"] else row["used"] + self.settings.keep
        )

    def _room(self) -> None:
        """Refuses one more image where there is no room, after what has expired was taken away."""
        caps = self.settings.caps
        for again in (False, True):
            count, size = self.ledger.one("SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM image")
            if count < caps.images and size < caps.stored:
                return
            if not again:
                self.expire()
        raise Full(
            f"the server keeps {count} images ({size:,} bytes) and takes no more (at most {caps.images}, "
            f"{caps.stored:,} bytes): delete some, or wait until they expire."
        )

    def _fits(self, image: Image) -> None:
        caps, voxels = self.settings.caps, image.array[0].size
        if voxels > caps.voxels or image.array.nbytes > caps.decoded:
            from ...values.errors import TooLarge

            raise TooLarge(f"the image has {voxels:,} voxels, the server takes at most {caps.voxels:,}.")

    def _bytes(self) -> int:
        return sum(image.array.nbytes for image in self._kept.values())

    def _sweep_strangers(self) -> None:
        """Takes away folders that no row knows: uploads that were being decoded when a process was killed."""
        known = {row["id"] for row in self.ledger.all("SELECT id FROM image")}
        for place in self.folder.iterdir():
            if place.name not in known:
                shutil.rmtree(place, ignore_errors=True)
