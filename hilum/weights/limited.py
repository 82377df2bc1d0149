"""Starts the limited process that reads torch files, and turns what it says into a report or a sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hilum.values import progress
from hilum.values.errors import BadInput, Failed

START = "import sys; sys.path.insert(0, sys.argv.pop(1)); from hilum.weights.unpickle import main; main()"
ROOT = Path(__file__).parents[2]
INHERITED = ("SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")  # without these Python or torch may not start
LISTS = ("wrappers", "left_out", "refused")
SECONDS, BYTES_PER_SECOND = 300, 5 << 20


@dataclass(frozen=True, slots=True)
class Report:
    """What the process did: wrappers taken off, entries left out, globals met as stubs, reader used, peak bytes."""

    wrappers: tuple[str, ...]
    left_out: tuple[str, ...]
    refused: tuple[str, ...]
    reader: str
    tensors: int
    peak: int


def unpickle(source: Path, target: Path) -> Report:
    """Writes the tensors of a torch file to `target` as safetensors, under the names they have in the file."""
    progress.say(f"reading {source.name} in a limited process")
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    environment |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    command = [sys.executable, "-I", "-c", START, str(ROOT), str(source.resolve()), str(target.resolve())]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=target.parent,
            env=environment,
            timeout=SECONDS + source.stat().st_size / BYTES_PER_SECOND,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BadInput(f"{source.name} was not read within {error.timeout:.0f} s; nothing was stored.") from error
    said = _said(done.stdout)
    if done.returncode == 0 and "reader" in said:
        wrappers, left_out, refused = (tuple(said[name]) for name in LISTS)
        return Report(wrappers, left_out, refused, said["reader"], said["tensors"], said["peak"])
    if "error" in said:
        raise BadInput(f"{source.name} cannot be read as weights: {said['error']}. Nothing of it was run or stored.")
    if "disk" in said:
        raise Failed(f"the tensors of {source.name} could not be written: {said['disk']}. Nothing was stored.")
    raise _ended(source.name, done.returncode)


def _said(output: bytes) -> dict[str, Any]:
    lines = output.decode(errors="replace").strip().splitlines()
    try:
        said = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _ended(name: str, code: int) -> Failed:
    how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
    return Failed(
        f"the limited process that reads {name} {how}: the file is broken, or larger than this machine can hold. "
        "Nothing was stored."
    )
