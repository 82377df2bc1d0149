"""The limited process that opens a torch file and writes its tensors as safetensors; nothing of it runs.

Started by `limited.py` as `python -I`, with an empty environment. Two walls stand one behind the other: readers that
call nothing a pickle names (torch's own `weights_only` first; where that refuses a global, ours with inert stubs), and
a process that may not start others, open sockets, write elsewhere, or outgrow its memory and time.
It says what it found as one line of JSON on its standard output.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hilum.weights import torch_file
from hilum.weights.inert import TYPES, Rebuilt
from hilum.weights.state import NoTensors, State, checked_name, shown, unwrapped
from hilum.weights.tensor_file import Leaf, write

WRITTEN_TO_READ = 4  # tensors that share bytes are written apart; beyond this ratio the file is a bomb
MOST_TENSORS = 100_000
SPARE = 2 << 30  # bytes of address space beside the file's
SECONDS, BYTES_PER_SECOND = 120, 10 << 20
FORBIDDEN: tuple[str, ...] = (
    "os.system",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.spawn",
    "os.startfile",
    "os.kill",
    "os.putenv",
)
FORBIDDEN += ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.chmod", "os.chown")
FORBIDDEN += ("subprocess.", "socket.", "shutil.", "ctypes.", "pty.", "webbrowser.", "urllib.", "ftplib.", "http.")
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)  # what is not the file's fault
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Forbidden(RuntimeError):
    """Something in this process tried what reading weights never needs."""


@dataclass(frozen=True, slots=True)
class Found:
    """A state dict, how each of its tensors is turned into a leaf, and which globals were met as stubs."""

    state: State
    leaf: Callable[[Any], Leaf]
    reader: str
    refused: tuple[str, ...] = ()


def main() -> None:
    """`python -I -c ... SOURCE TARGET`: exit code 0 with a report, 3 with a reason."""
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    try:
        report = convert(source, target)
    except OSError as error:
        _end({"disk" if error.errno in DISK else "error": shown(f"{error.strerror or error}".lower(), 300)})
    except MemoryError:
        _end({"error": "it asks for more memory than a file of its size should need"})
    except Exception as error:  # whatever a broken or hostile file provokes ends here as one sentence
        _end({"error": shown(f"{error}" or type(error).__name__, 300)})
    else:
        _end(report)


def _end(report: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(report) + "\n")
    sys.stdout.flush()
    os._exit(0 if "reader" in report else 3)  # no destructor of a foreign object runs


def convert(source: Path, target: Path) -> dict[str, Any]:
    """Reads `source` behind both walls, writes `target`, and says what was found."""
    torch_file.check(source)
    import torch  # a second or more, which garbage is not worth

    torch.set_num_threads(1)
    size = source.stat().st_size
    limit(size)
    wall(target)
    found = read(source, torch_file.is_archive(source))
    if len(found.state.tensors) > MOST_TENSORS:
        raise ValueError(f"it names {len(found.state.tensors):,} tensors, the cap is {MOST_TENSORS:,}")
    leaves = {checked_name(name): found.leaf(tensor) for name, tensor in found.state.tensors.items()}
    total = sum(leaf.size for leaf in leaves.values())
    if total > WRITTEN_TO_READ * size + (1 << 20):
        raise ValueError(f"its {size:,} bytes would unfold to {total:,}")
    write(target, leaves)
    return {
        "wrappers": found.state.wrappers,
        "left_out": found.state.left_out,
        "refused": found.refused,
        "reader": found.reader,
        "tensors": len(leaves),
        "peak": peak(),
    }


def read(source: Path, archive: bool) -> Found:
    """The state dict by torch's `weights_only`; by our reader where torch refuses the file."""
    import torch

    try:
        content = torch.load(source, weights_only=True, map_location="cpu", mmap=archive)
        return Found(unwrapped(content, _is_plain), leaf_of, "torch weights_only")
    except NoTensors:
        raise
    except Exception:  # torch's reasons are many; ours are said if our reader refuses too
        inside = torch_file.read(source)
        state = unwrapped(inside.content, lambda value: type(value) is Rebuilt)
        return Found(state, inside.leaf, "inert stubs", inside.refused)


def _is_plain(value: object) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def leaf_of(tensor: Any) -> Leaf:
    """A torch tensor ready to be written, type kept; bytes are made contiguous one tensor at a time."""
    import torch

    word = next((word for word, name in TYPES.values() if tensor.dtype == getattr(torch, name)), None)
    if word is None or tensor.layout != torch.strided or tensor.device.type != "cpu":
        raise ValueError(f"it has a tensor of {tensor.dtype}, {tensor.layout}: only plain dense ones are taken")
    shape = tuple(tensor.shape)
    return Leaf(word, shape, lambda: tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy())


def limit(size: int) -> None:
    """Caps on this process's memory, time, file size and core dump, where the system has them."""
    try:
        import resource
    except ImportError:  # Windows: the parent's time limit stays
        return
    seconds = SECONDS + size // BYTES_PER_SECOND
    caps = {
        resource.RLIMIT_AS: occupied() + 3 * size + SPARE,
        resource.RLIMIT_FSIZE: (WRITTEN_TO_READ + 1) * size + (4 << 20),
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_CORE: 0,
    }
    for what, most in caps.items():
        hard = resource.getrlimit(what)[1]
        cap = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with suppress(ValueError, OSError):  # macOS has no cap on address space; the other caps hold
            resource.setrlimit(what, (cap, cap))


def occupied() -> int:
    """Bytes of address space that this process has already: torch alone maps gigabytes."""
    table = Path("/proc/self/statm")
    return int(table.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE") if table.is_file() else 16 << 30


def peak() -> int:
    """Most bytes of memory that this process held; 0 where the system does not say."""
    try:
        import resource
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def wall(target: Path) -> None:
    """From here on Python itself refuses processes, sockets, and writing to any file but the target. It stays."""
    allowed = os.fspath(target)

    def refuse(event: str, given: tuple[Any, ...]) -> None:
        if event.startswith(FORBIDDEN):
            raise Forbidden(f"reading this file tried {event}")
        if event == "open" and given[0] != allowed and _writes(given[1], given[2]):
            raise Forbidden("reading this file tried to write another")

    sys.addaudithook(refuse)


def _writes(mode: object, flags: object) -> bool:
    return any(letter in str(mode or "") for letter in "wax+") or bool(isinstance(flags, int) and flags & WRITING)


if __name__ == "__main__":
    main()
