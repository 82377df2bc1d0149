"""Hands for tests of who does what: they know no system, and what they do with an item stands in its words."""

import os
import signal
import sys
from pathlib import Path

from hilum.app.run.answering import Setting
from hilum.app.run.item import Item, Outcome
from hilum.values import progress
from hilum.values.errors import Failed


def item(line: int, *words: str, group: str = "") -> Item:
    """An item of these words."""
    return Item(line, f"item{line}", (f"{line}.png",), words, key=f"key{line}", group=group or f"group{line}")


class Writing:
    """Writes the words to a file; dies, waits or fails where they say so."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.looked: list[str] = []

    def do(self, item: Item) -> Outcome:
        self.looked.append(item.group)
        word, _, place = (item.words or ("",))[0].partition(":")
        if word == "die" or (word == "die once" and not Path(place).exists()):
            with Path(place).open("a") as marks:
                marks.write("x")
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "leave":
            sys.exit(3)
        if word == "wait":
            Path(place).read_bytes()
        if word == "say":
            progress.say(place)
        if word == "fail":
            return Outcome(why=place)
        (self.folder / f"{item.name}.txt").write_text(" ".join(item.words))
        return Outcome({f"{item.name}.txt": "0"}, system="writing", answer=",".join(self.looked))


def writing(setting: Setting) -> Writing:
    """A hand that writes."""
    return Writing(Path(setting.folder))


def refusing(setting: Setting) -> Writing:
    """Nobody."""
    raise Failed("there is no bread.")


def dying(setting: Setting) -> Writing:
    """Somebody who is gone before he came."""
    os.kill(os.getpid(), signal.SIGKILL)
    return Writing(Path(setting.folder))
