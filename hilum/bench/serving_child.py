"""A `hilum serve` of its own for the serving bench: started over a folder, asked by HTTP, killed as if by accident."""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..values.errors import Failed

COMMAND = ("-m", "hilum.app.cli", "serve", "--port", "0", "--backend", "torch")
PATIENCE = 600  # seconds for one answer, on a machine that does other things as well


@dataclass(slots=True)
class Served:
    """A server process and its port."""

    process: subprocess.Popen[str]
    port: int

    @classmethod
    def start(cls, state: Path) -> Served:
        """Starts it, and waits until it has told its address."""
        with (state.parent / "serving.log").open("a", encoding="utf-8") as log:
            process = subprocess.Popen(
                [sys.executable, *COMMAND, "--state", str(state)], stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert process.stdout is not None
        found = re.search(r":(\d+)/", process.stdout.readline())
        if found is None:
            raise Failed(f"hilum serve ended before it told its address ({process.wait()}): see {state.parent}.")
        return cls(process, int(found[1]))

    def kill(self) -> None:
        """SIGKILL: it has no chance to put anything in order."""
        self.process.kill()
        self._wait()

    def stop(self) -> None:
        """As Ctrl-C would."""
        self.process.terminate()
        self._wait()

    def _wait(self) -> None:
        self.process.wait(PATIENCE)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def resident(self) -> int:
        """Bytes of memory that it holds now."""
        text = Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii")
        return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        """The JSON of an answer; bytes are sent as a file, all else as JSON."""
        raw = isinstance(body, bytes)
        content = body if raw else None if body is None else json.dumps(body).encode()
        kind = "application/octet-stream" if raw else "application/json"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, content, {"Content-Type": kind, **(headers or {})})
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status >= 400:
            raise Failed(f"{method} {path}: {answer.status} {text.decode(errors='replace')[:300]}")
        return json.loads(text) if text else None

    def session(self, picture: bytes, system: str = "scout") -> tuple[str, str]:
        """Ids of a new image and of a session about it."""
        image = self.ask("POST", "/api/images", picture)["id"]
        return image, self.begin(image, system)

    def begin(self, image: str, system: str = "scout") -> str:
        """Id of a new session."""
        return str(self.ask("POST", "/api/sessions", {"image": image, "system": system})["id"])

    def say(self, session: str, box: Mapping[str, Any], key: str | None = None, wait: int = PATIENCE) -> Any:
        """What the server answers to a box: the session, or where it does not wait, the job."""
        headers = {} if key is None else {"Idempotency-Key": key}
        return self.ask("POST", f"/api/sessions/{session}/prompts?wait={wait}", {"prompts": [box]}, headers)

    def ended(self, job: str) -> Any:
        """A job once it has ended."""
        return self.ask("GET", f"/api/jobs/{job}?wait={PATIENCE}")


def picture(side: int, seed: int) -> bytes:
    """A PNG of bright discs on noise, another for each seed."""
    from PIL import Image as Pillow

    random = np.random.default_rng(seed)
    values = random.normal(60, 12, (side, side))
    y, x = np.ogrid[:side, :side]
    for _ in range(6):
        row, column, radius = random.uniform(0.1, 0.9) * side, random.uniform(0.1, 0.9) * side, side / 12
        values[(y - row) ** 2 + (x - column) ** 2 < radius**2] += 110
    stream = io.BytesIO()
    Pillow.fromarray(np.clip(values, 0, 255).astype(np.uint8)).save(stream, format="PNG")
    return stream.getvalue()


def box(side: int, random: np.random.Generator) -> dict[str, Any]:
    """A box of a third of the side somewhere in the picture."""
    low = random.integers(0, side - side // 3 - 1, 2)
    return {"kind": "box", "low": low.tolist(), "high": (low + side // 3).tolist()}
