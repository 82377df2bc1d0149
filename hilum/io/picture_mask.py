"""A mask as PNG: one object as 0 and 255, several as palette indices 1..n."""

from __future__ import annotations

import json
from pathlib import Path

import PIL.Image
from PIL.PngImagePlugin import PngInfo

from hilum.values.answers import Segmentation
from hilum.values.errors import BadInput

from .ink import colour_of
from .label_map import label_map

MOST = 255  # palette indices beside the background


def write_png(answer: Segmentation, path: Path) -> None:
    """A picture of the grid's own size, or of a volume's only plane; the names lie in a text chunk, as JSON."""
    grid = answer.image.grid
    if len(grid) == 3 and grid[0] != 1:
        raise BadInput(f"a PNG holds one plane, this mask has {grid[0]}: write .nii.gz, .nrrd or .dcm instead.")
    if len(answer.masks) > MOST:
        raise BadInput(f"a PNG mask holds {MOST} objects, this answer has {len(answer.masks)}: write .nrrd instead.")
    labels = label_map(answer, ".png").reshape(grid[-2:])
    if len(answer.masks) == 1:
        picture = PIL.Image.fromarray(labels * 255)
    else:
        picture = PIL.Image.fromarray(labels)
        picture.putpalette([0, 0, 0, *(value for number in range(len(answer.masks)) for value in colour_of(number))])
    names = PngInfo()
    names.add_itxt("labels", json.dumps({str(number): name for number, name in enumerate(answer.names, start=1)}))
    with path.open("wb") as stream:
        picture.save(stream, format="PNG", pnginfo=names)
