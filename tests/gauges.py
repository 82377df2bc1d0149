"""A system for tests of workers, which can be held at an image, or ended by one; and runs in processes of their own."""

import os
import subprocess
import sys
import time
from pathlib import Path

FATAL, ONCE, HELD = 66, 55, 44  # grey values: it ends the worker, does so the first time, waits for the gate

CARD = """
name = "gauge"
title = "An encoder for tests of workers: how bright a picture is"
citation = "none"
year = 2026
family = "house"
algorithm = "statistics"
summary = "Mean, least and greatest value of a plane."
status = "open"
tasks = ["embedding"]
modalities = ["any"]
organs = ["any"]
capabilities = ["embed"]
accepts = []
returns = ["embedding"]
default = "embed"

[excuses]
weights = "a rule: nothing is learned"

[[weights]]
tag = "rule"
file = "gauge.py"
source = "package:gauge"
licence = "Apache-2.0"
"""
CODE = f"""
import os, signal
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from torch import nn

from hilum.capabilities.look import tensors
from hilum.capabilities.system import System


class Gauge(System):
    configs: ClassVar[dict] = {{"rule": None}}

    @classmethod
    def build(cls, config):
        return nn.Identity()

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        return cls(nn.Identity(), None)

    def costly(self):
        return None

    def prepare(self, image):
        return image

    def see(self, plane):
        value = round(float(plane.array.mean()))
        place = Path(os.environ["GAUGE"])
        if value == {ONCE} and not (place / "ended").exists():
            (place / "ended").touch()
            value = {FATAL}
        if value == {FATAL}:
            os.kill(os.getpid(), signal.SIGKILL)
        if value == {HELD} and (place / "gate").exists():
            (place / "held").write_text(str(os.getpid()))
            (place / "gate").open("rb").read()  # until the test lets go
        return tensors(mean=float(plane.array.mean()), low=float(plane.array.min()), high=float(plane.array.max()))

    def vector(self, seen):
        return np.array([float(seen[name]) for name in ("mean", "low", "high")], dtype=np.float32)


SYSTEM = Gauge
"""


class Held:
    """The gate: a pipe that a worker opens to read when it comes to the picture of the grey HELD, and then waits."""

    def __init__(self, place: Path):
        self.place = place
        os.mkfifo(place / "gate")

    def reached(self, running: subprocess.Popen) -> int:
        """Waits until a worker waits; its process. The gate is gone for whoever comes later."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                self.end = os.open(self.place / "gate", os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # nobody reads yet
                try:
                    running.wait(0.02)
                except subprocess.TimeoutExpired:
                    continue
                raise AssertionError(f"the run ended before: {running.stderr.read()}") from None
            (self.place / "gate").unlink()
            return int((self.place / "held").read_text())
        raise AssertionError("no worker came to the gate")

    def let_go(self) -> None:
        os.close(self.end)


def started(*words: object) -> subprocess.Popen:
    """The program, in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-m", "hilum.app.cli", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def answers(folder: Path) -> dict[str, bytes]:
    """All that a run wrote but for what it keeps for itself, by name."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in ("run.sqlite", "run.lock")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
