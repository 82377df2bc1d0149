"""NRRD out: the maps of an explanation on the image's grid; of several maps the file's first axis is a list."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hilum.values.explanation import Explanation
from hilum.values.notice import NOTICE

from .nrrd_parts import grid, plain, write


def write_nrrd(explanation: Explanation, path: Path) -> None:
    """Numbers as float; names, what is measured and how are key/value pairs of the header."""
    maps, lead = explanation.maps, (len(explanation.names),) if len(explanation.names) > 1 else ()
    pairs = [f"map {number}:={plain(name)}" for number, name in enumerate(explanation.names, start=1)]
    pairs += [f"unit:={plain(explanation.unit)}", f"method:={plain(explanation.method)}"]
    pairs += [f"system:={plain(explanation.provenance.system)}", f"notice:={plain(NOTICE)}"]
    write(path, np.moveaxis(maps, 0, -1) if lead else maps[0], [*grid(explanation.image, lead), *pairs])
