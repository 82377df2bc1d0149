"""The server's side of the decoder: a warm process waits, is given one image, and the next one is started."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...values.errors import BadInput, Failed, TooLarge
from .settings import Caps

COMMAND = ("-m", "hilum.app.server.decoder")
ERRORS = {"bad": BadInput, "large": TooLarge, "failed": Failed}
SPARE = 30.0  # seconds beyond the processor time that a decoder may take by the clock: to start, and to wait for a disk


@dataclass(frozen=True, slots=True)
class Decoded:
    """What is known of an image that lies decoded in a folder."""

    facts: dict[str, Any]
    bytes: int


class Decoding:
    """Hands images to decoders, one process each."""

    def __init__(self, caps: Caps):
        self.caps = caps
        self._waiting: asyncio.subprocess.Process | None = None
        self._next: asyncio.Task[None] | None = None

    async def decode(self, files: Sequence[Path], folder: Path, options: Mapping[str, Any]) -> Decoded:
        """Reads the image of the files into the folder; what goes wrong in the decoder is an error of this upload."""
        caps = self.caps
        task: dict[str, Any] = {"files": [str(file) for file in files], "folder": str(folder), "options": dict(options)}
        task |= {"memory": caps.decoder_memory, "seconds": caps.decoder_seconds}
        task |= {"voxels": caps.voxels, "decoded": caps.decoded}
        process = await self._process()
        self._next = asyncio.create_task(self.warm())  # while this one reads
        told = await self._told(process, json.dumps(task) + "\n")
        if "error" in told:
            raise ERRORS[told["error"]](told["sentence"])
        return Decoded(told["facts"], told["bytes"])

    async def warm(self) -> None:
        """Starts the process that the next upload will find waiting."""
        if self._waiting is None:
            started = await _started()
            if self._waiting is None:
                self._waiting = started
            else:
                await _ended(started)

    async def close(self) -> None:
        """Ends the waiting process."""
        if self._next is not None:
            await self._next
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            await _ended(waiting)

    async def _process(self) -> asyncio.subprocess.Process:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and waiting.returncode is None:
            return waiting
        return await _started()

    async def _told(self, process: asyncio.subprocess.Process, line: str) -> dict[str, Any]:
        try:
            async with asyncio.timeout(self.caps.decoder_seconds + SPARE):
                output, _ = await process.communicate(line.encode())
        except TimeoutError:
            raise BadInput(
                f"the image was not decoded within {self.caps.decoder_seconds} s and was given up."
            ) from None
        finally:
            await _ended(process)
        if process.returncode != 0 or not output.strip():
            raise BadInput(
                "the decoder broke on it: it ended without an answer, as a damaged or hostile file can make it, "
                "or one that needs more memory or time than the server gives. Nothing else is affected."
            )
        told: dict[str, Any] = json.loads(output)
        return told


async def _started() -> asyncio.subprocess.Process:
    quiet = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    return await asyncio.create_subprocess_exec(
        sys.executable, *COMMAND, stdin=pipe, stdout=pipe, stderr=null, env=quiet
    )


async def _ended(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
    await process.wait()
    if process.stdin is not None:
        process.stdin.close()
        with suppress(BrokenPipeError, ConnectionResetError):
            await process.stdin.wait_closed()
