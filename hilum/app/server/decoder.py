"""The decoder: a process of its own that reads one image and ends. If a file breaks it, only it is broken.

It limits itself before it reads: memory, processor time, no core dump. `python -m hilum.app.server.decoder` waits for
one line of JSON on stdin (files, folder, options, caps) and answers with one on stdout.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

from ...values.errors import HilumError, TooLarge

HEAVY = ("hilum.io.read", "hilum.io.dicom", "hilum.io.nifti", "hilum.io.nrrd", "hilum.io.metaimage", "hilum.io.raster")


def main() -> None:
    """Imports, waits for its task, does it, tells how it went."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # nothing that a library prints may pass for the answer
    from importlib import import_module

    for name in HEAVY:
        import_module(name)
    line = sys.stdin.readline()
    if not line.strip():
        return
    task = json.loads(line)
    _limit(task["memory"], task["seconds"])
    os.environ["HILUM_MAX_VOXELS"], os.environ["HILUM_MAX_BYTES"] = str(task["voxels"]), str(task["decoded"])
    answers.write(json.dumps(_done(task)) + "\n")
    answers.flush()


def _done(task: dict[str, Any]) -> dict[str, Any]:
    try:
        return _decoded(task)
    except HilumError as error:
        kind = "large" if isinstance(error, TooLarge) else "bad" if error.exit_code == 2 else "failed"
        return {"error": kind, "sentence": str(error)}
    except MemoryError:
        return {"error": "large", "sentence": "the image needs more memory than the server gives to one upload."}
    except Exception as error:
        from ..outcome import unexpected

        return {"error": "failed", "sentence": unexpected(error)}


def _decoded(task: dict[str, Any]) -> dict[str, Any]:
    from ...io.read import read
    from .described import described
    from .stored_image import store

    files = [Path(file) for file in task["files"]]
    image = read(files[0] if len(files) == 1 else files, **task["options"])
    store(image, Path(task["folder"]))
    return {"facts": described(image), "bytes": image.array.nbytes}


def _limit(memory: int, seconds: int) -> None:
    for kind, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 1024),
    ):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard),) * 2)


if __name__ == "__main__":
    main()
