"""What `bench.speed` measures in a process of its own: how soon a look is ready, and how much memory it takes.

`python -m hilum.bench.speed_child ready|memory FILE SHA256 BACKEND` prints one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

BEGAN = time.perf_counter()


def main(what: str, file: str, sha256: str, backend: str) -> dict[str, float]:
    """Seconds until a SAM ViT-B from `file` is ready to look, and the resident peak in bytes after one look."""
    import torch

    from hilum.systems.sam_study import SamStudy
    from hilum.weights.store import Weights

    imported = time.perf_counter() - BEGAN
    system = SamStudy.open(Weights("sam_study", "vit_b", Path(file), sha256), device="cpu", backend=backend)
    module, shape = system.costly()
    assert system.backend is not None
    run = system.backend.compile(module, shape, key=sha256)
    found = {"imported": imported, "ready": time.perf_counter() - BEGAN - imported}
    if what == "memory":
        run(torch.zeros(shape))
        found["peak"] = float(resident_peak())
    return found


def resident_peak() -> int:
    """Bytes, as the system counted them; 0 where it does not."""
    if sys.platform == "linux":  # getrusage would count the parent's memory, which a child has until it begins
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    if sys.platform != "darwin":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*sys.argv[1:5])) + "\n")
